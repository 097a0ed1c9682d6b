"""The queue's backoff after a pass: what the plan found, and which pods are seen to work."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.outcome import CannotStart, Complete, reason_beyond_the_job
from populate_operator.queue.plan.actions import Action, DeletePod, Settle
from populate_operator.queue.plan.observed import Observed


def next_backoff(observed: Observed, actions: Iterable[Action], now: datetime) -> Backoff:
    """The backoff once `actions` are applied.

    A refusal of the template's dry run is not among them: the loop adds it by `Backoff.after_failure`.
    """
    backoff = observed.backoff.after_observing(observed.pods.values(), now)
    for action in actions:
        match action:
            case Settle(outcome=CannotStart(reason, message)):
                backoff = backoff.after_failure(now, reason, message)
            case DeletePod(cannot_start=True, reason=reason, message=message):
                backoff = backoff.after_failure(now, reason, message)
            case Settle(job=job, outcome=Complete()) if _worked_after_all(observed.pod_of(job)):
                backoff = Backoff()
            case _:
                pass
    return backoff


def _worked_after_all(pod: PodView | None) -> bool:
    """Whether a pod that was given up on did its work: there may be no other job to show that pods do."""
    return (
        pod is not None
        and pod.deleting_since is not None
        and pod.started_at is not None
        and reason_beyond_the_job(pod) is None
    )
