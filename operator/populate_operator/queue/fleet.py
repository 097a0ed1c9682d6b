"""All queues that this process serves, and what they have to tell each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from populate_operator.pods.owner import QueueRef
from populate_operator.queue.loop import QueueLoop
from populate_operator.queue.points import Point
from populate_operator.queue.roll_call import RollCall
from populate_operator.queue.services import Services
from populate_operator.queue.strays import Strays

log = structlog.get_logger(__name__)
Body = Mapping[str, Any]


class Fleet:
    """Keeps one running loop for each queue."""

    _services: Services

    def __init__(self, on_deposed: Callable[[BaseException], None]) -> None:
        self._loops: dict[str, QueueLoop] = {}
        self._strays: Strays | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on_deposed = on_deposed
        self.roll_call = RollCall(self._loops.keys())  # a view, which follows

    def equip(self, services: Services) -> None:
        """Called once before anything else: the services need callbacks of this object."""
        self._services, self._strays = services, Strays(services)

    def observe(self, event: str | None, body: Body) -> None:
        """Take in what the watch of PopulateQueues tells: `DELETED`, or anything else for one that is."""
        queue = ref_of(body)
        self.roll_call.hear(event, body["metadata"])
        if event == "DELETED":  # often before the pass that let it go has its answer
            self._services.reached(Point.QUEUE_RELEASED)
            self._forget(queue.uid)
            return
        if queue.uid not in self._loops:
            self._begin(queue)
        self._loops[queue.uid].observe(body)

    def pods_changed(self, queue_uid: str) -> None:
        """A pod of that queue changed."""
        loop = self._loops.get(queue_uid)
        if loop:
            loop.wake()
        elif self._strays:
            self._strays.suspect(queue_uid)

    def completed(self, table_id: str) -> None:
        """Jobs of that table were completed: queues downstream look for new keys."""
        for loop in self._loops.values():
            if table_id in loop.reconciler.upstream:
                loop.request_refresh()

    @property
    def longest_pass(self) -> float:
        """Seconds of the pass that has been under way longest."""
        return max((loop.busy_seconds for loop in self._loops.values()), default=0.0)

    async def close(self) -> None:
        """Stop all loops; pods and reservations stay as they are."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._strays:
            await self._strays.close()

    def _begin(self, queue: QueueRef) -> None:
        loop = QueueLoop(queue, self._services)
        self._loops[queue.uid] = loop
        task = asyncio.create_task(loop.run(), name=f"queue {queue.namespace}/{queue.name}")
        self._tasks[queue.uid] = task
        task.add_done_callback(lambda ended: self._ended(queue.uid, ended))
        log.info("queue served", namespace=queue.namespace, queue=queue.name)

    def _forget(self, uid: str) -> None:
        self._loops.pop(uid, None)
        task = self._tasks.get(uid)
        if task:
            task.cancel()
        # Somebody else let it go, and nothing need ever change about them any more.
        if self._strays and any(pod.has_finalizer for pod in self._services.watch.pods_of(uid)):
            self._strays.suspect(uid)

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._loops.pop(uid, None)
        self._tasks.pop(uid, None)
        error = None if task.cancelled() else task.exception()
        if error:
            self._on_deposed(error)


def ref_of(body: Body) -> QueueRef:
    """The reference to a queue from its object."""
    metadata = body["metadata"]
    return QueueRef(body["apiVersion"], metadata["namespace"], metadata["name"], metadata["uid"])
