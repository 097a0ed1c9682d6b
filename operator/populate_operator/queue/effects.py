"""Carries out the plan: each kind of action as one batch, its results folded into the next observation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from populate_operator.metrics import CREATED, SETTLED
from populate_operator.pods.batch import CreateResult, create_many
from populate_operator.pods.build import build_pod
from populate_operator.pods.errors import ApiError, Refused, Unreachable
from populate_operator.pods.names import MANAGED_BY_LABEL, QUEUE_UID_LABEL
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.view import PodView
from populate_operator.queue import plan as p
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.clock import utc_now
from populate_operator.queue.events import rejected
from populate_operator.queue.memory import Memory
from populate_operator.queue.outcome import CannotStart, Complete, Failed, Ignored, has_ended
from populate_operator.queue.points import Point
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.services import Services
from populate_operator.queue.store import QueueStore
from populate_operator.queue.tidying import Tidier

log = structlog.get_logger(__name__)

A = TypeVar("A", bound=p.Action)

# Reserved and created in portions, so that a crash or a deposed leader leaves few pods to be made up for.
PORTION = 200
_RELABELLED = (
    f"a policy of the cluster changes the labels ({MANAGED_BY_LABEL}, {QUEUE_UID_LABEL}) or the owner by "
    "which the operator knows its pods: exempt them from it"
)
# Where a LimitRange has added a limit below the request, the API server does not say whose limit that is.
_EXCEEDS_LIMIT = "must be less than or equal to"


class Effects:
    """The effects of one queue's plan. `store` is None while the database cannot be used."""

    def __init__(
        self,
        queue: QueueRef,
        services: Services,
        memory: Memory,
        store: QueueStore | None,
        factory: PodFactory,
        tidier: Tidier,
    ) -> None:
        self._queue, self._services, self._memory = queue, services, memory
        self._store, self._factory, self._tidier = store, factory, tidier

    async def apply(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        """Apply `actions` and return what is known then. Raises JobsError, ApiError and NotLeading."""
        for step in (
            self._check_target,
            self._check_gone,
            self._read_logs,
            self._settle,
            self._take_back,
            self._prove,
            self._reserve,
        ):
            self._services.fence()
            observed = await step(actions, observed)
        self._services.fence()
        self._tidier.start(actions)
        observed = await self._create(actions, observed)
        return replace(observed, pods=self.pods())

    def pods(self) -> dict[str, PodView]:
        """This queue's pods as the watch and our own writes have them."""
        found = self._services.watch.pods_of(self._queue.uid)
        return {pod.name: pod for pod in found if self._queue.may_own(pod)}

    # --- questions --------------------------------------------------------------------------------

    async def _check_target(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        held = [job for action in _of(p.CheckTarget, actions) for job in action.jobs]
        if not held or self._store is None:
            return observed
        return replace(observed, in_target={**observed.in_target, **await self._store.check_target(held)})

    async def _check_gone(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        names = [name for action in _of(p.CheckGone, actions) for name in action.pods]
        found = await self._get(names)
        missing = frozenset(name for name, pod in zip(names, found, strict=True) if pod is None)
        if missing:
            self._services.reached(Point.GONE)
        return replace(observed, gone=observed.gone | missing)

    async def _get(self, names: Sequence[str]) -> list[PodView | None]:
        """These pods as the API server has them now; None for each that is gone."""
        found = await asyncio.gather(*(self._services.api.get(self._queue.namespace, name) for name in names))
        await self._recognize([pod for pod in found if pod])
        return found

    async def _recognize(self, pods: Sequence[PodView]) -> None:
        """Take in pods that were found by name. One that someone edited comes back into the watch."""
        for pod in pods:
            is_edited = pod.queue_uid != self._queue.uid or not pod.is_labelled
            if is_edited and self._queue.may_own(pod):
                log.warning("pod was relabelled, taking it back", pod=pod.name, namespace=pod.namespace)
                await self._services.api.restore(pod, self._queue)
            else:
                self._services.watch.remember(pod)

    async def _read_logs(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        wanted = _of(p.ReadLog, actions)
        texts = await asyncio.gather(
            *(
                self._services.api.log_tail(self._queue.namespace, one.pod.name, one.container)
                for one in wanted
            )
        )
        read = {one.pod.name: text for one, text in zip(wanted, texts, strict=True)}
        return replace(observed, logs={**observed.logs, **read})

    # --- jobs -------------------------------------------------------------------------------------

    async def _settle(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        settled = _of(p.Settle, actions)
        if not settled or self._store is None or observed.reservations is None:
            return observed
        self._services.reached(Point.SETTLE)
        effective = await self._store.settle([(one.job, one.outcome) for one in settled])
        self._services.reached(Point.SETTLED)
        self._count([one for one, took in zip(settled, effective, strict=True) if took])
        # Whether or not it took effect, the row is not ours any more; but one that is locked is tried again.
        ended = {one.job.pod for one, took in zip(settled, effective, strict=True) if took is not None}
        if locked := len(settled) - len(ended):
            log.warning("jobs are locked by another session of the database", jobs=locked)
        left = {name: job for name, job in observed.reservations.items() if name not in ended}
        return replace(observed, reservations=left)

    def _count(self, effective: Sequence[p.Settle]) -> None:
        for one in effective:
            kind = type(one.outcome).__name__
            SETTLED.labels(self._queue.namespace, self._queue.name, kind).inc()
        done = sum(isinstance(one.outcome, Complete | Failed | Ignored) for one in effective)
        self._memory.note_settled(done, utc_now())
        self._memory.note_change()
        if any(isinstance(one.outcome, Complete) for one in effective):
            self._services.on_completed(self._factory.table_id)

    async def _take_back(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        names = [action.pod.name for action in _of(p.TakeBack, actions)]
        for pod in await self._get(names):
            if self._store is None or observed.reservations is None:
                return observed
            if pod is None or (has_ended(pod) and not pod.has_finalizer):
                continue  # settled by the leader before us, and the watch is late
            self._services.fence()  # nor by the one after us, since we looked
            job = await self._store.take_back(pod, version=self._factory.version)
            if job:
                self._services.reached(Point.TAKEN_BACK)
                observed = replace(observed, reservations={**observed.reservations, job.pod: job})
            else:
                observed = replace(observed, held_elsewhere=observed.held_elsewhere | {pod.name})
        return observed

    async def _reserve(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        for action in _of(p.Reserve, actions):
            if self._store is None or observed.reservations is None:
                return observed
            self._services.reached(Point.RESERVE)
            limit = min(action.limit, PORTION)
            new = await self._store.reserve(limit, queue=self._queue.name, version=self._factory.version)
            if new:
                self._services.reached(Point.RESERVED)
                self._memory.note_change()
            due = observed.due if len(new) == limit else 0
            held = {**observed.reservations, **{job.pod: job for job in new}}
            observed = replace(observed, reservations=held, due=due)
        return observed

    # --- pods -------------------------------------------------------------------------------------

    async def _prove(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        if not _of(p.ProveTemplate, actions):
            return observed
        try:
            await self._factory.prepare(self._services)
            proved = await self._services.api.prove(build_pod(self._factory.sample()))
        except (Refused, Unreachable) as error:
            if not is_refusal(error):
                raise
            return await self._rejected(observed, refusal(error, "TemplateRejected"))
        except ValueError as error:
            return await self._rejected(observed, CannotStart("TemplateRejected", str(error)))
        if proved and not (proved.is_labelled and proved.queue_uid == self._queue.uid):
            return await self._rejected(observed, CannotStart("TemplateRejected", _RELABELLED))
        self._memory.proved_template = self._memory.known_template
        # What was refused until now was the template: nothing of it was begun that could show that it works.
        return replace(observed, template_proved=True, backoff=Backoff())

    async def _rejected(self, observed: p.Observed, why: CannotStart) -> p.Observed:
        news = rejected(why.reason, f"spec.template: {why.message}")
        await self._services.events.publish(self._queue, news.kind, news.reason, news.message)
        backoff = observed.backoff.after_failure(utc_now(), news.reason, news.message)
        return replace(observed, backoff=backoff)

    async def _create(self, actions: Sequence[p.Action], observed: p.Observed) -> p.Observed:
        wanted = _of(p.CreatePod, actions)
        if not wanted:
            return observed
        await self._factory.prepare(self._services)
        refused, unknown = dict(observed.refused), list[ApiError]()
        for start in range(0, len(wanted), PORTION):
            portion = wanted[start : start + PORTION]
            pods = [build_pod(self._factory.request(action.job)) for action in portion]
            self._services.reached(Point.CREATE)
            results = await create_many(self._services.api, pods, self._note_created, self._services.fence)
            refused |= await self._take_in(results)
            unknown += [one.error for one in results if one.error and not is_refusal(one.error)]
        if unknown:  # no answer: the same pods are asked for again, after a pause, and that is told
            raise unknown[0]
        return replace(observed, refused=refused, gone=observed.gone - {action.job.pod for action in wanted})

    def _note_created(self) -> None:
        self._services.reached(Point.CREATED)

    async def _take_in(self, results: Sequence[CreateResult]) -> dict[str, CannotStart]:
        # A name that is ours alone and yet taken: by our own pod, which someone gave another owner.
        ours = [one for one in results if one.pod and (not one.error or self._queue.may_own(one.pod))]
        created = [one.pod for one in ours if one.pod]
        await self._recognize(created)
        CREATED.labels(self._queue.namespace, self._queue.name).inc(len(created))
        return {
            one.name: refusal(one.error)
            for one in results
            if one.error and one not in ours and is_refusal(one.error)
        }


def is_refusal(error: ApiError) -> bool:
    """Whether the API server said no, as against saying nothing: then the pod may exist.

    429 is a no as well: it turns requests away unread, and a queue that goes on asking makes that worse.
    """
    return error.status == 429 or not isinstance(error, Unreachable)


def refusal(error: ApiError, reason: str = "PodRefused") -> CannotStart:
    """Why the API server will not have a pod, with the remedy where it is not the template's fault."""
    if isinstance(error, Refused) and error.is_quota:
        message = f"{error.sentence}; raise the namespace's ResourceQuota or lower spec.parallelism"
        return CannotStart("QuotaExceeded", message)
    if error.status == 429:
        return CannotStart(
            "ApiOverloaded",
            f"{error.sentence}; the API server is overloaded; one pod is tried again after each pause",
        )
    if _EXCEEDS_LIMIT in error.sentence:
        message = (
            f"{error.sentence}; a limit that is not in spec.template comes from a LimitRange of the namespace"
        )
        return CannotStart(reason, message)
    return CannotStart(reason, error.sentence)


def _of(kind: Callable[..., A] | type[A], actions: Sequence[p.Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]  # type: ignore[arg-type]
