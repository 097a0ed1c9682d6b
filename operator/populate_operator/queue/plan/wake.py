"""When to plan again if nothing happens until then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from populate_operator.queue.backoff import PROVEN_AFTER
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.plan.lifecycle import STUCK_AFTER
from populate_operator.queue.plan.observed import Observed
from populate_operator.queue.plan.refreshing import can_refresh, next_refresh
from populate_operator.queue.plan.retention import ended_at
from populate_operator.queue.resource import PopulateQueueSpec

LONGEST = timedelta(minutes=5)
_TICK = timedelta(seconds=0.1)  # past the limit, never at it


def next_wake(
    spec: PopulateQueueSpec, observed: Observed, now: datetime, next_due: float | None = None
) -> datetime:
    """The next time at which the plan may change by itself, at most 5 minutes away.

    `next_due`: seconds until the next pending job's scheduled_time, by the database clock.
    """
    times = [*_queue_times(spec, observed, now), *_pod_times(spec, observed)]
    if next_due is not None:
        times.append(now + timedelta(seconds=next_due))
    return min((time + _TICK for time in times if time + _TICK > now), default=now + LONGEST)


def _queue_times(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> Iterator[datetime]:
    yield now + LONGEST
    if can_refresh(observed):
        yield next_refresh(spec, observed, now)
    if observed.backoff.until:
        yield observed.backoff.until


def _pod_times(spec: PopulateQueueSpec, observed: Observed) -> Iterator[datetime]:
    for pod in observed.pods.values():
        if has_ended(pod):
            yield ended_at(pod) + timedelta(seconds=spec.pod_retention.ttl_seconds)
        elif pod.deleting_since is not None:
            yield pod.deleting_since + STUCK_AFTER
            if spec.lost_pod_timeout_seconds is not None:
                yield pod.deleting_since + timedelta(seconds=spec.lost_pod_timeout_seconds)
        elif pod.started_at is None:
            yield pod.may_start_since + timedelta(seconds=spec.start_deadline_seconds)
        elif observed.backoff.is_probing:
            yield pod.started_at + PROVEN_AFTER
