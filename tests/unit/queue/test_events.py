"""Events: one for each reason in a pass, with a count and one example; nothing about what is no news."""

from __future__ import annotations

import pytest

from populate_operator.queue.events import EventText, action_events, refreshed
from populate_operator.queue.outcome import (
    CannotStart,
    Complete,
    Disrupted,
    Failed,
    Ignored,
    Outcome,
    RetryLater,
)
from populate_operator.queue.plan import Action, DeletePod, Reserve, Settle, TakeBack
from populate_operator.queue.status import LastRefresh
from tests.unit.queue.builders import NOW, make_job, make_pod


@pytest.mark.parametrize(
    ("outcome", "reason", "message"),
    [
        (Complete(1.0), None, ""),
        (Complete(1.0, "the row was made before"), "CompletedByFailedPod", "the row was made before"),
        (Failed("ValueError: bad\nmore", "stack"), "JobFailed", "ValueError: bad more"),
        (RetryLater(20, "ValueError", ""), "JobRetried", "again in 20 s: ValueError"),
        (Disrupted("PodLost", "gone"), "PodLost", "PodLost: gone"),
        (Disrupted("Evicted", "low memory"), "PodDisrupted", "Evicted: low memory"),
        (Disrupted("NotStarted", "never created"), None, ""),
        (CannotStart("StartError", "no such file"), "PodCannotStart", "StartError: no such file"),
        (Ignored("exit 3"), "JobIgnored", "exit 3"),
    ],
)
def test_each_outcome_has_its_event_or_none(outcome: Outcome, reason: str | None, message: str) -> None:
    events = list(action_events([Settle(make_job("a"), outcome)]))
    if reason is None:
        assert events == []
    else:
        (event,) = events
        assert (event.reason, event.message) == (reason, f'{{"id": "a"}} in pod a: {message}')


def test_many_jobs_with_the_same_fate_are_one_event() -> None:
    actions = [Settle(make_job(name), Failed("boom", "")) for name in "abc"]
    assert list(action_events(actions)) == [
        EventText("Warning", "JobFailed", '{"id": "a"} in pod a: boom (and 2 more)', 3)
    ]


def test_a_long_message_is_cut() -> None:
    (event,) = action_events([Settle(make_job("a"), Failed("x" * 5000, ""))])
    assert len(event.message) == 200


def test_pods_that_are_deleted_for_a_reason_are_told_of() -> None:
    pod = make_pod("a")
    actions: list[Action] = [
        DeletePod(pod, "ImagePullBackOff", "no such image", cannot_start=True),
        DeletePod(pod, "JobHeldElsewhere", "its job is ignored"),
        DeletePod(pod, "Retention", "newer ones are kept"),
        TakeBack(pod),
        Reserve(3),
    ]
    assert [event.reason for event in action_events(actions)] == [
        "PodCannotStart",
        "PodDeleted",
        "ReservationLost",
    ]


def test_a_refresh_is_news_only_where_it_changed_something() -> None:
    nothing = LastRefresh(time=NOW, seconds=0.25, added=0, removed=0, orphaned=0, re_pended=0)
    assert refreshed(nothing) is None
    some = LastRefresh(time=NOW, seconds=0.25, added=12, removed=0, orphaned=0, re_pended=3)
    assert refreshed(some) == EventText("Normal", "Refreshed", "12 added, 3 pending again in 0.2 s")
