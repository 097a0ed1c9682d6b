"""From the facts of one pass to the status of the queue. Pure; equal facts give an equal status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.conditions import Health, build_conditions
from populate_operator.queue.one_line import one_line
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.progress import eta_text, rate_text
from populate_operator.queue.status import (
    MAX_RECENT_ERRORS,
    JobCounts,
    LastRefresh,
    PodCounts,
    QueueStatus,
    RecentError,
    TargetProgress,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a status is made of. None where it could not be read: then the previous value stays."""

    generation: int
    health: Health
    pods: tuple[PodView, ...] = ()
    jobs: JobCounts | None = None
    target: TargetProgress | None = None
    last_refresh: LastRefresh | None = None
    per_minute: float = 0.0
    recent_errors: tuple[RecentError, ...] | None = None
    selector: str = ""


def build_status(facts: Facts, previous: QueueStatus, now: datetime) -> QueueStatus:
    """The status to be reported; equal to `previous` where nothing changed, and then it is not written."""
    jobs = facts.jobs or previous.jobs
    pods = count_pods(facts.pods)
    left = jobs.pending + jobs.scheduled + jobs.reserved if jobs else 0
    return QueueStatus(
        observed_generation=facts.generation,
        jobs=jobs,
        target=facts.target or previous.target,
        pods=pods,
        last_refresh=facts.last_refresh or previous.last_refresh,
        rate=rate_text(facts.per_minute),
        eta=eta_text(left, facts.per_minute),
        recent_errors=_recent(facts.recent_errors, previous),
        selector=facts.selector or previous.selector,
        conditions=build_conditions(
            facts.health,
            jobs,
            pods,
            generation=facts.generation,
            previous=previous.conditions,
            now=now.replace(microsecond=0),
        ),
    )


def count_pods(pods: Iterable[PodView]) -> PodCounts:
    """Pods that have not ended, by whether they started."""
    active = [pod for pod in pods if not has_ended(pod)]
    running = sum(pod.started_at is not None for pod in active)
    return PodCounts(pending=len(active) - running, running=running, active=len(active))


def build_recent_error(key: str, message: str, pod: str, time: datetime) -> RecentError:
    """One of the status's recent errors: the message on one line of at most 200 characters."""
    return RecentError(key=key, message=one_line(message), pod=pod, time=time.replace(microsecond=0))


def _recent(errors: tuple[RecentError, ...] | None, previous: QueueStatus) -> tuple[RecentError, ...]:
    if errors is None:
        return previous.recent_errors
    return tuple(sorted(errors, key=lambda error: error.time, reverse=True)[:MAX_RECENT_ERRORS])
