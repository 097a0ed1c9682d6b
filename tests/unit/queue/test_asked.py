"""What is known of a key source that the class tells.

Cases: nothing told; told; a new image or class, which keeps the last answer for figures alone; news between
two passes; failures, their pauses and what waiting pods say; suspended queues; pods waited for in vain.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from populate_operator.pods.view import PodView, Waiting
from populate_operator.queue import plan as p
from populate_operator.queue.asked import KeySourceAnswer, why_in_vain
from tests.unit.queue.builders import NOW, ago, make_pod, make_spec, observe, pending_pod

CLASS = {"keySource": {"fromClass": True}, "runner": {"class": "ephys:SpikeSorting"}}
SPEC = make_spec(**CLASS)
UNSCHEDULABLE = Waiting("", "Unschedulable", "0/3 nodes are available")


def told(fingerprint: str = "old", query: str = "SELECT 1") -> KeySourceAnswer:
    """The class has told, and a pass has taken it up."""
    answer = KeySourceAnswer()
    answer.begin(fingerprint, may_start=True)
    answer.succeed(fingerprint, query)
    answer.take()
    return answer


def asks(
    answer: KeySourceAnswer, fingerprint: str = "old", after: float = 0.0, *, suspended: bool = False
) -> bool:
    return answer.is_due(fingerprint, NOW + timedelta(seconds=after), may_start=not suspended)


def knows(answer: KeySourceAnswer, fingerprint: str) -> tuple[bool, bool]:
    """Whether to refresh and reserve, and whether to count."""
    return answer.is_known(SPEC, fingerprint), answer.is_told(SPEC)


def test_without_an_answer_nothing_is_counted() -> None:
    assert knows(KeySourceAnswer(), "old") == (False, False)
    assert asks(KeySourceAnswer())


def test_a_key_source_that_no_class_tells_is_known() -> None:
    answer = KeySourceAnswer()
    assert answer.is_known(make_spec(), "old")
    assert answer.is_told(make_spec())


def test_an_answer_is_good_until_image_or_class_change() -> None:
    answer = told()
    assert (answer.take(), knows(answer, "old"), answer.trouble) == ("SELECT 1", (True, True), None)
    assert not asks(answer)
    assert asks(answer, "new")


def test_the_last_answer_counts_on_while_another_class_is_asked() -> None:
    answer = told()
    assert knows(answer, "new") == (False, True)
    answer.begin("new", may_start=True)
    assert (answer.take(), knows(answer, "new")) == ("SELECT 1", (False, True))
    answer.fail("new", "no such image", NOW)
    assert (answer.take(), knows(answer, "new")) == ("SELECT 1", (False, True))
    answer.succeed("new", "SELECT 2")
    assert (answer.take(), knows(answer, "new")) == ("SELECT 2", (True, True))
    assert answer.trouble is None


def test_a_pass_that_began_before_the_answer_goes_by_the_last_one() -> None:
    answer = told()
    answer.begin("new", may_start=True)
    answer.succeed("new", "SELECT 2")
    assert (answer.query, knows(answer, "new")) == ("SELECT 1", (False, True))
    assert not asks(answer, "new")


def test_a_late_answer_of_an_older_class_is_none() -> None:
    answer = told()
    answer.begin("new", may_start=True)
    answer.begin("newest", may_start=True)
    answer.succeed("new", "SELECT 2")
    assert answer.fail("new", "too late", NOW) == 0.0
    assert answer.take() == "SELECT 1"
    assert answer.trouble is not None
    assert answer.trouble.reason == "AskingKeySource"


def test_a_class_that_failed_is_asked_ever_less_often_and_a_new_one_at_once() -> None:
    answer, pauses = KeySourceAnswer(), list[float]()
    for _ in range(8):
        answer.begin("old", may_start=True)
        assert not asks(answer, after=1000)
        pauses.append(answer.fail("old", "no such image", NOW))
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    assert not asks(answer, after=299)
    assert asks(answer, after=300)
    assert asks(answer, "new")
    answer.begin("new", may_start=True)
    assert answer.fail("new", "no such class", NOW) == 10.0


def test_a_failure_is_told_until_the_class_has_answered() -> None:
    answer = KeySourceAnswer()
    answer.begin("old", may_start=True)
    answer.fail("old", "no such image", NOW)
    answer.begin("old", may_start=True)
    assert not answer.note_waiting(UNSCHEDULABLE)
    assert answer.trouble is not None
    assert (answer.trouble.reason, answer.trouble.message) == ("KeySourceUnknown", "no such image")
    answer.begin("new", may_start=True)
    assert answer.trouble.reason == "AskingKeySource"


def test_what_the_pod_waits_for_is_told_once() -> None:
    answer = KeySourceAnswer()
    answer.begin("old", may_start=True)
    assert not answer.note_waiting(Waiting("populate", "ContainerCreating", ""))
    assert answer.note_waiting(UNSCHEDULABLE)
    assert not answer.note_waiting(UNSCHEDULABLE)
    assert answer.trouble is not None
    assert answer.trouble.message.endswith("it waits: Unschedulable: 0/3 nodes are available")
    assert answer.note_waiting(None)
    assert "waits" not in answer.trouble.message


def test_a_suspended_queue_looks_once_and_asks_when_it_goes_on() -> None:
    answer = KeySourceAnswer()
    assert asks(answer, suspended=True)
    answer.begin("old", may_start=False)
    assert answer.trouble is None
    answer.put_off("old")
    assert answer.trouble is not None
    assert "spec.suspend" in answer.trouble.message
    assert not asks(answer, after=1000, suspended=True)
    assert asks(answer)
    answer.begin("old", may_start=True)
    answer.put_off("old")  # of the look before
    assert answer.trouble.reason == "AskingKeySource"


def test_a_suspended_queue_with_an_older_answer_has_no_trouble() -> None:
    answer = told()
    answer.begin("new", may_start=False)
    answer.put_off("new")
    assert (answer.trouble, knows(answer, "new")) == (None, (False, True))


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (pending_pod(waiting="ContainerCreating"), None),
        (
            pending_pod(waiting="ImagePullBackOff", message='Back-off "x:1"'),
            "ImagePullBackOff: .*x:1.*template",
        ),
        (
            pending_pod(created_at=ago(601), waiting="Unschedulable"),
            "startDeadlineSeconds, 600: Unschedulable",
        ),
        (make_pod(started_at=ago(599)), None),
        (make_pod(started_at=ago(601)), "node-1 has not ended it after 540 s"),
        (make_pod(started_at=ago(601), deleting_since=ago(59)), None),
        (make_pod(deleting_since=ago(61)), "node node-1 does not confirm its end"),
    ],
)
def test_how_long_a_pod_is_waited_for(pod: PodView, told: str | None) -> None:
    why = why_in_vain(SPEC, pod, NOW)
    assert why is None if told is None else re.search(told, why or "")


@pytest.mark.parametrize(("known", "expected"), [(True, [p.Reserve(3)]), (False, [])])
def test_no_job_is_reserved_for_a_class_that_has_not_told(known: bool, expected: list[p.Action]) -> None:
    assert p.plan(SPEC, observe(due=3, key_source_known=known), NOW) == expected
