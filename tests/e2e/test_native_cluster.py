"""A native cluster is made of this machine's own processes, and takes all of them along when it goes.

- cluster-down leaves nothing: processes, mounts, links, routes, cgroups, packet filter rules, kernel
  settings, CNI state and host names are as they were before cluster-up
- fake nodes play pods of a PopulateQueue as their annotations ask
- pods on two nodes reach each other, and the host reaches them
- a node that is cut off is NotReady and keeps its pods' deletion waiting, until it is healed

All but the first share one small cluster beside the session's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cache import REPOSITORY, cache_dir
from dev.cluster import Cluster, cgroups, current, fake_nodes, node_images, nodes
from dev.cluster.layout import state_root
from dev.cluster.nodes import ExtraNode
from dev.console import SetupError
from tests.e2e.lab.playground import dev_cluster
from tests.e2e.lab.queues import eventually

SETTINGS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
)
BELONGINGS = (
    "/etc/cni",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
BUILDERS = (" on /var/lib/containers/", " on /tmp/", f" on {cache_dir()}/")  # image builds meanwhile
IMAGE = "localhost/populate/operator:dev"
SERVE = ["python3", "-m", "http.server", "8000", "--directory", "/usr/share/common-licenses"]
GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).status)"
ON_FAKE_NODES: dict[str, Any] = {
    "nodeSelector": {fake_nodes.KEY: fake_nodes.VALUE},
    "tolerations": [{"key": fake_nodes.KEY, "operator": "Exists"}],
}
NOTE = "kwok.populate.datajoint.io"


def traces(name: str) -> dict[str, set[str]]:
    """All that a cluster could leave on this machine, by kind; other programs' business left out."""

    def lines(*command: str) -> set[str]:
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    return {
        "links": {line.split()[1] for line in lines("ip", "-o", "link")},
        "routes": lines("ip", "-4", "route"),
        "filters": {line for line in lines("iptables-save") if not line.startswith((":", "#"))},
        "mounts": {mount for mount in lines("mount") if not any(path in mount for path in BUILDERS)},
        "cgroups": {
            str(f) for root in cgroups.hierarchies() for f in root.glob("populate-operator-cluster/*")
        },
        "processes": set(cluster_processes(name)),
        "folders": {str(folder) for folder in state_root().glob("*")},
        "belongings": {path for path in BELONGINGS if Path(path).exists()},
        "settings": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in SETTINGS},
        "hosts": set(Path("/etc/hosts").read_text().splitlines()),
    }


def cluster_processes(name: str) -> Iterator[str]:
    """Processes in the cluster's cgroup, and any that speak of it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ")
            groups = (folder / "cgroup").read_text()
        except OSError:  # it ended meanwhile
            continue
        if not command:  # a kernel thread, or ended and waiting for init alone
            continue
        speaks_of_it = name in command and int(folder.name) != os.getpid()
        if f"/populate-operator-cluster/{name}" in groups or speaks_of_it:
            yield f"{folder.name} {command}"


def test_cluster_down_leaves_nothing() -> None:
    name = "before-and-after"
    dev_cluster("down", name)
    before = traces(name)
    try:
        dev_cluster("up", name)
        cluster = current(name)
        cluster.kubectl("run", "resident", f"--image={node_images.PAUSE}", "--image-pull-policy=Never")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/resident", "--timeout=60s")
        during = traces(name)
    finally:
        dev_cluster("down", name)
    left = {kind: found - before[kind] for kind, found in traces(name).items()}
    assert left == {kind: set() for kind in before}
    visible = {kind for kind, found in during.items() if found - before[kind]}
    assert visible >= {"links", "routes", "cgroups", "processes", "folders"}


@pytest.fixture(scope="module")
def queue(small_cluster: Cluster) -> dict[str, Any]:
    """The owner reference of a PopulateQueue that nobody works on."""
    small_cluster.kubectl("apply", "-f", str(REPOSITORY / "crds"))
    small_cluster.kubectl(
        "wait", "--for=condition=Established", "crd/populatequeues.populate.datajoint.io", "--timeout=60s"
    )
    manifest = {
        "apiVersion": "populate.datajoint.io/v1alpha1",
        "kind": "PopulateQueue",
        "metadata": {"name": "played"},
        "spec": {
            "schema": "lab",
            "table": "Played",
            "database": {"host": "db", "credentials": {"secretName": "db"}},
            "template": {"spec": {"containers": [{"name": "populate", "image": IMAGE}]}},
        },
    }
    small_cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    uid = small_cluster.kubectl("get", "populatequeue", "played", "-o", "jsonpath={.metadata.uid}")
    reference = {key: manifest[key] for key in ("apiVersion", "kind")}
    return {**reference, "name": "played", "uid": uid, "controller": True}


def apply_pod(cluster: Cluster, name: str, spec: dict[str, Any], **metadata: Any) -> None:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}
    container.update(spec.pop("container", {}))
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


def read_pod(cluster: Cluster, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))
    return pod


@pytest.mark.parametrize(
    ("outcome", "phase", "reason", "code"),
    [
        ("complete", "Succeeded", "Completed", 0),
        ("fail", "Failed", "Error", 3),
        ("oom", "Failed", "OOMKilled", 137),
    ],
)
def test_fake_pods_end_as_their_annotations_ask(
    small_cluster: Cluster, queue: dict[str, Any], outcome: str, phase: str, reason: str, code: int
) -> None:
    notes = {
        f"{NOTE}/outcome": outcome,
        f"{NOTE}/exit-code": "3",
        f"{NOTE}/message": "ValueError: no voltage",
    }
    apply_pod(small_cluster, outcome, dict(ON_FAKE_NODES), annotations=notes, ownerReferences=[queue])
    small_cluster.kubectl(
        "wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{outcome}", "--timeout=60s"
    )
    pod = read_pod(small_cluster, outcome)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == (reason, code)
    assert ended["message"] == "ValueError: no voltage"
    assert pod["spec"]["nodeName"].startswith("fake-")


def test_fake_pod_that_hangs_meets_its_deadline(small_cluster: Cluster, queue: dict[str, Any]) -> None:
    spec = {**ON_FAKE_NODES, "activeDeadlineSeconds": 2}
    notes = {f"{NOTE}/outcome": "hang"}
    apply_pod(small_cluster, "hang", spec, annotations=notes, ownerReferences=[queue])
    small_cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/hang", "--timeout=60s")
    assert read_pod(small_cluster, "hang")["status"]["reason"] == "DeadlineExceeded"


def test_pods_on_two_nodes_and_the_host_reach_each_other(
    small_cluster: Cluster, second_node: ExtraNode
) -> None:
    first = small_cluster.state.layout().node(1).name
    is_listening = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    server = {"name": "main", "command": SERVE, "readinessProbe": is_listening}
    apply_pod(small_cluster, "server", {"nodeName": second_node.name, "container": server})
    small_cluster.kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=60s")
    small_cluster.kubectl("label", "pod", "server", "app=server")
    small_cluster.kubectl("expose", "pod", "server", "--port=80", "--target-port=8000")
    address = read_pod(small_cluster, "server")["status"]["podIP"]
    service = small_cluster.kubectl("get", "service", "server", "-o", "jsonpath={.spec.clusterIP}")
    eventually("kube-proxy has followed", lambda: is_answered(f"http://{service}/"))
    assert is_answered(f"http://{address}:8000/")
    for name, url in (("by-pod", f"http://{address}:8000/"), ("by-service", "http://server/")):
        asking = {"command": ["python3", "-c", GET, url]}
        apply_pod(small_cluster, name, {"nodeName": first, "container": asking})
        small_cluster.kubectl(
            "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s"
        )
        assert small_cluster.kubectl("logs", name) == "200\n"


def is_answered(url: str) -> bool:
    """Whether this machine can reach it."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def test_node_that_is_cut_off_keeps_its_pods_until_it_is_healed(
    small_cluster: Cluster, second_node: ExtraNode
) -> None:
    apply_pod(
        small_cluster, "lost", {"nodeName": second_node.name, "container": {"command": ["sleep", "3600"]}}
    )
    small_cluster.kubectl("wait", "--for=condition=Ready", "pod/lost", "--timeout=60s")
    second_node.cut()
    small_cluster.kubectl(
        "wait", "--for=condition=Ready=Unknown", f"node/{second_node.name}", "--timeout=120s"
    )
    small_cluster.kubectl("delete", "pod", "lost", "--wait=false")
    assert "deletionTimestamp" in read_pod(small_cluster, "lost")["metadata"]
    second_node.heal()
    small_cluster.kubectl("wait", "--for=condition=Ready", f"node/{second_node.name}", "--timeout=120s")
    small_cluster.kubectl("wait", "--for=delete", "pod/lost", "--timeout=120s")


def test_first_node_cannot_be_removed(small_cluster: Cluster) -> None:
    with pytest.raises(SetupError, match="no extra node 1"):
        nodes.remove(small_cluster, 1)
