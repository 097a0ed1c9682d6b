"""Nodes and pods that exist in the API alone, played by kwok: for scale and for outcomes on demand."""

from __future__ import annotations

import json
from pathlib import Path

from dev.cluster import tools
from dev.cluster.control_plane import CONFIG, ControlPlane
from dev.cluster.current import Cluster
from dev.cluster.daemons import Daemon

SELECTOR = "kwok.x-k8s.io/node=fake"
KEY, _, VALUE = SELECTOR.partition("=")


def daemon(plane: ControlPlane) -> Daemon:
    """kwok, which plays every node labelled `SELECTOR` by the stages of config/fake-nodes.yaml."""
    pair = plane.authority.issue("kwok", "kwok", groups=["system:masters"])
    kubeconfig = plane.authority.kubeconfig(plane.authority.folder / "kwok.kubeconfig", plane.server, pair)
    flags = {
        "kubeconfig": kubeconfig,
        "config": CONFIG / "fake-nodes.yaml",
        "manage-all-nodes": "false",
        "manage-nodes-with-label-selector": SELECTOR,
        "node-ip": plane.layout.address,
        "cidr": f"10.{200 + plane.layout.index}.0.0/16",
        "node-lease-duration-seconds": 40,
    }
    command: list[str | Path] = [
        tools.binary("kwok"),
        *(f"--{flag}={value}" for flag, value in flags.items()),
    ]
    layout = plane.layout
    return Daemon("kwok", command, layout.directory, f"{layout.cgroup}/control-plane")


def up(plane: ControlPlane, cluster: Cluster, count: int) -> None:
    """Start kwok and make exactly `count` fake nodes."""
    daemon(plane).start()
    wanted = [f"fake-{number}" for number in range(1, count + 1)]
    nodes = {"apiVersion": "v1", "kind": "List", "items": [build_node(name) for name in wanted]}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(nodes))
    present = cluster.kubectl("get", "nodes", "-l", SELECTOR, "-o", "name").split()
    surplus = [name for name in present if name.removeprefix("node/") not in wanted]
    if surplus:
        cluster.kubectl("delete", *surplus)
    cluster.kubectl("wait", "--for=condition=Ready", "node", "-l", SELECTOR, "--timeout=60s")


def build_node(name: str) -> dict[str, object]:
    """A node that only pods which tolerate `SELECTOR` land on."""
    room = {"cpu": "1k", "memory": "1Ti", "pods": "10k", "ephemeral-storage": "1Ti"}
    labels = {KEY: VALUE, "type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {KEY: VALUE}},
        "spec": {"taints": [{"key": KEY, "value": VALUE, "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    }
