"""What is remembered about a cluster between commands: a small JSON file in the cluster's folder."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dev.cluster.layout import MAX_CLUSTERS, Layout, state_root
from dev.console import SetupError

FILE = "state.json"


@dataclass
class State:
    """`provider` is external, kind or native; `ports` and `index` matter to native alone."""

    name: str
    provider: str
    context: str
    kubeconfig: str
    started: str = ""
    index: int = 0
    fake_nodes: int = 0
    nodes: list[int] = field(default_factory=lambda: [1])
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The cluster's folder."""
        return state_root() / self.name

    def layout(self) -> Layout:
        """Folders and addresses of a native cluster."""
        return Layout(self.name, self.index, self.directory)

    def save(self) -> None:
        """Write it down."""
        self.directory.mkdir(parents=True, exist_ok=True)
        draft = self.directory / f"{FILE}.new"
        draft.write_text(json.dumps(asdict(self), indent=2))
        draft.replace(self.directory / FILE)

    def port(self, purpose: str, address: str, preferred: int) -> int:
        """The port of `purpose` at `address`, chosen once: `preferred` if free, else any."""
        if purpose not in self.ports:
            self.ports[purpose] = _free_port(address, preferred)
            self.save()
        return self.ports[purpose]


def load(name: str) -> State | None:
    """What is remembered about the cluster, None when there is none."""
    file = state_root() / name / FILE
    return State(**json.loads(file.read_text())) if file.exists() else None


def known() -> list[State]:
    """Every cluster of this machine that has a folder."""
    found = (load(file.parent.name) for file in sorted(state_root().glob(f"*/{FILE}")))
    return [state for state in found if state]


def free_index(routes: str) -> int:
    """The lowest index that no other cluster has and whose networks are not in `routes`.

    `routes` is the output of `ip -4 route`. Raises SetupError when none is left.
    """
    taken = {state.index for state in known() if state.provider == "native"}
    for index in range(MAX_CLUSTERS):
        layout = Layout("", index, Path())
        networks = (layout.nodes, layout.pods, layout.services)
        if index not in taken and not any(f"{network[0]}/" in routes for network in networks):
            return index
    raise SetupError(
        f"all {MAX_CLUSTERS} address ranges for local clusters are in use; "
        "take one down with 'python -m dev.cluster down --name NAME' ('status' lists them)"
    )


def _free_port(address: str, preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SetupError(f"no port can be bound at {address}; is the address configured?")
