"""A real node: namespaces of its own, in them containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from dev.cluster import cgroups, network, node_images
from dev.cluster.control_plane import BURST, QPS, ControlPlane
from dev.cluster.daemons import Daemon, is_alive, read_pid, write_pid
from dev.cluster.layout import CLUSTER_DOMAIN, Layout, NodeLayout
from dev.console import SetupError

SCRIPT = Path(__file__).parent / "node.sh"
INSIDE = Path("/run/node")  # the node's folder as its own programs see it
PROGRAMS = ("kubelet", "kube-proxy", "pause")
CNI_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")


class Node:
    """One real node of a native cluster; `programs` are paths by name."""

    def __init__(self, plane: ControlPlane, node: NodeLayout, programs: Mapping[str, Path]) -> None:
        self.plane, self.node, self.programs = plane, node, programs

    def start(self) -> None:
        """Start what is not running and wait until containerd answers."""
        self._write_files()
        if not self.is_booted():
            self._boot()
        containerd = self._containerd()
        containerd.start()
        containerd.wait(self._has_containerd)
        if node_images.PAUSE not in node_images.names(self.node):
            archive = self.node.directory / "pause.tar"
            node_images.write_single_binary_archive(self.programs["pause"], node_images.PAUSE, archive)
            node_images.load(self.node, archive, node_images.PAUSE)
        for daemon in (self._kubelet(), self._kube_proxy()):
            daemon.start()

    def stop(self) -> None:
        """Kill everything of the node, as a power failure would."""
        cgroups.kill(self.node.cgroup)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        cgroups.remove(self.node.cgroup)
        shutil.rmtree(self.node.directory, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether the node and its three programs live."""
        return self.is_booted() and all(daemon.is_running() for daemon in self.daemons())

    def daemons(self) -> list[Daemon]:
        """containerd, kubelet and kube-proxy."""
        return [self._containerd(), self._kubelet(), self._kube_proxy()]

    def is_booted(self) -> bool:
        """Whether the node's first process lives."""
        return self.node.pid_file.exists() and is_alive(self.node.pid_file)

    def enter(self) -> list[str]:
        """The command prefix that runs a program inside the node."""
        pid = read_pid(self.node.pid_file)
        return ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--"]

    def _boot(self) -> None:
        layout, node = self.plane.layout, self.node
        cgroups.make(f"{node.cgroup}/system")
        cgroups.kill(node.cgroup)  # of an earlier life
        programs = node.directory / "bin"
        programs.mkdir(exist_ok=True)
        for name in PROGRAMS:
            shutil.copy2(self.programs[name], programs / name)
        command = ["unshare", "--fork", "--pid", "--mount", "--net", "--uts", "--", "bash"]
        process = subprocess.Popen(
            [*command, str(SCRIPT), str(node.directory), node.name, str(programs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(node.directory / "boot.log").open("ab"),
            text=True,
            start_new_session=True,
            preexec_fn=partial(cgroups.enter, f"{node.cgroup}/system"),
        )
        assert process.stdout is not None  # noqa: S101  (a pipe, by the call above)
        answer = process.stdout.readline()
        if not answer:
            message = (node.directory / "boot.log").read_text().strip().splitlines()[-1:]
            raise SetupError(f"node {node.name} cannot have namespaces of its own: {' '.join(message)}")
        write_pid(node.pid_file, int(answer))
        network.plug_in(layout, node, int(answer), self.enter())

    def _write_files(self) -> None:
        folder, layout, node = self.node.directory, self.plane.layout, self.node
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cni").mkdir(exist_ok=True)
        (folder / "resolv.conf").write_text("")
        (folder / "cni" / "10-populate.conflist").write_text(json.dumps(_cni(layout, node), indent=1))
        (folder / "containerd.toml").write_text(_containerd_config())
        user = f"system:node:{node.name}"
        authority = self.plane.authority
        hosts: list[str | IPv4Address] = [node.name, node.address]
        pair = authority.issue("kubelet", user, groups=["system:nodes"], hosts=hosts, folder=folder)
        authority.kubeconfig(folder / "kubelet.kubeconfig", self.plane.server, pair)
        shutil.copy2(authority.certificate, folder / "ca.crt")
        shutil.copy2(self.plane.client("system:kube-proxy"), folder / "kube-proxy.kubeconfig")
        (folder / "kubelet.json").write_text(json.dumps(_kubelet_config(layout, node), indent=1))
        (folder / "kube-proxy.json").write_text(json.dumps(_kube_proxy_config(layout, node), indent=1))

    def _containerd(self) -> Daemon:
        return self._daemon("containerd", shutil.which("containerd") or "containerd", "containerd.toml")

    def _kubelet(self) -> Daemon:
        flags = [f"--kubeconfig={INSIDE}/kubelet.kubeconfig", f"--hostname-override={self.node.name}"]
        return self._daemon(
            "kubelet", "/run/bin/kubelet", "kubelet.json", *flags, f"--node-ip={self.node.address}"
        )

    def _kube_proxy(self) -> Daemon:
        return self._daemon("kube-proxy", "/run/bin/kube-proxy", "kube-proxy.json")

    def _daemon(self, name: str, program: str, config: str, *flags: str) -> Daemon:
        enter = self.enter() if self.node.pid_file.exists() else []
        # nsenter waits outside for the program inside: what happens to the one must happen to the other.
        bound = ["setpriv", "--pdeathsig", "KILL"]
        command = [*enter, *bound, program, f"--config={INSIDE / config}", *flags]
        return Daemon(name, command, self.node.directory, f"{self.node.cgroup}/system")

    def _has_containerd(self) -> bool:
        if not self.node.containerd_socket.exists():
            return False
        try:
            node_images.names(self.node)
        except SetupError:
            return False
        return True


def _cni(layout: Layout, node: NodeLayout) -> dict[str, object]:
    """Pods of the node share a bridge inside it; kube-proxy does the rest."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": str(node.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "populate", "plugins": [bridge, ports]}


def _containerd_config() -> str:
    plugins = next((folder for folder in CNI_PLUGINS if Path(folder, "host-local").exists()), CNI_PLUGINS[0])
    return f"""\
version = 2
oom_score = 0
[grpc]
  address = "{INSIDE}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{node_images.PAUSE}"
  # Without CAP_SYS_RESOURCE runc may not lower a score: "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{INSIDE}/cni"
"""


def _kubelet_config(layout: Layout, node: NodeLayout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{INSIDE}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{INSIDE}/kubelet.crt",
        "tlsPrivateKeyFile": f"{INSIDE}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{INSIDE}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [str(layout.services[10])],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": f"{INSIDE}/resolv.conf",
        "nodeLeaseDurationSeconds": 20,
        "maxPods": 200,
        "kubeAPIQPS": QPS,
        "kubeAPIBurst": BURST,
        # Images come from archives alone: what the kubelet collects as garbage cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def _kube_proxy_config(layout: Layout, node: NodeLayout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{INSIDE}/kube-proxy.kubeconfig"},
        "mode": "iptables",
        "hostnameOverride": node.name,
        "bindAddress": str(node.address),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clusterCIDR": str(layout.pods),
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
