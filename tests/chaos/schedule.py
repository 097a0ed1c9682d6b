"""What is broken when: a pure function of the seed and the length of a run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """A way to break something, in words."""

    OPERATOR_KILLED = "operator killed"
    OPERATOR_FROZEN = "operator frozen beyond its Lease"
    OPERATOR_CUT_OFF = "operator cut off from the API server"
    API_SERVER_KILLED = "API server killed"
    ETCD_KILLED = "etcd killed"
    KUBELET_KILLED = "kubelet killed"
    DATABASE_KILLED = "database killed"
    DATABASE_SILENT = "traffic to the database dropped"
    DATABASE_SLOW = "traffic to the database delayed"
    DATABASE_REFUSED = "database refuses connections"
    CONNECTIONS_FORGOTTEN = "connections to the database forgotten"
    CONNECTIONS_KILLED = "connections to the database killed"
    POD_DELETED = "pod deleted"
    POD_FORCE_DELETED = "pod deleted by force"
    POD_EVICTED = "pod evicted"

    @property
    def target(self) -> str:
        """What it befalls: never two faults at once."""
        return TARGETS[self]


AT_ONCE = (0.0, 0.0)
SECONDS = {  # the least and the most that it lasts
    Kind.OPERATOR_FROZEN: (16.0, 20.0),  # its Lease is 15
    Kind.OPERATOR_CUT_OFF: (16.0, 20.0),
    Kind.API_SERVER_KILLED: (1.0, 5.0),
    Kind.ETCD_KILLED: (1.0, 5.0),
    Kind.KUBELET_KILLED: (1.0, 8.0),
    Kind.DATABASE_KILLED: (1.0, 5.0),
    Kind.DATABASE_SILENT: (2.0, 8.0),
    Kind.DATABASE_SLOW: (2.0, 8.0),
    Kind.DATABASE_REFUSED: (2.0, 8.0),
}
TARGETS = {
    kind: target
    for target, kinds in {
        "operator": (Kind.OPERATOR_KILLED, Kind.OPERATOR_FROZEN, Kind.OPERATOR_CUT_OFF),
        "control plane": (Kind.API_SERVER_KILLED, Kind.ETCD_KILLED),
        "kubelet": (Kind.KUBELET_KILLED,),
        "server": (Kind.DATABASE_KILLED, Kind.CONNECTIONS_KILLED),
        "way": (
            Kind.DATABASE_SILENT,
            Kind.DATABASE_SLOW,
            Kind.DATABASE_REFUSED,
            Kind.CONNECTIONS_FORGOTTEN,
        ),
        "pod": (Kind.POD_DELETED, Kind.POD_FORCE_DELETED, Kind.POD_EVICTED),
    }.items()
    for kind in kinds
}


@dataclass(frozen=True)
class Fault:
    """`at` and `seconds` (how long it lasts) are seconds; `choice` picks one of several victims."""

    at: float
    kind: Kind
    seconds: float
    choice: int


@dataclass(frozen=True)
class Inflicted:
    """A fault and whom it befell, from when until when: of this machine's monotonic clock."""

    fault: Fault
    began: float
    ended: float
    victim: str = ""


GAP = (2.0, 7.0)  # seconds between two draws


def plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run, in their order, the last one over by `seconds`.

    Kinds are drawn like cards, all of them before any again; one that finds its target broken waits, and one
    that would last too long is left out.
    """
    rng = random.Random(seed)  # noqa: S311
    kinds, busy, faults, now = _decks(rng), dict[str, float](), list[Fault](), 0.0
    while True:
        now += rng.uniform(*GAP)
        kind = next(kinds)
        start = max(now, busy.get(kind.target, 0.0))
        length = rng.uniform(*SECONDS.get(kind, AT_ONCE))
        if now > seconds:
            return sorted(faults, key=lambda fault: fault.at)
        if start + length > seconds:
            continue
        # A second after its end, so that it is seen to be whole in between.
        busy[kind.target] = start + length + 1.0
        faults.append(Fault(round(start, 2), kind, round(length, 2), rng.randrange(1 << 16)))


def _decks(rng: random.Random) -> Iterator[Kind]:
    while True:
        yield from rng.sample(list(Kind), len(Kind))
