"""The texts of events about a queue: one per reason and pass, however many jobs it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

from populate_operator.queue.one_line import one_line
from populate_operator.queue.outcome import (
    CannotStart,
    Complete,
    Disrupted,
    Failed,
    Ignored,
    Outcome,
    RetryLater,
)
from populate_operator.queue.plan.actions import Action, DeletePod, Settle, TakeBack
from populate_operator.queue.status import LastRefresh

Kind = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class EventText:
    """An event to be published; `times` is how many jobs it is about."""

    kind: Kind
    reason: str
    message: str
    times: int = 1


def refreshed(result: LastRefresh) -> EventText | None:
    """What a refresh did; None where it changed nothing, which is no news."""
    parts = (
        (result.added, "added"),
        (result.removed, "removed"),
        (result.orphaned, "orphaned"),
        (result.re_pended, "pending again"),
    )
    changes = [f"{count} {what}" for count, what in parts if count]
    if not changes:
        return None
    return EventText("Normal", "Refreshed", f"{', '.join(changes)} in {result.seconds:.1f} s")


def database_unreachable(message: str) -> EventText:
    """The database cannot be reached."""
    return EventText("Warning", "DatabaseUnreachable", message)


def blocked(reason: str, message: str) -> EventText:
    """Something that the queue needs is missing or wrong."""
    return EventText("Warning", reason, message)


def rejected(reason: str, message: str) -> EventText:
    """The API server refuses a pod of the template."""
    return EventText("Warning", reason, message)


def action_events(actions: Iterable[Action]) -> Iterator[EventText]:
    """One event per reason over the actions that were applied in one pass, with one job as the example."""
    groups: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    for action in actions:
        if news := _news(action):
            groups[news.kind, news.reason].append(news.message)
    for (kind, reason), messages in groups.items():
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        yield EventText(kind, reason, one_line(messages[0]) + more, len(messages))


def _news(action: Action) -> EventText | None:
    match action:
        case Settle(job, outcome):
            kind, reason, message = _classify(outcome)
            return EventText(kind, reason, f"{job.key} in pod {job.pod}: {message}") if reason else None
        case DeletePod(pod, reason, message, cannot_start=True):
            return EventText("Warning", "PodCannotStart", f"{pod.name}: {reason}: {message}")
        case DeletePod(pod, reason="JobHeldElsewhere" | "PodLost", message=message):
            return EventText("Warning", "PodDeleted", f"{pod.name}: {message}")
        case TakeBack(pod):
            return EventText("Warning", "ReservationLost", f"{pod.key}: running pod {pod.name} takes it back")
        case _:
            return None


def _classify(outcome: Outcome) -> tuple[Kind, str, str]:
    match outcome:
        case Complete(note=note):
            return "Warning", "CompletedByFailedPod" if note else "", note
        case Failed(message=message):
            return "Warning", "JobFailed", message
        case RetryLater(message=message, delay=delay):
            return "Warning", "JobRetried", f"again in {delay:.0f} s: {message}"
        case Disrupted(reason="NotStarted"):
            return "Normal", "", ""
        case Disrupted(reason=reason, message=message):
            return "Warning", "PodLost" if reason == "PodLost" else "PodDisrupted", f"{reason}: {message}"
        case CannotStart(reason=reason, message=message):
            return "Warning", "PodCannotStart", f"{reason}: {message}"
        case Ignored(message=message):
            return "Normal", "JobIgnored", message
    assert_never(outcome)
