"""The plan of one pass: from what is observed to what is to be done. Pure, level-triggered, idempotent.

Nothing here remembers; applying the actions and observing again converges to an empty plan. Each policy is
a module: settlement, admission, deadlines, retention, refreshing, deletion.
"""

from __future__ import annotations

from datetime import datetime

from populate_operator.queue.plan.actions import (
    Action,
    CheckGone,
    CheckTarget,
    CreatePod,
    DeletePod,
    ProveTemplate,
    Question,
    ReadLog,
    Refresh,
    ReleasePod,
    ReleaseQueue,
    Reserve,
    Settle,
    TakeBack,
)
from populate_operator.queue.plan.admission import plan_admission
from populate_operator.queue.plan.deadlines import plan_deadlines
from populate_operator.queue.plan.deletion import may_wait_in_vain, plan_deletion
from populate_operator.queue.plan.handover import find_displaced
from populate_operator.queue.plan.observed import Observed, Reservation
from populate_operator.queue.plan.pausing import next_backoff
from populate_operator.queue.plan.refreshing import plan_refresh
from populate_operator.queue.plan.retention import plan_retention
from populate_operator.queue.plan.settlement import plan_settlement, plan_unreserved
from populate_operator.queue.plan.wake import next_wake
from populate_operator.queue.resource import PopulateQueueSpec

__all__ = [
    "Action",
    "CheckGone",
    "CheckTarget",
    "CreatePod",
    "DeletePod",
    "Observed",
    "ProveTemplate",
    "Question",
    "ReadLog",
    "Refresh",
    "ReleasePod",
    "ReleaseQueue",
    "Reservation",
    "Reserve",
    "Settle",
    "TakeBack",
    "may_wait_in_vain",
    "next_backoff",
    "next_wake",
    "plan",
]


def plan(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> list[Action]:
    """What is to be done now, in the order in which it is best done; [] where all is as it should be.

    Settling comes first, since what it frees is given out again; a refresh comes before reserving.
    """
    displaced = find_displaced(spec, observed, now)
    return [
        *plan_settlement(spec, observed, now, displaced),
        *plan_unreserved(spec, observed, now, displaced),
        *plan_deletion(observed, now),
        *plan_deadlines(spec, observed, now),
        *plan_refresh(spec, observed, now),
        *plan_admission(spec, observed, now, displaced),
        *plan_retention(spec, observed, now),
    ]
