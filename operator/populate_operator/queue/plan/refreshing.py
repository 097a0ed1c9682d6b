"""When the queue is brought up to date with its key source."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from populate_operator.queue.plan.actions import Action, Refresh
from populate_operator.queue.plan.observed import Observed
from populate_operator.queue.resource import PopulateQueueSpec


def plan_refresh(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> Iterator[Action]:
    """Refresh when the interval has passed or someone asked for it; a suspended queue counts on."""
    if can_refresh(observed) and now >= next_refresh(spec, observed, now):
        yield Refresh()


def can_refresh(observed: Observed) -> bool:
    """Whether there is a database and a key source, and a queue that will be there to use them."""
    return not observed.is_deleting and observed.reservations is not None and observed.key_source_known


def next_refresh(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> datetime:
    """When the next refresh is due."""
    due = now
    if observed.last_refresh is not None and not observed.refresh_requested:
        due = observed.last_refresh + timedelta(seconds=spec.refresh.interval_seconds)
    return max(due, observed.refresh_not_before or due)
