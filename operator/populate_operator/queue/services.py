"""What every queue of one operator process shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from populate_operator.pods.client import PodApi
from populate_operator.pods.events import EventRecorder
from populate_operator.pods.queues import QueueApi
from populate_operator.pods.session import ApiSession
from populate_operator.pods.watch import PodWatch
from populate_operator.queue.points import Reached, nobody
from populate_operator.queue.threads import Threads


class NotLeading(Exception):
    """This replica may no longer write; another one may have taken over."""


@dataclass(frozen=True, slots=True)
class Services:
    """Connections, caches and identities; no queue's own state."""

    session: ApiSession
    api: PodApi
    queues: QueueApi
    events: EventRecorder
    watch: PodWatch
    threads: Threads  # for blocking database calls
    installation: str  # UID of the operator's namespace
    homes: Callable[[], tuple[str, ...]]  # namespaces that may have queues of ours; empty for all
    runner_script: str  # text of pods/runner.py
    may_write: Callable[[], bool]  # whether this replica still leads
    on_completed: Callable[[str], None]  # told the `table_id` whose jobs were completed
    reached: Reached = nobody  # told of the moments between which nothing may be lost

    def fence(self) -> None:
        """Raise NotLeading unless this replica still leads; asked before each batch of effects."""
        if not self.may_write():
            raise NotLeading("the lease was not renewed in time")
