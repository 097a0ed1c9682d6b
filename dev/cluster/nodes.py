"""The real nodes of a native cluster as its users see them: added, cut off, healed and removed.

with extra_node(current()) as node:
    ...  # a pod with nodeName node.name
    node.cut()  # its pods run on, unseen; half a minute later the node is NotReady
    node.heal()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cache import lock
from dev.cluster import network, node_images, tools
from dev.cluster.control_plane import ControlPlane
from dev.cluster.current import Cluster
from dev.cluster.layout import NodeLayout
from dev.cluster.node import Node
from dev.cluster.state import State
from dev.console import SetupError

PROGRAMS = (*tools.KUBERNETES, "etcd", "coredns", "pause")


@dataclass(frozen=True)
class ExtraNode:
    """A real node that a test may lose; `name` is its name in the API."""

    cluster: Cluster
    layout: NodeLayout

    @property
    def name(self) -> str:
        """The node's name in the API."""
        return self.layout.name

    def cut(self) -> None:
        """Pull its network cable: kubelet and pods run on, and nobody hears of it."""
        network.set_cable(self.layout, connected=False)

    def heal(self) -> None:
        """Put the cable back."""
        network.set_cable(self.layout, connected=True)


@contextmanager
def extra_node(cluster: Cluster) -> Iterator[ExtraNode]:
    """A real node beside the others, with their images, ready; it is gone afterwards, pods and all.

    Raises SetupError where the cluster is not native.
    """
    layout = add(cluster)
    try:
        yield ExtraNode(cluster, layout)
    finally:
        remove(cluster, layout.number)


def add(cluster: Cluster) -> NodeLayout:
    """Add a real node and wait until it is ready.

    Raises SetupError where the cluster is not native.
    """
    state = cluster.state
    if state.provider != "native":
        raise SetupError(f"nodes can be added to native clusters alone; '{cluster.name}' is {state.provider}")
    with lock(f"cluster-{cluster.name}"):
        programs = tools.binaries(PROGRAMS)
        plane = ControlPlane.of(state, programs)
        node = state.layout().node(max(state.nodes) + 1)
        state.nodes.append(node.number)
        state.save()
        start(state, plane, programs, node)
        wait_ready(cluster, [node])
    return node


def remove(cluster: Cluster, number: int) -> None:
    """Kill a node and everything on it, and take it out of the cluster with its pods.

    Raises SetupError for the first node, which the cluster cannot do without.
    """
    node, state = removable(cluster, number), cluster.state
    with lock(f"cluster-{cluster.name}"):
        programs = tools.binaries(PROGRAMS)
        plane, layout = ControlPlane.of(state, programs), state.layout()
        Node(plane, node, programs).remove()
        state.nodes.remove(number)
        state.save()
        network.unroute_pods(node)
        for other in (Node(plane, layout.node(left), programs) for left in state.nodes):
            network.unroute_pods(node, other.enter())
        cluster.kubectl("delete", "node", node.name, "--ignore-not-found")


def removable(cluster: Cluster, number: int) -> NodeLayout:
    """The layout of a node that is not the first; raises SetupError when there is none of that number."""
    others = [n for n in cluster.state.nodes if n != 1]
    if number not in others:
        raise SetupError(
            f"'{cluster.name}' has no extra node {number} (it has: {others or 'none'}); 'node-add' adds one"
        )
    return cluster.state.layout().node(number)


def start(state: State, plane: ControlPlane, programs: Mapping[str, Path], node: NodeLayout) -> None:
    """Start one node, with routes between it and the others and the images that the first one has."""
    layout = state.layout()
    here = Node(plane, node, programs)
    here.start()
    for number in state.nodes:
        other = Node(plane, layout.node(number), programs)
        if number != node.number and other.is_booted():
            network.route_pods(layout, other.node, here.enter())
            network.route_pods(layout, node, other.enter())
    if node.number != 1:
        first = layout.node(1)
        node_images.copy(first, node, node_images.tags(first))


def wait_ready(cluster: Cluster, nodes: list[NodeLayout]) -> None:
    """Wait for what a pod needs: a ready node and the account it runs as."""
    names = [f"node/{node.name}" for node in nodes]
    try:
        cluster.kubectl("wait", "--for=create", *names, "--timeout=90s")
        cluster.kubectl("wait", "--for=condition=Ready", *names, "--timeout=120s")
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    except SetupError as error:
        logs = ", ".join(str(node.directory / "kubelet.log") for node in nodes)
        raise SetupError(f"{error}\nthe reason is in {logs}") from error
