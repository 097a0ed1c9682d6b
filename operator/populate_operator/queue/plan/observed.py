"""What one pass knows of a queue: read from MySQL and the API server, nothing remembered but caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.outcome import CannotStart


@dataclass(frozen=True, slots=True)
class Reservation:
    """A row of the jobs table that this queue holds."""

    key: str  # as JSON
    pod: str  # the row's `host`: the pod's name and the fence
    attempt: int  # the row's `pid`, 1 for the first try
    age: float  # seconds since reserved_time, by the database clock
    oom_kills: int = 0  # of earlier attempts


@dataclass(frozen=True, slots=True)
class Observed:
    """One queue as it is. Pods are known by name, which is unique in the queue's namespace and for ever.

    `pods` is complete: the plan must not be asked before the first full list of the watch.
    """

    pods: Mapping[str, PodView] = field(default_factory=dict)
    reservations: Mapping[str, Reservation] | None = field(default_factory=dict)  # None: database unreachable
    seen: frozenset[str] = frozenset()  # names of pods that were observed once and are gone
    due: int = 0  # pending jobs that may start now
    last_refresh: datetime | None = None
    refresh_requested: bool = False  # by annotation, or by completions upstream
    refresh_not_before: datetime | None = None  # after a refresh that failed
    key_source_known: bool = True  # False while the class has not told it
    template_proved: bool = True
    backoff: Backoff = field(default_factory=Backoff)
    is_deleting: bool = False
    is_namespace_going: bool = False  # Kubernetes deletes its pods first, and the queue once they are gone

    # Answers to the questions of the passes just before.
    in_target: Mapping[str, bool] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    logs: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, CannotStart] = field(default_factory=dict)
    held_elsewhere: frozenset[str] = frozenset()

    def pod_of(self, job: Reservation) -> PodView | None:
        """The pod of a reservation, if it exists."""
        return self.pods.get(job.pod)

    @property
    def jobs(self) -> tuple[Reservation, ...]:
        """The reservations, oldest first; none while the database is unreachable."""
        return tuple(sorted((self.reservations or {}).values(), key=lambda job: -job.age))
