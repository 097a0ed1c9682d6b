"""The network between control plane and nodes: one bridge on the host, one cable per node.

Nodes keep iptables rules and pod bridges in their own network namespaces; the host gets a bridge and
routes to pods and services, all of which go when the bridge goes, and no packet filter rule.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from dev.cluster.layout import Layout, NodeLayout
from dev.console import SetupError


def ip(*args: object, inside: Sequence[str] = ()) -> str:
    """What `ip ARGS` prints, run behind the command prefix `inside` (a node's `enter`).

    Raises SetupError with ip's own message.
    """
    command = [*inside, "ip", *map(str, args)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise SetupError(
            f"{missing.filename} is not installed; on Debian: apt-get install iproute2"
        ) from missing
    if done.returncode:
        raise SetupError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    return done.stdout


def has_link(name: str) -> bool:
    """Whether the host has a network interface of that name."""
    return f" {name}:" in ip("-o", "link").replace("@", ": ")


def make_bridge(layout: Layout) -> None:
    """Create the bridge that carries the control plane's address."""
    if not has_link(layout.bridge):
        ip("link", "add", layout.bridge, "type", "bridge")
    ip("address", "replace", f"{layout.address}/{layout.nodes.prefixlen}", "dev", layout.bridge)
    ip("link", "set", layout.bridge, "up")


def remove_bridge(layout: Layout) -> None:
    """Remove the bridge and with it every cable and route."""
    for line in ip("-o", "link").splitlines():
        name = line.split()[1].rstrip(":").partition("@")[0]
        if name.startswith(f"{layout.bridge}n"):
            _delete_link(name)
    _delete_link(layout.bridge)


def plug_in(layout: Layout, node: NodeLayout, pid: int, enter: Sequence[str]) -> None:
    """Give the node whose first process is `pid` its cable, address and routes."""
    _delete_link(node.link)
    ip("link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", pid)
    ip("link", "set", node.link, "master", layout.bridge, "up")
    ip("link", "set", "lo", "up", inside=enter)
    ip("address", "add", f"{node.address}/{layout.nodes.prefixlen}", "dev", "eth0", inside=enter)
    ip("link", "set", "eth0", "up", inside=enter)
    ip("route", "add", "default", "via", layout.address, inside=enter)
    route_pods(layout, node)
    if node.number == 1:  # its kube-proxy serves ClusterIPs to the host: tests and webhooks use them
        ip("route", "replace", layout.services, "via", node.address, "dev", layout.bridge)


def route_pods(layout: Layout, node: NodeLayout, inside: Sequence[str] = ()) -> None:
    """Tell the host, or another node, where the node's pods are."""
    device = "eth0" if inside else layout.bridge
    ip("route", "replace", node.pods, "via", node.address, "dev", device, inside=inside)


def unroute_pods(node: NodeLayout, inside: Sequence[str] = ()) -> None:
    """Forget the route to the pods of a node that is gone."""
    if ip("route", "show", node.pods, inside=inside).strip():
        ip("route", "delete", node.pods, inside=inside)


def set_cable(node: NodeLayout, *, connected: bool) -> None:
    """Pull the node's cable, or put it back; nothing on the node itself changes."""
    ip("link", "set", node.link, "up" if connected else "down")


def _delete_link(name: str) -> None:
    """Delete an interface; the kernel may do it first, when it lets go of a dead node's namespace."""
    if not has_link(name):
        return
    try:
        ip("link", "delete", name)
    except SetupError:
        if has_link(name):
            raise
