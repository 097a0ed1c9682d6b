"""etcd, API server, controller manager, scheduler and cluster DNS: processes of the host at one address."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from dev.cluster.certificates import MASTERS, Authority, Pair, signing_key
from dev.cluster.daemons import Daemon
from dev.cluster.layout import CLUSTER_DOMAIN, Layout
from dev.cluster.state import State

CONFIG = Path(__file__).parent / "config"
ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
PREFERRED_PORTS = {
    "etcd": 2379,
    "etcd-peer": 2380,
    "api": 6443,
    "controllers": 10257,
    "scheduler": 10259,
    "dns": 53,
    "dns-ready": 8181,
}
# Defaults of 20 and 30 requests a second would be all that a benchmark on this cluster measures.
QPS, BURST = 1000, 2000
# A lost node is noticed in half a minute; its kubelet renews its lease every five seconds (see node.py).
NODE_GRACE = "30s"


@dataclass(frozen=True)
class ControlPlane:
    """The five programs of a cluster; `programs` are paths by name, `ports` come from the state."""

    layout: Layout
    programs: Mapping[str, Path]
    ports: Mapping[str, int]
    authority: Authority

    @classmethod
    def of(cls, state: State, programs: Mapping[str, Path]) -> ControlPlane:
        """Choose the ports (the bridge must exist) and open or create the authority."""
        layout = state.layout()
        ports = {p: state.port(p, str(layout.address), number) for p, number in PREFERRED_PORTS.items()}
        return cls(layout, programs, ports, Authority(layout.directory / "pki"))

    @property
    def server(self) -> str:
        """The API server's URL, the same for the host, nodes and pods."""
        return f"https://{self.layout.address}:{self.ports['api']}"

    @property
    def admin(self) -> Pair:
        """The administrator's client certificate."""
        return self.authority.issue("admin", "kubernetes-admin", groups=[MASTERS])

    def write_admin_kubeconfig(self) -> None:
        """Write the kubeconfig that people and tests use."""
        layout = self.layout
        self.authority.kubeconfig(layout.kubeconfig, self.server, self.admin, context=layout.context)

    def client(self, user: str, *groups: str) -> Path:
        """A kubeconfig for one component."""
        name = user.removeprefix("system:")
        pair = self.authority.issue(name, user, groups=groups)
        return self.authority.kubeconfig(self.authority.folder / f"{name}.kubeconfig", self.server, pair)

    def etcd(self) -> Daemon:
        """The store; without fsync, for nothing here outlives the machine."""
        address = self.layout.address
        pair = self.authority.issue("etcd", "etcd", hosts=[address])
        client, peer = (f"https://{address}:{self.ports[port]}" for port in ("etcd", "etcd-peer"))
        flags = {
            "data-dir": self.layout.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "quota-backend-bytes": 4 << 30,
            "auto-compaction-retention": "5m",
            "logger": "zap",
            "log-level": "warn",
        }
        for prefix in ("", "peer-"):
            flags |= {
                f"{prefix}cert-file": pair.certificate,
                f"{prefix}key-file": pair.key,
                f"{prefix}client-cert-auth": "true",
                f"{prefix}trusted-ca-file": self.authority.certificate,
            }
        return self._daemon("etcd", flags)

    def api_server(self) -> Daemon:
        """The API server: Node and RBAC authorization, audit log of what service accounts do."""
        layout = self.layout
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        hosts: list[str | IPv4Address] = [
            *names,
            f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
            layout.address,
            layout.services[1],
        ]
        flags: dict[str, object] = {
            "advertise-address": layout.address,
            "bind-address": layout.address,
            "secure-port": self.ports["api"],
            "etcd-servers": f"https://{layout.address}:{self.ports['etcd']}",
            "kubelet-preferred-address-types": "InternalIP",
            "service-cluster-ip-range": layout.services,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "audit-policy-file": CONFIG / "audit-policy.yaml",
            "audit-log-path": layout.directory / "audit.log",
            "audit-log-maxsize": 200,
            "audit-log-maxbackup": 2,
        }
        return self._daemon("kube-apiserver", flags | self._api_server_keys(hosts))

    def _api_server_keys(self, hosts: Sequence[str | IPv4Address]) -> dict[str, object]:
        """Whom the API server believes, and how it proves itself to clients, etcd and kubelets."""
        authority = self.authority
        serving = authority.issue("api-server", "kube-apiserver", hosts=hosts)
        to_kubelet = authority.issue("api-server-kubelet", "kube-apiserver-kubelet", groups=[MASTERS])
        tokens = signing_key(authority.folder)
        return {
            "client-ca-file": authority.certificate,
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "etcd-cafile": authority.certificate,
            "etcd-certfile": serving.certificate,
            "etcd-keyfile": serving.key,
            "kubelet-certificate-authority": authority.certificate,
            "kubelet-client-certificate": to_kubelet.certificate,
            "kubelet-client-key": to_kubelet.key,
            "service-account-issuer": ISSUER,
            "service-account-key-file": tokens.certificate,
            "service-account-signing-key-file": tokens.key,
        }

    def controller_manager(self) -> Daemon:
        """The controllers; nodes have fixed pod networks, so none are allocated."""
        authority = self.authority
        flags = {
            "kubeconfig": self.client("system:kube-controller-manager"),
            "bind-address": self.layout.address,
            "secure-port": self.ports["controllers"],
            "authentication-skip-lookup": "true",
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": signing_key(authority.folder).key,
            "root-ca-file": authority.certificate,
            "cluster-signing-cert-file": authority.certificate,
            "cluster-signing-key-file": authority.pair.key,
            "allocate-node-cidrs": "false",
            "node-monitor-grace-period": NODE_GRACE,
            "kube-api-qps": QPS,
            "kube-api-burst": BURST,
        }
        return self._daemon("kube-controller-manager", flags)

    def scheduler(self) -> Daemon:
        """The scheduler, with its request rate lifted in the configuration file that alone can do so."""
        connection = {"kubeconfig": str(self.client("system:kube-scheduler")), "qps": QPS, "burst": BURST}
        config = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": connection,
            "leaderElection": {"leaderElect": False},
        }
        file = self.layout.directory / "scheduler.json"
        file.write_text(json.dumps(config, indent=1))
        flags = {
            "config": file,
            "bind-address": self.layout.address,
            "secure-port": self.ports["scheduler"],
            "authentication-skip-lookup": "true",
        }
        return self._daemon("kube-scheduler", flags)

    def dns(self) -> Daemon:
        """CoreDNS for the cluster's names alone: pods reach no other network, so there is no forwarding."""
        lines = [
            f".:{self.ports['dns']} {{",
            f"  bind {self.layout.address}",
            f"  ready {self.layout.address}:{self.ports['dns-ready']}",
            "  errors",
            "  cache 5",
            f"  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{",
            f"    kubeconfig {self.client('system:coredns')}",
            "    pods insecure",
            "    ttl 5",
            "  }",
            "}",
        ]
        corefile = self.layout.directory / "Corefile"
        corefile.write_text("\n".join(lines) + "\n")
        return self._daemon("coredns", {"conf": corefile})

    def daemons(self) -> list[Daemon]:
        """All five, in the order in which they start."""
        return [self.etcd(), self.api_server(), self.controller_manager(), self.scheduler(), self.dns()]

    def is_etcd_ready(self) -> bool:
        """Whether etcd answers and has a leader."""
        return self._answers(f"https://{self.layout.address}:{self.ports['etcd']}/health")

    def is_api_ready(self) -> bool:
        """Whether the API server says it is ready, its post-start hooks included."""
        return self._answers(f"{self.server}/readyz")

    def is_dns_ready(self) -> bool:
        """Whether CoreDNS has read the cluster's services."""
        return self._answers(f"http://{self.layout.address}:{self.ports['dns-ready']}/ready")

    def _answers(self, url: str) -> bool:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _daemon(self, program: str, flags: Mapping[str, object]) -> Daemon:
        command: list[str | Path] = [
            self.programs[program],
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ]
        return Daemon(program, command, self.layout.directory, f"{self.layout.cgroup}/control-plane")
