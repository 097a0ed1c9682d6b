"""What takes long and must not hold up settling: refreshes, counts, the key source of a class, events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from populate_operator.jobs import JobsError
from populate_operator.metrics import REFRESH_SECONDS
from populate_operator.pods.errors import ApiError, Refused
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.probe import ProbeFailed, build_probe, find_report, run_probe
from populate_operator.pods.view import PodView
from populate_operator.queue.asked import why_in_vain
from populate_operator.queue.clock import utc_now
from populate_operator.queue.events import EventText, refreshed
from populate_operator.queue.memory import Memory
from populate_operator.queue.points import Point
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.resource import PopulateQueueSpec
from populate_operator.queue.services import Services
from populate_operator.queue.store import QueueStore
from populate_operator.queue.trouble import is_about_reaching, trouble_of

log = structlog.get_logger(__name__)

_TICK = 0.1  # seconds past the time, never at it


class Background:
    """The tasks of one queue. Each calls `wake` when it has news for the next pass."""

    def __init__(self, queue: QueueRef, services: Services, memory: Memory, wake: Callable[[], None]) -> None:
        self._queue, self._services, self._memory, self._wake = queue, services, memory, wake
        self._refresh: asyncio.Task[None] | None = None
        self._asked_meanwhile = False
        self._count: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Cancel everything. A refresh in the database runs to its end there; that harms nothing."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def publish(self, news: EventText) -> None:
        """Publish an event about the queue; nobody waits for it."""
        event = self._services.events.publish(
            self._queue, news.kind, news.reason, news.message, times=news.times
        )
        self._start(event)

    # --- refresh ----------------------------------------------------------------------------------

    def refresh(self, spec: PopulateQueueSpec, store: QueueStore) -> None:
        """Begin a refresh; what is asked for while one is under way waits for its end.

        The new keys may have come too late for that one.
        """
        memory, is_under_way = self._memory, self._refresh is not None and not self._refresh.done()
        self._asked_meanwhile |= is_under_way and memory.refresh_requested
        memory.refreshed_at, memory.refresh_requested = utc_now(), False
        if not is_under_way:
            self._refresh = self._start(self._run_refresh(spec, store))

    async def _run_refresh(self, spec: PopulateQueueSpec, store: QueueStore) -> None:
        try:
            result = await store.refresh(spec)
            self._services.reached(Point.REFRESHED)
            await self._release_abandoned(store)
        except (JobsError, ApiError) as error:
            log.warning("refresh failed", queue=self._queue.name, error=str(error))
            self._memory.note_refresh_failure(
                trouble_of(error),
                utc_now(),
                is_database=isinstance(error, JobsError) and is_about_reaching(error),
            )
        else:
            self._memory.note_refresh(result, utc_now())
            REFRESH_SECONDS.labels(self._queue.namespace, self._queue.name).observe(result.seconds)
            news = refreshed(result)
            if news:
                self.publish(news)
        self._memory.refresh_requested |= self._asked_meanwhile
        self._asked_meanwhile = False
        self._wake()

    async def _release_abandoned(self, store: QueueStore) -> None:
        """Give the rows of queues that no longer exist back, once the API server has confirmed that."""
        owners = await store.other_owners()
        if not owners:
            return
        try:
            living = await self._services.queues.list_uids(self._services.homes())
        except Refused as error:  # a namespace that we may not see into may have the queue
            log.warning("abandoned jobs not looked for", queue=self._queue.name, error=error.message)
            return
        for owner, uid in owners.items():
            if uid not in living:
                names = [pod.name for pod in self._services.watch.pods_of(uid)]
                released = await store.release_owner(owner, except_hosts=names)
                log.info("abandoned jobs released", queue=self._queue.name, owner=owner, jobs=released)

    # --- figures ----------------------------------------------------------------------------------

    def count(self, store: QueueStore) -> None:
        """Begin to count the jobs, unless that is under way."""
        if self._count is None or self._count.done():
            self._memory.figures_not_before = None
            self._count = self._start(self._run_count(store))

    async def _run_count(self, store: QueueStore) -> None:
        started, changes = utc_now(), self._memory.changes
        try:
            figures = await store.figures(started)
        except JobsError as error:
            log.warning("jobs not counted", queue=self._queue.name, error=str(error))
            self._memory.note_count_failure(utc_now())
        else:
            now = utc_now()
            self._memory.note_figures(figures, changes, (now - started).total_seconds(), now)
            self._wake()

    # --- key source of the class ------------------------------------------------------------------

    def ask_class(self, spec: PopulateQueueSpec, factory: PodFactory, fingerprint: str) -> None:
        """Begin to ask the class for its key source, unless that is known or under way.

        While the queue is suspended no pod is started for it; what an earlier one told is read again.
        """
        asked = self._memory.key_source
        if not asked.is_told(spec):
            self._memory.figures_not_before = None  # they wait for the answer, not for their time
        if asked.is_due(fingerprint, utc_now(), may_start=not spec.suspend):
            asked.begin(fingerprint, may_start=not spec.suspend)
            self._start(self._run_probe(spec, factory, fingerprint))

    async def _run_probe(self, spec: PopulateQueueSpec, factory: PodFactory, fingerprint: str) -> None:
        asked, api, pause = self._memory.key_source, self._services.api, 0.0
        look = partial(self._look_at_probe, spec, fingerprint)
        try:
            await factory.prepare(self._services)
            probe = build_probe(factory.sample())
            query = await (find_report(api, probe) if spec.suspend else run_probe(api, probe, look))
        except (ProbeFailed, ApiError, ValueError) as error:
            log.warning("key source not told", queue=self._queue.name, error=str(error))
            pause = asked.fail(fingerprint, str(error), utc_now())
        else:
            if query is None:
                asked.put_off(fingerprint)
            else:
                asked.succeed(fingerprint, query)
        self._wake()
        if pause:
            await asyncio.sleep(pause + _TICK)
            self._wake()

    def _look_at_probe(self, spec: PopulateQueueSpec, fingerprint: str, pod: PodView) -> str | None:
        """Tell what the pod that asks waits for, and why to give up on it, if so."""
        asked = self._memory.key_source
        if asked.fingerprint != fingerprint:
            return "image or class has changed"
        why = why_in_vain(spec, pod, utc_now())
        if why is None and asked.note_waiting(pod.waiting):
            self._wake()
        return why

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("background work failed", queue=self._queue.name, exc_info=task.exception())
