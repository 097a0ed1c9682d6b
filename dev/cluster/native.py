"""The provider for Linux without a container engine: a Kubernetes of this machine's own processes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from dev.cluster import cgroups, dns, fake_nodes, network, node_images, preflight, tools
from dev.cluster.control_plane import ControlPlane
from dev.cluster.current import Cluster
from dev.cluster.layout import NodeLayout
from dev.cluster.node import Node
from dev.cluster.state import State
from dev.console import SetupError, Steps

PROGRAMS = (*tools.KUBERNETES, "etcd", "coredns", "pause")
STEPS = 8


def up(state: State) -> None:
    """Start whatever of the cluster does not run, and wait until it is ready."""
    steps = Steps("cluster", STEPS + (state.fake_nodes > 0) + len(state.nodes) - 1)
    steps.step("machine and packages")
    preflight.check(state.directory)
    steps.step("programs")
    programs = tools.binaries(PROGRAMS)
    steps.step("network and certificates")
    layout = state.layout()
    cgroups.make(f"{layout.cgroup}/control-plane")
    network.make_bridge(layout)
    plane = ControlPlane.of(state, programs)
    plane.write_admin_kubeconfig()
    cluster = cluster_of(state)
    steps.step("etcd")
    _start_and_wait(plane)
    steps.step("controllers, scheduler and DNS")
    for daemon in (plane.controller_manager(), plane.scheduler()):
        daemon.start()
    cluster.kubectl("apply", "-f", "-", input=dns.build_manifest(layout, plane.ports))
    names = plane.dns()
    names.start()
    for number in state.nodes:
        steps.step(f"node {layout.node(number).name}: containerd, kubelet, kube-proxy")
        start_node(state, plane, programs, layout.node(number))
    steps.step("waiting until all is ready")
    names.wait(plane.is_dns_ready)
    _wait_ready(cluster, [layout.node(number) for number in state.nodes])
    if state.fake_nodes:
        steps.step(f"{state.fake_nodes} fake nodes")
        fake_nodes.up(plane, cluster, state.fake_nodes)
    steps.step("ready")


def down(state: State) -> None:
    """Remove every trace of the cluster, from whatever state it is in."""
    layout = state.layout()
    cgroups.kill(layout.cgroup)
    network.remove_bridge(layout)
    cgroups.remove(layout.cgroup)
    shutil.rmtree(state.directory)


def is_up(state: State) -> bool:
    """Whether everything runs and the API server is ready."""
    layout, programs = state.layout(), tools.binaries(PROGRAMS)
    if not network.has_link(layout.bridge):
        return False
    plane = ControlPlane.of(state, programs)
    daemons = plane.daemons() + ([fake_nodes.daemon(plane)] if state.fake_nodes else [])
    nodes = [Node(plane, layout.node(number), programs) for number in state.nodes]
    running = all(daemon.is_running() for daemon in daemons) and all(node.is_running() for node in nodes)
    return running and plane.is_api_ready()


def cluster_of(state: State) -> Cluster:
    """The cluster as its users see it."""
    return Cluster(state.name, state.provider, Path(state.kubeconfig), state.context, state)


def start_node(state: State, plane: ControlPlane, programs: Mapping[str, Path], node: NodeLayout) -> None:
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
        node_images.copy_all(layout.node(1), node)


def add_node(state: State) -> NodeLayout:
    """Add a second, third … real node and wait until it is ready."""
    programs = tools.binaries(PROGRAMS)
    plane, layout = ControlPlane.of(state, programs), state.layout()
    node = layout.node(max(state.nodes) + 1)
    state.nodes.append(node.number)
    state.save()
    start_node(state, plane, programs, node)
    _wait_ready(cluster_of(state), [node])
    return node


def remove_node(state: State, number: int) -> None:
    """Kill a node and everything on it, and take it out of the cluster.

    Raises SetupError for the first node, which the cluster cannot do without.
    """
    node = _second_node(state, number)
    programs = tools.binaries(PROGRAMS)
    plane, layout = ControlPlane.of(state, programs), state.layout()
    Node(plane, node, programs).remove()
    state.nodes.remove(number)
    state.save()
    network.unroute_pods(node)
    for other in (Node(plane, layout.node(left), programs) for left in state.nodes):
        network.unroute_pods(node, other.enter())
    cluster_of(state).kubectl("delete", "node", node.name, "--ignore-not-found")


def cut_node(state: State, number: int, *, connected: bool) -> None:
    """Pull a node's network cable, or put it back; its pods run on, unseen."""
    network.set_cable(_second_node(state, number), connected=connected)


def _second_node(state: State, number: int) -> NodeLayout:
    if number == 1 or number not in state.nodes:
        others = [n for n in state.nodes if n != 1]
        raise SetupError(
            f"there is no removable node {number}; add one with 'node-add' (removable now: {others or 'none'})"
        )
    return state.layout().node(number)


def _start_and_wait(plane: ControlPlane) -> None:
    for daemon, is_ready in ((plane.etcd(), plane.is_etcd_ready), (plane.api_server(), plane.is_api_ready)):
        daemon.start()
        daemon.wait(is_ready)


def _wait_ready(cluster: Cluster, nodes: list[NodeLayout]) -> None:
    """Wait for what a pod needs: a ready node and the account it runs as."""
    names = [f"node/{node.name}" for node in nodes]
    cluster.kubectl("wait", "--for=create", *names, "--timeout=90s")
    cluster.kubectl("wait", "--for=condition=Ready", *names, "--timeout=120s")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
