"""The queue's backoff after a pass: what the plan found, and which pods are seen to work."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from populate_operator.queue.backoff import Backoff
from populate_operator.queue.outcome import CannotStart
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
            case _:
                pass
    return backoff
