"""The moments of a job's life between which nothing may be lost, by name.

Whoever starts the operator may be told of each as it is reached; by default nobody is. Tests of crashes end
the process there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Point(Enum):
    """One moment; each value says what is true then, and what a crash leaves behind."""

    QUEUE_HELD = "a new queue has our finalizer"
    REFRESHED = "the jobs table was brought up to date, the queue's status does not say so yet"
    RESERVE = "jobs are about to be reserved"
    RESERVED = "jobs are reserved, their pods do not exist"
    CREATE = "pods are about to be created for reserved jobs"
    CREATED = "one more pod exists, others of its batch may not"
    SETTLE = "pods have ended, their jobs are still reserved"
    SETTLED = "outcomes are committed, the pods still have our finalizer"
    RELEASE = "pods whose jobs are settled are about to lose our finalizer"
    RELEASED = "pods have lost our finalizer, those beyond retention still exist"
    DELETED = "pods beyond retention were deleted"
    GONE = "a pod was proved to be gone, its job is still reserved"
    TAKEN_BACK = "a live pod has its job again, which had lost its reservation"
    QUEUE_RELEASE = "a deleted queue has no pods and no reservations, but our finalizer"
    QUEUE_RELEASED = "a deleted queue is gone"


Reached = Callable[[Point], None]


def nobody(_point: Point) -> None:
    """Tell nobody."""
