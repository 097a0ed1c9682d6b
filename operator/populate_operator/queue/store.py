"""The jobs of one queue for asyncio: every call is one unit of blocking work in the bounded thread pool."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, assert_never, cast

from populate_operator import jobs
from populate_operator.jobs import BadKey, DatabaseUnreachable, Fence, Job, JobTable, Key, Target
from populate_operator.pods.names import ENTROPY_BYTES, pod_name
from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import (
    CannotStart,
    Complete,
    Disrupted,
    Failed,
    Ignored,
    Outcome,
    RetryLater,
)
from populate_operator.queue.plan import Reservation
from populate_operator.queue.progress import build_target
from populate_operator.queue.report import build_recent_error
from populate_operator.queue.resource import PopulateQueueSpec
from populate_operator.queue.status import (
    MAX_RECENT_ERRORS,
    JobCounts,
    LastRefresh,
    RecentError,
    TargetProgress,
)
from populate_operator.queue.threads import Lane

T = TypeVar("T")

ANSWER_SECONDS = 20.0  # of the short statements of a pass; a refresh may take long
LOOKS = 4  # after connections that the server has forgotten, in that time
OWNER_PREFIX = "populatequeue/"


def owner_of(installation: str, queue_uid: str) -> str:
    """The `user` of a queue's reservations; `installation` is the UID of the operator's namespace."""
    return f"{OWNER_PREFIX}{installation}/{queue_uid}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pass goes by.

    `reservations`: this queue's, by pod name. `next_due`: seconds until the next pending job may start, None
    where none is pending. `target`: the table that is populated.
    """

    reservations: dict[str, Reservation]
    next_due: float | None
    target: Target


@dataclass(frozen=True, slots=True)
class Figures:
    """What a person wants to know of the table: counts, progress and the newest errors."""

    jobs: JobCounts
    target: TargetProgress
    errors: tuple[RecentError, ...]


class QueueStore:
    """The job table of one queue, seen by `owner`. Every method raises JobsError."""

    def __init__(self, table: JobTable, *, owner: str, lane: Lane) -> None:
        self.table, self.owner, self._lane = table, owner, lane
        self._late: asyncio.Future[Any] | None = None
        self._has_adopted = False

    def _begin(self, work: Callable[[], T], threads: Executor) -> asyncio.Future[T]:
        call = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(threads, work))
        # Its error counts as seen, though nobody may wait for it any more.
        call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return call

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """The result of `work`, however long it takes."""
        call = self._begin(work, self._lane.slow)
        while not await self._has_ended(call):
            pass
        return call.result()

    async def _promptly(self, work: Callable[[], T]) -> T:
        """The same for what a pass waits for. Raises DatabaseUnreachable when the answer is late.

        The late call goes on, for a thread cannot be stopped; until it has ended no other one is begun, so
        that a silent server holds one of its threads for each queue. Whatever it still writes is fenced.
        """
        if self._late:
            await self._answer_of(self._late)
        begun, is_wanted, loop = asyncio.Event(), True, asyncio.get_running_loop()

        def begin() -> T | None:
            loop.call_soon_threadsafe(begun.set)
            return work() if is_wanted else None

        call = self._begin(begin, self._lane.prompt)
        while not await _is_set(begun):  # which is no fault of the database, unless it holds the threads
            if self._lane.late:
                is_wanted = False
                self._give_up(call)
        await self._answer_of(call)
        return cast(T, call.result())

    async def _answer_of(self, call: asyncio.Future[Any]) -> None:
        self._late = None
        if not await self._has_ended(call):
            self._give_up(call)

    def _give_up(self, call: asyncio.Future[Any]) -> NoReturn:
        self._late = call
        self._lane.late.add(call)
        call.add_done_callback(self._lane.late.discard)
        raise DatabaseUnreachable(
            f"{self.table.database.address}: no answer for {ANSWER_SECONDS:.0f} s; "
            "check the network between, that the server is up, not overloaded, and has room on its disk"
        )

    async def _has_ended(self, call: asyncio.Future[Any]) -> bool:
        """Wait for a while, and see to it meanwhile that the call does not wait for what never comes."""
        for _ in range(LOOKS):
            await asyncio.wait({call}, timeout=ANSWER_SECONDS / LOOKS)
            if call.done():
                return True
            # In a thread beside ours, which may all be waiting.
            threading.Thread(target=self.table.database.break_off_forgotten, daemon=True).start()
        return False

    async def read(self) -> Reading:
        """The queue as the database has it now.

        The first time it takes over what the same queue had reserved before the operator's namespace was
        made anew or changed: the pods of those jobs may still work, and else nobody would settle them.
        """

        def work() -> Reading:
            if not self._has_adopted:
                self._adopt()
            held = {job.host: _reservation(job) for job in self.table.owned(self.owner)}
            return Reading(held, self.table.next_due(), self.table.target)

        return await self._promptly(work)

    async def reserve(self, limit: int, *, queue: str, version: str) -> list[Reservation]:
        """Reserve up to `limit` due jobs, each for a pod of a new name."""

        def name(_key: Key, _attempt: int) -> str:
            return pod_name(queue, os.urandom(ENTROPY_BYTES))

        reserved = await self._promptly(
            lambda: self.table.reserve_many(limit, owner=self.owner, hosts=name, version=version)
        )
        return [_reservation(job) for job in reserved]

    async def check_target(self, held: Sequence[Reservation]) -> dict[str, bool]:
        """For each reservation's pod name whether its key is in the target."""

        def work() -> dict[str, bool]:
            keys = {job.pod: self.table.key(job.key) for job in held}
            present = self.table.in_target(keys.values())
            return {pod: key in present for pod, key in keys.items()}

        return await self._promptly(work)

    async def settle(self, settled: Sequence[tuple[Reservation, Outcome]]) -> list[bool | None]:
        """Write the outcomes, fenced; for each whether it took effect, None where somebody has locked it."""

        def work() -> list[bool | None]:
            return self.table.settle(
                [
                    build_settlement(self.table.key(job.key), Fence(self.owner, job.pod), job, outcome)
                    for job, outcome in settled
                ]
            )

        return await self._promptly(work)

    async def take_back(self, pod: PodView, *, version: str) -> Reservation | None:
        """Reserve the job of a live pod for it again; None where that must not be."""

        def work() -> Reservation | None:
            fence = Fence(self.owner, pod.name)
            try:
                key = self.table.key(pod.key)
                has_it = self.table.take_back(key, fence=fence, attempt=pod.attempt, version=version)
            except BadKey:  # its annotation was edited: it cannot be told which job it runs
                return None
            return Reservation(key.json, pod.name, pod.attempt, 0.0) if has_it else None

        return await self._promptly(work)

    async def refresh(self, spec: PopulateQueueSpec) -> LastRefresh:
        """Bring the queue up to date with its key source."""
        started = datetime.now(UTC)
        result = await self._in_thread(
            lambda: self.table.refresh(
                delay=spec.refresh.delay_seconds,
                priority=spec.priority,
                stale_timeout=spec.refresh.stale_timeout_seconds,
                orphan_timeout=spec.refresh.orphan_timeout_seconds,
                spared_owners=(OWNER_PREFIX,),
            )
        )
        ended = datetime.now(UTC)
        return LastRefresh(
            time=ended.replace(microsecond=0),
            seconds=round((ended - started).total_seconds(), 3),
            **result,
        )

    def _adopt(self) -> None:
        queue_uid = self.owner.rpartition("/")[2]
        for owner in self.table.owners(OWNER_PREFIX):
            if owner != self.owner and owner.endswith(f"/{queue_uid}"):
                self.table.adopt(self.owner, former=owner)
        self._has_adopted = True

    async def figures(self, now: datetime) -> Figures:
        """Counts, progress and the newest errors. The cost grows with the table: not for every pass."""

        def work() -> Figures:
            counts, scope = self.table.progress(restricted=True), self.table.scope()
            scheduled = self.table.pending.within(scope).scheduled().count()
            total, populated = self.table.target_progress()
            newest = list(self.table.errors.within(scope).latest().limit(MAX_RECENT_ERRORS))
            return Figures(
                jobs=JobCounts(**counts | {"pending": counts["pending"] - scheduled}, scheduled=scheduled),
                target=build_target(total, populated),
                errors=tuple(_recent_error(job, now) for job in newest),
            )

        return await self._in_thread(work)

    async def other_owners(self) -> dict[str, str]:
        """Other queues of this installation that have reservations in this table: owner to queue uid."""
        prefix = self.owner.rpartition("/")[0] + "/"
        owners = await self._in_thread(lambda: self.table.owners(prefix))
        return {owner: owner.removeprefix(prefix) for owner in owners if owner != self.owner}

    async def release_owner(self, owner: str, *, except_hosts: Collection[str]) -> int:
        """End what `owner`, a queue that no longer exists, had reserved, but for pods that are left."""
        return await self._in_thread(lambda: self.table.release_owner(owner, except_hosts=except_hosts))


def build_settlement(key: Key, fence: Fence, job: Reservation, outcome: Outcome) -> jobs.Settlement:
    """What an outcome means for the row (design section 4); OOM kills are carried to later attempts. Pure."""
    match outcome:
        case Complete(duration=duration):
            return jobs.Complete(key, fence, duration)
        case Failed(message=message, stack=stack, duration=duration):
            return jobs.Error(key, fence, message, stack, duration)
        case RetryLater(delay=delay, is_oom=is_oom):
            return jobs.Release(key, fence, delay, carry=job.oom_kills + is_oom)
        case Disrupted() | CannotStart():
            return jobs.Release(key, fence, counted=False, carry=job.oom_kills)
        case Ignored():
            return jobs.Ignore(key, fence)
    assert_never(outcome)


async def _is_set(begun: asyncio.Event) -> bool:
    """Wait for a while."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await begun.wait()
    except TimeoutError:
        return False


def _reservation(job: Job) -> Reservation:
    # Each of them ended an attempt, whatever somebody wrote into the row.
    oom_kills = max(min(job.connection_id, job.attempt - 1), 0)
    return Reservation(job.key.json, job.host, job.attempt, job.reserved_seconds or 0.0, oom_kills)


def _recent_error(job: Job, now: datetime) -> RecentError:
    return build_recent_error(job.key.json, job.error_message, job.host, job.completed_at or now)
