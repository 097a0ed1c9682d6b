"""Where each cluster of this machine lives: folders, addresses and names, all derived from name and index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

DEFAULT_NAME = "default"
MAX_CLUSTERS = 16
CLUSTER_DOMAIN = "cluster.local"


def state_root() -> Path:
    """The folder that holds one folder per cluster."""
    if os.geteuid() == 0:
        return Path("/var/lib/populate-operator-cluster")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base, "populate-operator-cluster")


@dataclass(frozen=True)
class NodeLayout:
    """One real node: a machine in miniature with its own address, pod network and folder."""

    name: str
    number: int
    address: IPv4Address
    pods: IPv4Network
    directory: Path
    cgroup: str
    link: str

    @property
    def pid_file(self) -> Path:
        """Holds the process id, seen from outside, of the node's first process."""
        return self.directory / "node.pid"

    @property
    def containerd_socket(self) -> Path:
        """The node's own containerd, reachable from outside the node."""
        return self.directory / "containerd.sock"


@dataclass(frozen=True)
class Layout:
    """One native cluster; `index` (0 to 15) keeps clusters on one machine apart."""

    name: str
    index: int
    directory: Path

    @property
    def bridge(self) -> str:
        """The host's end of the network between nodes and control plane."""
        return f"populate{self.index}"

    @property
    def cgroup(self) -> str:
        """Every process of the cluster is below this cgroup, in every hierarchy."""
        return f"/populate-operator-cluster/{self.name}"

    @property
    def nodes(self) -> IPv4Network:
        """The network of the nodes; its first address is the control plane's."""
        return IPv4Network(f"10.{160 + self.index}.0.0/24")

    @property
    def pods(self) -> IPv4Network:
        """The network of all pods; node n has the n-th /24 of it."""
        return IPv4Network(f"10.{128 + self.index}.0.0/16")

    @property
    def services(self) -> IPv4Network:
        """ClusterIPs; the API server has the first, cluster DNS the tenth."""
        return IPv4Network(f"10.{96 + self.index}.0.0/16")

    @property
    def address(self) -> IPv4Address:
        """The control plane's address."""
        return self.nodes[1]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def context(self) -> str:
        """The context's name in the kubeconfig."""
        return "populate" if self.name == DEFAULT_NAME else f"populate-{self.name}"

    def node(self, number: int) -> NodeLayout:
        """The layout of real node `number`, from 1."""
        return NodeLayout(
            name=f"{self.context}-node-{number}",
            number=number,
            address=self.nodes[10 + number],
            pods=IPv4Network((int(self.pods[0]) + number * 256, 24)),
            directory=self.directory / f"node-{number}",
            cgroup=f"{self.cgroup}/node-{number}",
            link=f"populate{self.index}n{number}",
        )
