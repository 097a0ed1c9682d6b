"""A world in memory for the plan's invariants: a jobs table, an API server with a node, and an operator.

It models what the rules depend on and no more: fenced writes, finalizers, termination, a lagging watch, and
an operator that may die between any two actions. That the real parts behave so is for the other tiers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from populate_operator.jobs import Fence, Release
from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.outcome import CannotStart, Complete, Failed, Ignored, Outcome, has_ended
from populate_operator.queue.plan import (
    Action,
    CheckGone,
    CheckTarget,
    CreatePod,
    DeletePod,
    Observed,
    ProveTemplate,
    Question,
    ReadLog,
    Refresh,
    ReleasePod,
    ReleaseQueue,
    Reservation,
    Reserve,
    Settle,
    TakeBack,
    next_backoff,
    plan,
)
from populate_operator.queue.plan.lifecycle import is_lost
from populate_operator.queue.resource import PopulateQueueSpec
from populate_operator.queue.store import build_settlement
from tests.unit.jobs.builders import build_target
from tests.unit.queue.builders import NOW, make_pod

MAX_PASSES = 60
KEY = build_target().keys.key({"subject": 1, "method": "otsu"})  # any: what becomes of a row ignores it


class OperatorDiedError(Exception):
    """The operator stops here; what it applied so far stays applied."""


@dataclass
class Row:
    """A row of the jobs table."""

    status: str = "pending"
    host: str = ""
    attempts: int = 0
    due: datetime = NOW
    reserved: datetime = NOW


@dataclass
class World:
    """The truth. Every change of a pod goes through `update`, which is what the watch will report."""

    now: datetime = NOW
    key_source: set[str] = field(default_factory=set)
    target: set[str] = field(default_factory=set)
    rows: dict[str, Row] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    lost_nodes: set[str] = field(default_factory=set)
    is_template_good: bool = True
    quota: int = 1000
    given_up: set[str] = field(default_factory=set)  # lost pods whose job was given to another

    def update(self, name: str, change: Callable[[PodView], PodView]) -> None:
        """Change a pod; one that terminates, has ended and has no finalizer is no more."""
        pod = change(self.pods[name])
        self.pods[name] = pod
        is_done = pod.is_finished or not pod.node
        if pod.deleting_since and is_done and not pod.has_finalizer:
            del self.pods[name]

    def live(self) -> list[PodView]:
        """Pods of which a container runs or may yet run."""
        return [
            pod
            for pod in self.pods.values()
            if not pod.is_finished and not (pod.deleting_since and not pod.node)
        ]

    def delete(self, name: str, *, force: bool = False) -> None:
        """As the API server does: at once, or when the kubelet is done and the finalizer gone."""
        if name not in self.pods:
            return
        if force and not self.pods[name].has_finalizer:
            del self.pods[name]
        elif self.pods[name].deleting_since is None:
            self.update(name, lambda pod: replace(pod, deleting_since=self.now))

    def reserved_by(self, host: str) -> str | None:
        """The key of the row that carries this fence."""
        held = (key for key, row in self.rows.items() if row.status == "reserved" and row.host == host)
        return next(held, None)


@dataclass
class Operator:
    """The loop around the plan, as small as it can be; `budget` actions from now it dies."""

    world: World
    spec: PopulateQueueSpec
    is_deleting: bool = False
    cache: dict[str, PodView] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    last_refresh: datetime | None = None
    backoff: Backoff = field(default_factory=Backoff)
    is_proved: bool = False
    is_released: bool = False
    budget: int | None = None
    created: int = 0

    def restart(self) -> None:
        """A new process: all caches empty, the watch begins with a complete list."""
        self.cache, self.seen, self.backoff, self.is_proved = {}, set(), Backoff(), False
        self.watch()

    def watch(self) -> None:
        """The watch catches up."""
        self.seen |= self.cache.keys() - self.world.pods.keys()
        self.cache = dict(self.world.pods)

    def wake(self) -> int:
        """Plan and apply until there is nothing to do; the number of passes that did something."""
        observed = self._observe()
        for passes in range(MAX_PASSES):
            actions = plan(self.spec, observed, self.world.now)
            if not actions:
                return passes
            for action in actions:
                self._spend()
                observed = self._apply(action, observed)
            self.backoff = next_backoff(replace(observed, backoff=self.backoff), actions, self.world.now)
            observed = replace(
                observed,
                pods=dict(self.cache),
                backoff=self.backoff,
                template_proved=self.is_proved,
                due=len(self._due()),
                last_refresh=self.last_refresh,
            )
            if self.is_released:
                return passes
        raise AssertionError(f"the plan does not converge: {plan(self.spec, observed, self.world.now)}")

    def _spend(self) -> None:
        if self.budget is not None:
            self.budget -= 1
            if self.budget < 0:
                raise OperatorDiedError

    def _observe(self) -> Observed:
        jobs = {
            row.host: self._job(key, row) for key, row in self.world.rows.items() if row.status == "reserved"
        }
        return Observed(
            pods=dict(self.cache),
            reservations={host: job for host, job in jobs.items() if host.startswith("ours-")},
            seen=frozenset(self.seen),
            due=len(self._due()),
            last_refresh=self.last_refresh,
            template_proved=self.is_proved,
            backoff=self.backoff,
            is_deleting=self.is_deleting,
        )

    def _job(self, key: str, row: Row) -> Reservation:
        return Reservation(key, row.host, row.attempts, (self.world.now - row.reserved).total_seconds())

    def _due(self) -> list[str]:
        rows = self.world.rows.items()
        return [key for key, row in rows if row.status == "pending" and row.due <= self.world.now]

    def _apply(self, action: Action, seen: Observed) -> Observed:
        match action:
            case CheckTarget() | CheckGone() | ReadLog():
                return self._answer(action, seen)
            case Refresh() | Reserve() | Settle():
                return replace(seen, reservations=self._change_jobs(action, dict(seen.reservations or {})))
            case TakeBack(pod):
                return self._take_back(pod, seen)
            case CreatePod(job):
                return self._create(job, seen)
            case DeletePod(pod):
                if action.reason == "JobHeldElsewhere":
                    row = self.world.rows[pod.key]
                    assert row.status == "ignore" or row.host not in ("", pod.name), "killed a pod at work"
                self.world.delete(pod.name, force=action.force)
                self._sync(pod.name)
            case ReleasePod(pod):
                self._release(pod.name)
            case ProveTemplate():
                self._prove()
            case ReleaseQueue():
                self.is_released = True
        return seen

    def _answer(self, question: Question, seen: Observed) -> Observed:
        pods, target = self.world.pods, self.world.target
        match question:
            case CheckTarget(jobs):
                return replace(seen, in_target={**seen.in_target, **{j.pod: j.key in target for j in jobs}})
            case CheckGone(names):
                self.cache |= {name: pods[name] for name in names if name in pods}
                return replace(seen, gone=seen.gone.union(name for name in names if name not in pods))
            case ReadLog(pod):
                return replace(seen, logs={**seen.logs, pod.name: ""})

    def _change_jobs(
        self, action: Refresh | Reserve | Settle, jobs: dict[str, Reservation]
    ) -> dict[str, Reservation]:
        match action:
            case Refresh():
                self._refresh()
            case Reserve(limit):
                jobs |= self._reserve(limit)
            case Settle(job, outcome):
                self._settle(job, outcome)
                jobs.pop(job.pod, None)
        return jobs

    def _prove(self) -> None:
        self.is_proved = self.world.is_template_good
        if not self.is_proved:
            self.backoff = self.backoff.after_failure(self.world.now, "TemplateRejected", "no")

    def _sync(self, name: str) -> None:
        if name in self.world.pods:
            self.cache[name] = self.world.pods[name]
        elif self.cache.pop(name, None):
            self.seen.add(name)

    def _refresh(self) -> None:
        world = self.world
        for key in world.key_source - world.target - world.rows.keys():
            world.rows[key] = Row(due=world.now)
        self.last_refresh = world.now

    def _reserve(self, limit: int) -> dict[str, Reservation]:
        found = {}
        for key in self._due()[:limit]:
            self.created += 1
            row = self.world.rows[key]
            row.status, row.host, row.reserved = "reserved", f"ours-{self.created}", self.world.now
            row.attempts += 1
            found[row.host] = self._job(key, row)
        living = [pod for pod in self.world.live() if not is_lost(pod, self.spec, self.world.now)]
        live = {pod.name for pod in living} - self.world.given_up
        busy = {self.world.pods[name].key for name in live}  # whoever has such a key waits for that pod's end
        fresh = {
            row.host
            for key, row in self.world.rows.items()
            if row.status == "reserved" and row.host not in self.world.pods and row.host not in self.seen
            if key not in busy
            if row.host.startswith("ours-") and self.world.now - row.reserved <= timedelta(seconds=60)
        }
        assert len(live | fresh) <= self.spec.parallelism, "more reservations than parallelism"
        return found

    def _settle(self, job: Reservation, outcome: Outcome) -> None:
        world = self.world
        row = world.rows.get(job.key)
        if row is None or (row.status, row.host) != ("reserved", job.pod):
            return  # the fence: somebody else's row by now
        if any(pod.name == job.pod for pod in world.live()):
            assert self.spec.lost_pod_timeout_seconds is not None, "settled the job of a pod that may run"
            world.given_up.add(job.pod)
        match outcome:
            case Complete():
                assert job.key in world.target
                del world.rows[job.key]
            case Failed():
                row.status = "error"
            case Ignored():
                row.status = "ignore"
            case _:
                released = build_settlement(KEY, Fence("", job.pod), job, outcome)
                assert isinstance(released, Release)
                row.status, row.host, row.due = "pending", "", world.now + timedelta(seconds=released.delay)
                row.attempts = job.attempt if released.counted else job.attempt - 1

    def _take_back(self, pod: PodView, seen: Observed) -> Observed:
        live = self.world.pods.get(pod.name)
        if live is None or (has_ended(live) and not live.has_finalizer):
            return seen
        row = self.world.rows.setdefault(pod.key, Row())
        if row.status == "ignore" or (row.status == "reserved" and row.host != pod.name):
            return replace(seen, held_elsewhere=seen.held_elsewhere | {pod.name})
        row.status, row.host, row.reserved, row.attempts = "reserved", pod.name, self.world.now, pod.attempt
        return replace(seen, reservations={**(seen.reservations or {}), pod.name: self._job(pod.key, row)})

    def _create(self, job: Reservation, seen: Observed) -> Observed:
        world = self.world
        assert world.reserved_by(job.pod) == job.key, "a pod without a reservation"
        if job.pod not in world.pods:
            others = [pod for pod in world.live() if pod.name not in world.given_up]
            assert len(others) < self.spec.parallelism, "more pods than parallelism"
            assert not self.spec.suspend
            assert not self.is_deleting
            if len(world.pods) >= world.quota or not world.is_template_good:
                refusal = CannotStart("PodRefused", "exceeded quota")
                return replace(seen, refused={**seen.refused, job.pod: refusal})
            world.pods[job.pod] = make_pod(
                job.pod, key=job.key, attempt=job.attempt, phase="Pending", node="", scheduled=False,
                created_at=world.now, started_at=None,
            )  # fmt: skip
        self.cache[job.pod] = world.pods[job.pod]
        return replace(seen, gone=seen.gone - {job.pod})

    def _release(self, name: str) -> None:
        if not self.is_deleting:
            assert self.world.reserved_by(name) is None, "released a pod whose job is not settled"
        if name in self.world.pods:
            self.world.update(name, lambda pod: replace(pod, has_finalizer=False))
        self._sync(name)
