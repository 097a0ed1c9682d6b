"""The end of a queue: its pods are deleted and settled, and it never waits for what may never come.

Where the database is unreachable, or a node lost, the rows stay reserved; the operator re-pends the rows of
queues that no longer exist once it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.plan.actions import Action, DeletePod, ReleasePod, ReleaseQueue
from populate_operator.queue.plan.lifecycle import is_stuck
from populate_operator.queue.plan.observed import Observed


def plan_deletion(observed: Observed, now: datetime) -> Iterator[Action]:
    """Delete the pods that live, let go of those from which nothing will be learned, then of the queue."""
    if not (observed.is_deleting or observed.is_namespace_going):
        return
    for pod in observed.pods.values():
        if not has_ended(pod) and pod.deleting_since is None:
            yield DeletePod(pod, "QueueDeleted", "its PopulateQueue is deleted")
        elif pod.has_finalizer and _is_beyond_settling(pod, observed, now):
            yield ReleasePod(pod)
    if observed.is_deleting and not _is_held_up(observed, now):
        yield ReleaseQueue()


def may_wait_in_vain(observed: Observed) -> bool:
    """Whether pods that someone deletes are held for a database that may not come back.

    Their namespace may be on its way out, and the queue is then not deleted before they are gone.
    """
    deleted = any(pod.has_finalizer and pod.deleting_since for pod in observed.pods.values())
    return deleted and observed.reservations is None and not observed.is_deleting


def _is_beyond_settling(pod: PodView, observed: Observed, now: datetime) -> bool:
    return is_stuck(pod, now) or (observed.reservations is None and has_ended(pod))


def _is_held_up(observed: Observed, now: datetime) -> bool:
    if any(pod.has_finalizer or not _is_terminal(pod, now) for pod in observed.pods.values()):
        return True
    pods_of_jobs = (observed.pod_of(job) for job in observed.jobs)
    return any(pod is None or not is_stuck(pod, now) for pod in pods_of_jobs)


def _is_terminal(pod: PodView, now: datetime) -> bool:
    return has_ended(pod) or is_stuck(pod, now)
