"""The provider for Linux without a container engine: a Kubernetes of this machine's own processes."""

from __future__ import annotations

import shutil

from dev.cluster import cgroups, dns, fake_nodes, network, nodes, preflight, tools
from dev.cluster.control_plane import ControlPlane
from dev.cluster.current import Cluster
from dev.cluster.node import Node
from dev.cluster.state import State
from dev.console import Steps

STEPS = 8


def up(state: State) -> None:
    """Start whatever of the cluster does not run, and wait until it is ready."""
    steps = Steps("cluster", STEPS + (state.fake_nodes > 0) + len(state.nodes) - 1)
    steps.step("machine and packages")
    preflight.check(state.directory)
    state.save()  # not before: what this machine cannot do must not be remembered as begun
    steps.step("programs")
    programs = tools.binaries(nodes.PROGRAMS)
    steps.step("network and certificates")
    layout = state.layout()
    cgroups.make(f"{layout.cgroup}/control-plane")
    network.make_bridge(layout)
    plane = ControlPlane.of(state, programs)
    plane.write_admin_kubeconfig()
    cluster = Cluster.of(state)
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
        nodes.start(state, plane, programs, layout.node(number))
    steps.step("waiting until all is ready")
    names.wait(plane.is_dns_ready)
    nodes.wait_ready(cluster, [layout.node(number) for number in state.nodes])
    if state.fake_nodes:
        steps.step(f"{state.fake_nodes} fake nodes")
        fake_nodes.up(plane, cluster, state.fake_nodes)
    for daemon in plane.daemons():
        daemon.require_running()
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
    layout, programs = state.layout(), tools.binaries(nodes.PROGRAMS)
    if not network.has_link(layout.bridge):
        return False
    plane = ControlPlane.of(state, programs)
    daemons = plane.daemons() + ([fake_nodes.daemon(plane)] if state.fake_nodes else [])
    real = [Node(plane, layout.node(number), programs) for number in state.nodes]
    running = all(daemon.is_running() for daemon in daemons) and all(node.is_running() for node in real)
    return running and plane.is_api_ready()


def _start_and_wait(plane: ControlPlane) -> None:
    for daemon, is_ready in ((plane.etcd(), plane.is_etcd_ready), (plane.api_server(), plane.is_api_ready)):
        daemon.start()
        daemon.wait(is_ready)
