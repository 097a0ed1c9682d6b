"""The conditions of a PopulateQueue, each from the facts of one pass. Messages say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.one_line import one_line
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.plan.lifecycle import is_stuck
from populate_operator.queue.status import Condition, ConditionStatus, ConditionType, JobCounts, PodCounts


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps the queue from working: a CamelCase reason and a sentence with the remedy."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Health:
    """What the conditions speak of.

    `database` is the trouble of reaching it, None when it was reached; `is_database_known` is False before
    the first try. `setup` is any other trouble: no such table, a bad key source, an unreadable spec.
    `stuck_pods` are terminating on nodes that do not answer, each with its node; `unscheduled` says for how
    many pods the scheduler finds no node, and why. `is_refreshed` is False until the first
    refresh has ended; `has_new_jobs`: a refresh has added some since the jobs were counted.
    """

    is_database_known: bool = True
    is_refreshed: bool = True
    has_new_jobs: bool = False
    database: Trouble | None = None
    setup: Trouble | None = None
    backoff: Backoff = field(default_factory=Backoff)
    is_template_proved: bool = True
    stuck_pods: tuple[str, ...] = ()
    unscheduled: str = ""
    is_suspended: bool = False
    is_deleting: bool = False


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def name_stuck(pods: Iterable[PodView], now: datetime) -> tuple[str, ...]:
    """Each pod whose end nobody reports, with the node to look at."""
    return tuple(f"{pod.name} on node {pod.node}" for pod in pods if is_stuck(pod, now))


def say_unscheduled(pods: Iterable[PodView]) -> str:
    """The scheduler's words about the pods that it finds no node for, long before they are given up on."""
    waiting = [pod.waiting for pod in pods if not has_ended(pod) and pod.waiting]
    words = [one.message for one in waiting if one.reason == "Unschedulable"]
    if not words:
        return ""
    why = words[0].partition(". ")[0]  # what follows is about preemption
    return one_line(f"{len(words)} pod(s) cannot be scheduled yet: {why}")


def build_conditions(
    health: Health,
    jobs: JobCounts | None,
    pods: PodCounts,
    *,
    generation: int,
    previous: Iterable[Condition],
    now: datetime,
) -> tuple[Condition, ...]:
    """All five conditions; lastTransitionTime changes only where the status does."""
    before = {condition.type: condition for condition in previous}
    findings = (
        _ready(health, jobs, pods),
        _database_reachable(health),
        _progressing(health, jobs, pods),
        _degraded(health),
        _suspended(health),
    )
    return tuple(_dated(finding, before.get(finding.kind), generation, now) for finding in findings)


def _dated(finding: _Finding, before: Condition | None, generation: int, now: datetime) -> Condition:
    since = before.last_transition_time if before and before.status == finding.status else now
    return Condition(
        type=finding.kind,
        status=finding.status,
        reason=finding.reason,
        message=finding.message,
        observed_generation=generation,
        last_transition_time=since,
    )


def _ready(health: Health, jobs: JobCounts | None, pods: PodCounts) -> _Finding:
    trouble = health.database or health.setup
    if trouble:
        return _Finding("Ready", "False", trouble.reason, trouble.message)
    if not health.is_database_known or jobs is None:
        return _Finding("Ready", "Unknown", "Starting", "the table and its queue are not read yet")
    if health.backoff.is_probing:
        return _Finding("Ready", "False", health.backoff.reason, health.backoff.message)
    if not health.is_template_proved:
        return _Finding("Ready", "Unknown", "Starting", "spec.template is not proved yet")
    if health.is_suspended:
        return _Finding("Ready", "True", "Suspended", "suspended: set spec.suspend to false to go on")
    if pods.active or jobs.pending or jobs.reserved or health.has_new_jobs:
        return _Finding("Ready", "True", "Populating", health.unscheduled or "populating")
    if jobs.scheduled:
        return _Finding("Ready", "True", "Waiting", "waiting for jobs that are due later")
    if not health.is_refreshed:
        return _Finding("Ready", "Unknown", "Starting", "the first refresh has not ended yet")
    return _Finding("Ready", "True", "UpToDate", "up to date")


def _database_reachable(health: Health) -> _Finding:
    if health.database:
        return _Finding("DatabaseReachable", "False", health.database.reason, health.database.message)
    if not health.is_database_known:
        return _Finding("DatabaseReachable", "Unknown", "Starting", "not tried yet")
    return _Finding("DatabaseReachable", "True", "Connected", "connected")


def _progressing(health: Health, jobs: JobCounts | None, pods: PodCounts) -> _Finding:
    if health.is_deleting:
        return _Finding("Progressing", "True", "Deleting", "its pods are deleted and settled")
    if health.unscheduled:
        return _Finding("Progressing", "True", "Unschedulable", health.unscheduled)
    if pods.active:
        return _Finding("Progressing", "True", "PodsActive", "pods are at work")
    if health.database or health.setup or health.backoff.is_probing:
        return _Finding("Progressing", "False", "Blocked", "see Ready")
    if health.is_suspended:
        return _Finding("Progressing", "False", "Suspended", "spec.suspend is true")
    if (jobs and jobs.pending) or health.has_new_jobs:
        return _Finding("Progressing", "True", "JobsDue", "jobs are due")
    return _Finding("Progressing", "False", "NothingDue", "no job is due")


def _degraded(health: Health) -> _Finding:
    if health.stuck_pods:
        names = ", ".join(health.stuck_pods[:3]) + (", ..." if len(health.stuck_pods) > 3 else "")
        message = (
            f"{len(health.stuck_pods)} pod(s) terminate on nodes that do not answer and may still run: "
            f"{names}. Bring the node back, delete its Node object, or set spec.lostPodTimeoutSeconds"
        )
        return _Finding("Degraded", "True", "PodsStuck", message)
    if health.backoff.is_probing:
        return _Finding("Degraded", "True", health.backoff.reason, health.backoff.message)
    return _Finding("Degraded", "False", "AsExpected", "")


def _suspended(health: Health) -> _Finding:
    if health.is_suspended:
        return _Finding("Suspended", "True", "SuspendRequested", "spec.suspend is true")
    return _Finding("Suspended", "False", "NotSuspended", "")
