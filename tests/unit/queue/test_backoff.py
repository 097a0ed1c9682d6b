"""The queue's pause: it doubles, is counted once per pause, and ends with a pod that works."""

from __future__ import annotations

from datetime import timedelta

import pytest

from populate_operator.jobs import Timeouts
from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.memory import Memory, retry_seconds
from populate_operator.queue.outcome import CannotStart, Complete, Disrupted
from populate_operator.queue.plan import Action, DeletePod, Observed, Settle, next_backoff
from tests.unit.queue.builders import (
    NOW,
    ago,
    failed_pod,
    job_of,
    make_pod,
    observe,
    pending_pod,
    succeeded_pod,
)

FAILED = Backoff().after_failure(ago(60), "ImagePullBackOff", "no such image")


def test_pauses_double_up_to_five_minutes() -> None:
    backoff, now, pauses = Backoff(), NOW, []
    for _ in range(7):
        backoff = backoff.after_failure(now, "X", "x")
        assert backoff.until is not None
        pauses.append((backoff.until - now).total_seconds())
        now = backoff.until
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


def test_what_fails_during_a_pause_does_not_lengthen_it() -> None:
    first = Backoff().after_failure(NOW, "ImagePullBackOff", "a")
    assert first.after_failure(NOW + timedelta(seconds=9), "ImagePullBackOff", "b") == first


@pytest.mark.parametrize(
    ("pod", "ends"),
    [
        (succeeded_pod(created_at=ago(40)), True),
        (failed_pod(created_at=ago(40)), True),
        (make_pod(created_at=ago(50), started_at=ago(45)), True),
        (make_pod(created_at=ago(40), started_at=ago(5)), False),  # it may yet fail to import its class
        (make_pod(created_at=ago(70), started_at=ago(65)), False),  # older than the failure: proves nothing
        (failed_pod(created_at=ago(40), exit_code=128, reason="StartError"), False),
        (make_pod(created_at=ago(40), phase="Pending", started_at=None), False),
    ],
)
def test_a_pod_created_since_that_works_ends_it(pod: PodView, ends: bool) -> None:
    assert FAILED.after_observing([pod], NOW) == (Backoff() if ends else FAILED)


def test_a_pass_counts_its_pods_that_cannot_start_once() -> None:
    pods = [make_pod(name) for name in "ab"]
    actions: list[Action] = [
        DeletePod(pods[0], "InvalidImageName", "bad", cannot_start=True),
        Settle(job_of(pods[1]), CannotStart("StartError", "no such file")),
    ]
    after = next_backoff(observe(), actions, NOW)
    assert (after.failures, after.reason) == (1, "InvalidImageName")


def test_other_actions_leave_it_alone() -> None:
    pod = make_pod()
    actions: list[Action] = [DeletePod(pod, "Retention", ""), Settle(job_of(pod), Disrupted("Evicted", ""))]
    assert next_backoff(Observed(backoff=FAILED), actions, NOW) == FAILED


@pytest.mark.parametrize(
    ("pod", "ends"),
    [
        (succeeded_pod(created_at=ago(70), deleting_since=ago(1)), True),
        (succeeded_pod(created_at=ago(70)), False),  # perhaps of an older template
        (pending_pod(created_at=ago(70), deleting_since=ago(1)), False),  # someone else made its row
        (failed_pod(exit_code=128, reason="StartError", created_at=ago(70), deleting_since=ago(1)), False),
    ],
)
def test_a_pod_that_was_given_up_on_and_made_its_row_ends_it(pod: PodView, ends: bool) -> None:
    """It may have had the last job: nothing else would ever show that pods work."""
    settled: list[Action] = [Settle(job_of(pod), Complete(None))]
    assert next_backoff(observe(pod, backoff=FAILED), settled, NOW) == (Backoff() if ends else FAILED)


def test_a_changed_spec_ends_the_pause_and_the_next_failure_makes_a_longer_one() -> None:
    paused = Backoff().after_failure(NOW, "QuotaExceeded", "exceeded quota")
    memory = Memory(known_template="template", known_generation=1, backoff=paused)
    memory.note_spec("template", 1)
    assert memory.backoff == paused
    memory.note_spec("template", 2)
    assert memory.backoff.is_probing
    assert not memory.backoff.is_pausing(NOW)
    assert memory.backoff.after_failure(NOW, "QuotaExceeded", "x").until == NOW + timedelta(seconds=20)
    memory.note_spec("another", 3)
    assert memory.backoff == Backoff()


def test_tries_again_within_seconds_however_long_it_failed() -> None:
    pauses = {failures: [retry_seconds(failures) for _ in range(200)] for failures in (1, 2, 3, 9, 9999)}
    assert all(0.25 <= pause <= 0.5 for pause in pauses[1])
    assert max(pauses[1]) < max(pauses[2]) < max(pauses[3])
    assert len(set(pauses[9999])) > 100
    # Of a try without an answer the last SYN leaves after 3 s; the next try begins this much later.
    assert max(pauses[9999]) + Timeouts().connect - 3 < 5
