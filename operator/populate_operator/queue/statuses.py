"""The one status write of a pass: at most one a second, and none where nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from populate_operator.metrics import CONDITIONS, JOBS
from populate_operator.pods.names import QUEUE_UID_LABEL
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.view import PodView
from populate_operator.queue.clock import utc_now
from populate_operator.queue.conditions import Health
from populate_operator.queue.memory import RATE_WINDOW_SECONDS, Memory
from populate_operator.queue.progress import settled_per_minute
from populate_operator.queue.report import Facts, build_status
from populate_operator.queue.services import Services
from populate_operator.queue.status import ConditionStatus, QueueStatus, dump_status, parse_status

NEVER = 3600.0
_BETWEEN_WRITES = timedelta(seconds=1)
_VALUES: dict[ConditionStatus, int] = {"True": 1, "False": 0, "Unknown": -1}


class StatusWriter:
    """Writes the status of one queue."""

    def __init__(self, queue: QueueRef, services: Services, memory: Memory) -> None:
        self._queue, self._services, self._memory = queue, services, memory

    def restore(self, body: Mapping[str, Any]) -> None:
        """Begin with what an earlier operator wrote: times of transitions, and of the last refresh."""
        status = parse_status(body.get("status"))
        self._memory.status = status
        if status.last_refresh:
            self._memory.last_refresh = status.last_refresh

    async def write(self, generation: int, health: Health, pods: tuple[PodView, ...]) -> float:
        """Report; seconds until a write that was put off is due. Raises ApiError."""
        now = utc_now()
        status = build_status(self._facts(generation, health, pods), self._memory.status, now)
        self._expose(status)  # also where nothing changed since an operator that is no more
        if status == self._memory.status:
            return NEVER
        due = self._memory.status_written_at and self._memory.status_written_at + _BETWEEN_WRITES
        if due and now < due:
            return (due - now).total_seconds()
        self._services.fence()
        await self._services.queues.patch_status(self._queue, dump_status(status))
        self._memory.status, self._memory.status_written_at = status, now
        return NEVER

    def _facts(self, generation: int, health: Health, pods: tuple[PodView, ...]) -> Facts:
        memory, figures = self._memory, self._memory.figures
        return Facts(
            generation=generation,
            health=health,
            pods=pods,
            jobs=figures.jobs if figures else None,
            target=figures.target if figures else None,
            last_refresh=memory.last_refresh,
            per_minute=settled_per_minute(memory.settled, utc_now(), RATE_WINDOW_SECONDS),
            recent_errors=figures.errors if figures else None,
            selector=f"{QUEUE_UID_LABEL}={self._queue.uid}",
        )

    def _expose(self, status: QueueStatus) -> None:
        labels = (self._queue.namespace, self._queue.name)
        for condition in status.conditions:
            CONDITIONS.labels(*labels, condition.type).set(_VALUES[condition.status])
        for name, count in (status.jobs.model_dump() if status.jobs else {}).items():
            if name != "total":
                JOBS.labels(*labels, name).set(count)
