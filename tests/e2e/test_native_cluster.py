"""A native cluster is made of this machine's own processes, and takes all of them along when it goes.

- cluster-down leaves nothing: processes, mounts, links, routes, namespaces, cgroups, packet filter
  rules, kernel settings, CNI state and host names are as they were before cluster-up
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.cluster import cgroups, current
from dev.cluster.layout import Layout, state_root
from dev.cluster.node_images import PAUSE

NAME = "before-and-after"
SETTINGS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
)
BELONGINGS = (
    "/var/lib/cni",
    "/etc/cni",
    "/var/lib/kubelet",
    "/run/netns",
    "/var/log/pods",
    "/var/log/containers",
)


def dev_cluster(*arguments: str) -> None:
    command = [sys.executable, "-m", "dev.cluster", *arguments, "--name", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def traces() -> dict[str, set[str]]:
    """All that a cluster could leave on this machine, by kind; other programs' business left out."""

    def lines(*command: str) -> set[str]:
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    return {
        "links": {line.split()[1] for line in lines("ip", "-o", "link")},
        "routes": lines("ip", "-4", "route"),
        "filters": {line for line in lines("iptables-save") if not line.startswith((":", "#"))},
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": {
            str(f) for root in cgroups.hierarchies() for f in root.glob("populate-operator-cluster/*")
        },
        "processes": set(cluster_processes()),
        "folders": {str(folder) for folder in state_root().glob("*")},
        "belongings": {path for path in BELONGINGS if Path(path).exists()},
        "settings": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in SETTINGS},
        "hosts": set(Path("/etc/hosts").read_text().splitlines()),
    }


def cluster_processes() -> Iterator[str]:
    """Processes in a cgroup of ours, and any that speak of this cluster."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ")
            groups = (folder / "cgroup").read_text()
        except OSError:  # it ended meanwhile
            continue
        if not command:  # a kernel thread, or ended and waiting for init alone
            continue
        speaks_of_us = NAME in command and int(folder.name) != os.getpid()
        if f"/populate-operator-cluster/{NAME}" in groups or speaks_of_us:
            yield f"{folder.name} {command}"


def test_cluster_down_leaves_nothing() -> None:
    dev_cluster("down")
    before = traces()
    try:
        dev_cluster("up")
        cluster = current(NAME)
        cluster.kubectl("run", "resident", f"--image={PAUSE}", "--image-pull-policy=Never")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/resident", "--timeout=60s")
        during = traces()
    finally:
        dev_cluster("down")
    left = {kind: found - before[kind] for kind, found in traces().items()}
    assert left == {kind: set() for kind in before}
    visible = {kind for kind, found in during.items() if found - before[kind]}
    assert visible >= {"links", "routes", "cgroups", "processes", "folders"}


def test_two_clusters_share_no_address() -> None:
    first, second = Layout("a", 0, Path()), Layout("b", 1, Path())
    networks = [
        network for layout in (first, second) for network in (layout.nodes, layout.pods, layout.services)
    ]
    assert not [(a, b) for a in networks for b in networks if a is not b and a.overlaps(b)]
