"""One pass over one queue: observe, plan, apply, one status write (design section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from populate_operator.jobs import AccessDenied, JobsError
from populate_operator.pods.errors import ApiError, Conflict
from populate_operator.pods.names import QUEUE_FINALIZER
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.queues import REFRESH_ANNOTATION
from populate_operator.queue import plan as p
from populate_operator.queue.access import Access, NotReady, table_id
from populate_operator.queue.background import Background
from populate_operator.queue.clock import utc_now
from populate_operator.queue.conditions import Health, Trouble
from populate_operator.queue.effects import Effects
from populate_operator.queue.events import action_events, blocked, database_unreachable
from populate_operator.queue.findings import Findings
from populate_operator.queue.health import judge
from populate_operator.queue.memory import Memory, fingerprint
from populate_operator.queue.pacing import seconds_until_next
from populate_operator.queue.points import Point
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.resource import InvalidQueueError, PopulateQueueSpec, parse_spec
from populate_operator.queue.services import Services
from populate_operator.queue.statuses import StatusWriter
from populate_operator.queue.tidying import Tidier
from populate_operator.queue.trouble import Expected, is_about_reaching, is_from_database, trouble_of

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]
_LONGEST_PASS = timedelta(seconds=1)  # a queue that is never idle still reports, and reads the database
_WRITES = (p.Settle, p.Reserve, p.TakeBack)
_TRIES = 4  # passes in a row that failed, within a few seconds, before the one that gives up
_AGAIN = 1.0  # seconds, should the watch not be faster
_MANY = 1_000_000  # "some are due": how many is the database's affair


class Reconciler:
    """Brings one queue's pods and jobs in line with its spec, pass by pass."""

    def __init__(self, queue: QueueRef, services: Services, wake: Callable[[], None]) -> None:
        self.queue, self._services = queue, services
        self.memory = Memory()
        self.table_id, self.upstream = "", frozenset[str]()  # known once the database was read
        self._access = Access(queue, services)
        self._background = Background(queue, services, self.memory, wake)
        self._tidier = Tidier(services, wake)
        self._statuses = StatusWriter(queue, services, self.memory)
        self._body: Body = {}
        self._generation = 0  # of the spec that this pass goes by: the queue may be changed meanwhile
        self._held_since = ""  # resourceVersion to which we added our finalizer: the watch tells it later

    def observe(self, body: Body) -> None:
        """Take in the queue as the API server last told it."""
        if not self._body:
            self._statuses.restore(body)
        self._body = body
        if _is_refresh_requested(body):
            self.memory.refresh_requested = True

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self._background.close()
        await self._tidier.close()

    async def reconcile(self) -> float | None:
        """One pass; seconds until the next is due by itself, None once a deleted queue is let go.

        Raises NotLeading, and ApiError where the API server cannot be used at all.
        """
        body = self._body
        metadata = body["metadata"]
        self._generation = int(metadata.get("generation") or 0)
        is_deleting = bool(metadata.get("deletionTimestamp"))
        if is_deleting and QUEUE_FINALIZER not in (metadata.get("finalizers") or ()):
            return None
        if not is_deleting and not await self._hold(metadata):
            return _AGAIN
        if _is_refresh_requested(body):
            await self._services.queues.clear_refresh_request(self.queue)
        try:
            spec = parse_spec(body.get("spec"))
        except InvalidQueueError as error:
            return await self._report_invalid(str(error), is_deleting)
        return await self._pass(spec, is_deleting)

    async def _hold(self, metadata: Body) -> bool:
        """Keep our finalizer on a living queue, so that its pods can be settled when it is deleted.

        False where the queue has changed or gone since it was observed: without a hold nothing is begun.
        """
        version = metadata["resourceVersion"]
        if QUEUE_FINALIZER in (metadata.get("finalizers") or ()) or version == self._held_since:
            return True
        try:
            is_held = await self._services.queues.set_finalizer(self.queue, metadata, present=True)
        except Conflict:
            return False  # the change that we missed is on its way and brings another pass
        if is_held:
            self._held_since = version
            self._services.reached(Point.QUEUE_HELD)
        return is_held

    async def _report_invalid(self, message: str, is_deleting: bool) -> float:
        if is_deleting:  # without a spec nothing can be settled; another queue of the table re-pends the rows
            for pod in self._services.watch.pods_of(self.queue.uid):
                await self._services.api.delete(pod)
                await self._services.api.release(pod)
            await self._release_queue()
        health = Health(
            is_database_known=False, setup=Trouble("InvalidSpec", message), is_deleting=is_deleting
        )
        return await self._statuses.write(self._generation, health, ())

    async def _pass(self, spec: PopulateQueueSpec, is_deleting: bool) -> float:
        self.memory.note_clock(utc_now())
        self.memory.note_spec(fingerprint(spec), self._generation)
        found = await self._read(spec, is_deleting)
        factory = PodFactory(self.queue, spec, self.table_id)
        if spec.key_source.from_class and not is_deleting:
            self._background.ask_class(spec, factory, self.memory.known_template)
        store = self._access.store if found.reservations is not None else None
        effects = Effects(self.queue, self._services, self.memory, store, factory, self._tidier)
        observed = self._observed(spec, found, effects, is_deleting)
        try:
            observed = await self._look_at_namespace(observed)
            observed = await self._converge(spec, effects, observed, found)
            is_due = self.memory.are_figures_due(utc_now(), is_idle=not observed.reservations)
            if store and is_due and self.memory.key_source.is_told(spec):
                self._background.count(store)
            is_stuck = found.is_incomplete
        except (JobsError, ApiError) as error:
            self._note(error, found)
            is_stuck = isinstance(error, JobsError)
        if store and is_stuck and self.memory.failures >= _TRIES:
            # It can be read but not written, or not all of it: no end waits for that.
            unread = await self._look_at_namespace(replace(observed, reservations=None))
            if unread.is_deleting or unread.is_namespace_going:
                observed = await self._converge(spec, effects, unread, found)
        return await self._finish(spec, observed, found)

    async def _look_at_namespace(self, observed: p.Observed) -> p.Observed:
        """Ask whether the namespace goes, where that decides what becomes of pods. Raises ApiError."""
        if not p.may_wait_in_vain(observed):
            return observed
        going = await self._services.api.is_terminating(self.queue.namespace)
        return replace(observed, is_namespace_going=going)

    # --- observe ----------------------------------------------------------------------------------

    async def _read(self, spec: PopulateQueueSpec, is_deleting: bool) -> Findings:
        found, known = Findings(), self._access.store
        try:
            reading = await self._access.read(spec, self.memory.key_source.take(), is_deleting=is_deleting)
        except (JobsError, ApiError, NotReady) as error:
            self._note(error, found)
            found.is_database_known = is_from_database(error)
            return found
        finally:
            if self._access.store is not known:  # another key source, perhaps, or other restrictions
                self.memory.note_change()
                self.memory.refresh_requested = True
        found.reservations, found.next_due = reading.reservations, reading.next_due
        found.is_database_known, target = True, reading.target
        self.table_id = table_id(spec, target.schema, target.table)
        self.upstream = frozenset(table_id(spec, parent.schema, parent.table) for parent in target.parents)
        return found

    def _observed(
        self, spec: PopulateQueueSpec, found: Findings, effects: Effects, is_deleting: bool
    ) -> p.Observed:
        namespace, has_ended = self.queue.namespace, self._services.watch.has_ended
        return p.Observed(
            pods=effects.pods(),
            reservations=found.reservations,
            seen=frozenset(name for name in found.reservations or () if has_ended(namespace, name)),
            due=_MANY if found.next_due == 0.0 else 0,
            last_refresh=self.memory.refreshed_at,
            refresh_requested=self.memory.refresh_requested,
            refresh_not_before=self.memory.refresh_not_before,
            key_source_known=self.memory.key_source.is_known(spec, self.memory.known_template),
            template_proved=self.memory.is_template_proved,
            backoff=self.memory.backoff,
            is_deleting=is_deleting,
        )

    # --- plan and apply ---------------------------------------------------------------------------

    async def _converge(
        self, spec: PopulateQueueSpec, effects: Effects, observed: p.Observed, found: Findings
    ) -> p.Observed:
        """Plan and apply until there is nothing new to do, or it is time to report and to read again."""
        tried, began = set[p.Action](), utc_now()
        while planned := self._plan(spec, observed):
            # Refusals are known to this pass alone: it ends when they are settled, and begins nothing more.
            if utc_now() - began > _LONGEST_PASS and not observed.refused:
                found.has_more = True
                break
            new = [action for action in planned if action not in tried]
            if not new:  # what is left has just failed: it is tried again after a pause
                found.is_incomplete = True
                break
            # Reserving again is no repetition: while it succeeds there are other jobs.
            tried.update(action for action in new if not isinstance(action, p.Reserve))
            observed = await effects.apply(new, observed)
            found.has_written |= any(isinstance(action, _WRITES) for action in new)
            observed = replace(observed, backoff=p.next_backoff(observed, new, utc_now()))
            self.memory.backoff = observed.backoff
            for news in action_events(new):
                self._background.publish(news)
            observed = self._start_refresh(spec, new, observed)
            if any(isinstance(action, p.ReleaseQueue) for action in new):
                await self._release_queue()
        return observed

    def _plan(self, spec: PopulateQueueSpec, observed: p.Observed) -> list[p.Action]:
        planned = p.plan(spec, observed, utc_now())
        return [action for action in planned if not self._tidier.is_busy_with(action)]

    def _start_refresh(
        self, spec: PopulateQueueSpec, actions: list[p.Action], observed: p.Observed
    ) -> p.Observed:
        store = self._access.store
        if store is None or not any(isinstance(action, p.Refresh) for action in actions):
            return observed
        self._background.refresh(spec, store)
        return replace(observed, last_refresh=self.memory.refreshed_at, refresh_requested=False)

    async def _release_queue(self) -> None:
        fresh = await self._services.queues.get(self.queue)
        if fresh:
            self._services.reached(Point.QUEUE_RELEASE)
            try:
                await self._services.queues.set_finalizer(self.queue, fresh["metadata"], present=False)
            except Conflict:
                return  # it was changed since we looked, and that brings another pass

    # --- report -----------------------------------------------------------------------------------

    def _note(self, error: Expected, found: Findings) -> None:
        if isinstance(error, AccessDenied):
            self._access.forget_account()
        if is_about_reaching(error):
            found.database = trouble_of(error)
        else:
            found.setup = trouble_of(error)
            self.memory.forget_refresh_trouble()
        found.is_incomplete = True

    async def _finish(self, spec: PopulateQueueSpec, observed: p.Observed, found: Findings) -> float:
        found.setup = found.setup or self._tidier.trouble(observed.pods.values())
        health = judge(spec, observed, found, self.memory, utc_now())
        self._tell(health)
        self.memory.failures = self.memory.failures + 1 if found.is_incomplete else 0
        status_due = await self._statuses.write(self._generation, health, tuple(observed.pods.values()))
        return seconds_until_next(spec, observed, found, self.memory, status_due, utc_now())

    def _tell(self, health: Health) -> None:
        """One event and one log line for each trouble that is new, and one line when the database is back."""
        memory, fields = self.memory, {"namespace": self.queue.namespace, "queue": self.queue.name}
        if lost := _new(health.database, memory.database_trouble):
            log.warning("database cannot be used", error=lost.message, **fields)
            self._background.publish(database_unreachable(lost.message))
        elif memory.database_trouble and health.database is None:
            log.info("database can be used again", **fields)
        if wrong := _new(health.setup, memory.setup_trouble):
            log.warning("queue cannot work", reason=wrong.reason, error=wrong.message, **fields)
            self._background.publish(blocked(wrong.reason, wrong.message))
        memory.database_trouble, memory.setup_trouble = health.database, health.setup


def _new(trouble: Trouble | None, known: Trouble | None) -> Trouble | None:
    """The trouble, if nothing was said of its kind before."""
    return trouble if trouble and (known is None or known.reason != trouble.reason) else None


def _is_refresh_requested(body: Body) -> bool:
    return bool((body["metadata"].get("annotations") or {}).get(REFRESH_ANNOTATION))
