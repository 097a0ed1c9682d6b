"""What the plan asks of the loop. Questions are answered into the next observation; the rest has effects.

Every action may be repeated, and may fail: the next pass observes what is and plans again.
"""

from __future__ import annotations

from dataclasses import dataclass

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import Outcome
from populate_operator.queue.plan.observed import Reservation

# --- questions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """Ask the database whether these jobs' keys are in the target: `Observed.in_target`."""

    jobs: tuple[Reservation, ...]


@dataclass(frozen=True, slots=True)
class CheckGone:
    """Ask the API server for these pods, one live GET each; those that answer 404 are `Observed.gone`."""

    pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read the tail of the pod's log: `Observed.logs`, "" where there is none."""

    pod: PodView
    container: str


# --- jobs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refresh:
    """Bring the queue up to date with the key source."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve at most `limit` due jobs, each with the name of its pod."""

    limit: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Write the outcome into the job's row, fenced by the pod's name and this queue as owner."""

    job: Reservation
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Reserve this job for its running pod again, unless its row is ignored or held by someone else.

    A row that carries this fence already counts as taken. Refusals go to `Observed.held_elsewhere`.
    Nothing is done for a pod that a live GET finds gone or settled: the watch is late then.
    """

    pod: PodView


# --- pods -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProveTemplate:
    """Dry-run a pod of the current template: `Observed.template_proved`, or a failure of the backoff."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the pod of this reservation. 409 means that it exists: adopt it.

    A refusal by the API server goes to `Observed.refused` and to the backoff.
    """

    job: Reservation


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete the pod; `force` without grace, which is for pods of a lost node alone.

    With `cannot_start` the queue backs off.
    """

    pod: PodView
    reason: str
    message: str
    force: bool = False
    cannot_start: bool = False


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Remove the finalizer: nothing is left to learn from the pod."""

    pod: PodView


@dataclass(frozen=True, slots=True)
class ReleaseQueue:
    """Remove the finalizer of the PopulateQueue itself: nothing of it is left to settle."""


Question = CheckTarget | CheckGone | ReadLog
Action = (
    Question
    | Refresh
    | Reserve
    | Settle
    | TakeBack
    | ProveTemplate
    | CreatePod
    | DeletePod
    | ReleasePod
    | ReleaseQueue
)
