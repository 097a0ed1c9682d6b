"""The status: figures as people read them, conditions with their reasons, and no change without news.

Cases: equal facts give an equal status; what could not be read stays; each condition; transition times;
rates and ETAs; recent errors; reading back what another version wrote.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from populate_operator.queue.backoff import Backoff
from populate_operator.queue.conditions import Health, Trouble, name_stuck, say_unscheduled
from populate_operator.queue.progress import build_target, eta_text, rate_text, settled_per_minute
from populate_operator.queue.report import Facts, build_recent_error, build_status, count_pods
from populate_operator.queue.status import (
    ConditionType,
    JobCounts,
    PodCounts,
    QueueStatus,
    RecentError,
    dump_status,
    parse_status,
)
from tests.unit.queue.builders import NOW, ago, make_pod, pending_pod, succeeded_pod

IDLE = JobCounts(error=1, total=1)
AWAY = Trouble("DatabaseUnreachable", "mysql:3306 does not answer")
BACKOFF = Backoff().after_failure(NOW, "ImagePullBackOff", "no such image")


def status(health: Health | None = None, previous: QueueStatus | None = None, **facts: Any) -> QueueStatus:
    plain: dict[str, Any] = {"generation": 1, "health": health or Health(), "jobs": IDLE}
    return build_status(Facts(**plain | facts), previous or QueueStatus(), NOW)


def test_nothing_changes_without_news() -> None:
    pods = (make_pod("a"),)
    first = status(pods=pods, per_minute=118.2)
    later = NOW + timedelta(hours=1)
    facts = Facts(generation=1, health=Health(), jobs=IDLE, pods=pods, per_minute=121.0)
    assert build_status(facts, first, later) == first


def test_what_could_not_be_read_stays_as_it_was() -> None:
    error = build_recent_error("{}", "x", "pod-a", NOW)
    before = status(target=build_target(5, 1), recent_errors=(error,), selector="a=b")
    after = status(Health(database=AWAY), before, jobs=None)
    assert (after.jobs, after.target, after.recent_errors) == (
        before.jobs,
        before.target,
        before.recent_errors,
    )
    assert after.selector == "a=b"


def test_a_status_is_read_back_as_it_was_written() -> None:
    written = status(target=build_target(3, 1), recent_errors=(build_recent_error("{}", "x", "p", NOW),))
    assert parse_status(dump_status(written)) == written


def test_what_another_version_wrote_is_read_as_far_as_it_goes() -> None:
    assert parse_status({"selector": "a=b", "fromTheFuture": 1}).selector == "a=b"
    assert parse_status({"jobs": {"pending": "many"}}) == QueueStatus()
    assert parse_status(None) == QueueStatus()


@pytest.mark.parametrize(
    ("kind", "health", "facts", "expected"),
    [
        ("Ready", Health(), {}, ("True", "UpToDate")),
        ("Ready", Health(), {"jobs": JobCounts(pending=1)}, ("True", "Populating")),
        ("Ready", Health(), {"pods": (pending_pod(),)}, ("True", "Populating")),
        ("Ready", Health(), {"jobs": JobCounts(reserved=1)}, ("True", "Populating")),  # by a worker elsewhere
        ("Ready", Health(has_new_jobs=True), {}, ("True", "Populating")),
        ("Ready", Health(is_refreshed=False), {}, ("Unknown", "Starting")),
        ("Ready", Health(is_refreshed=False), {"jobs": JobCounts(pending=1)}, ("True", "Populating")),
        ("Ready", Health(), {"jobs": JobCounts(scheduled=1)}, ("True", "Waiting")),
        ("Ready", Health(is_suspended=True), {}, ("True", "Suspended")),
        ("Ready", Health(is_database_known=False), {"jobs": None}, ("Unknown", "Starting")),
        ("Ready", Health(is_template_proved=False), {}, ("Unknown", "Starting")),
        ("Ready", Health(database=AWAY), {}, ("False", "DatabaseUnreachable")),
        ("Ready", Health(setup=Trouble("NoSuchTable", "no table")), {}, ("False", "NoSuchTable")),
        ("Ready", Health(backoff=BACKOFF), {}, ("False", "ImagePullBackOff")),
        ("DatabaseReachable", Health(), {}, ("True", "Connected")),
        ("DatabaseReachable", Health(database=AWAY), {}, ("False", "DatabaseUnreachable")),
        ("DatabaseReachable", Health(is_database_known=False), {}, ("Unknown", "Starting")),
        ("DatabaseReachable", Health(setup=Trouble("NoSuchTable", "")), {}, ("True", "Connected")),
        ("Progressing", Health(), {}, ("False", "NothingDue")),
        ("Progressing", Health(), {"jobs": JobCounts(pending=1)}, ("True", "JobsDue")),
        ("Progressing", Health(has_new_jobs=True), {}, ("True", "JobsDue")),
        ("Progressing", Health(database=AWAY), {"pods": (make_pod(),)}, ("True", "PodsActive")),
        ("Progressing", Health(database=AWAY), {}, ("False", "Blocked")),
        ("Progressing", Health(is_suspended=True), {"jobs": JobCounts(pending=1)}, ("False", "Suspended")),
        ("Progressing", Health(is_deleting=True), {}, ("True", "Deleting")),
        ("Progressing", Health(unscheduled="no room"), {"pods": (make_pod(),)}, ("True", "Unschedulable")),
        ("Degraded", Health(), {}, ("False", "AsExpected")),
        ("Degraded", Health(stuck_pods=("a",)), {}, ("True", "PodsStuck")),
        ("Degraded", Health(backoff=BACKOFF), {}, ("True", "ImagePullBackOff")),
        ("Suspended", Health(), {}, ("False", "NotSuspended")),
        ("Suspended", Health(is_suspended=True), {}, ("True", "SuspendRequested")),
    ],
)
def test_conditions(
    kind: ConditionType, health: Health, facts: dict[str, Any], expected: tuple[str, str]
) -> None:
    condition = status(health, **facts).condition(kind)
    assert condition is not None
    assert (condition.status, condition.reason) == expected


def test_a_trouble_tells_what_to_do_in_the_message_column() -> None:
    ready = status(Health(database=AWAY)).condition("Ready")
    assert ready is not None
    assert ready.message == "mysql:3306 does not answer"


def test_stuck_pods_are_named_with_the_remedies() -> None:
    degraded = status(Health(stuck_pods=tuple("abcd"))).condition("Degraded")
    assert degraded is not None
    assert "4 pod(s)" in degraded.message
    assert "a, b, c, ..." in degraded.message
    assert "lostPodTimeoutSeconds" in degraded.message


def test_a_stuck_pod_is_named_with_its_node() -> None:
    pods = [make_pod("a", node="rack-7", deleting_since=ago(61)), make_pod("b", deleting_since=ago(59))]
    assert name_stuck(pods, NOW) == ("a on node rack-7",)


def test_the_scheduler_is_quoted_while_pods_wait_for_room() -> None:
    words = "0/3 nodes are available:\n3 Insufficient memory. preemption: 0/3 nodes are available"
    waiting = [pending_pod(name, "Unschedulable", words) for name in "ab"]
    gated = pending_pod("c", "SchedulingGated", "held back")
    said = say_unscheduled([make_pod("d"), gated, *waiting])
    assert said == "2 pod(s) cannot be scheduled yet: 0/3 nodes are available: 3 Insufficient memory"
    assert say_unscheduled([make_pod("d"), gated]) == ""
    ready = status(Health(unscheduled=said), pods=tuple(waiting)).condition("Ready")
    assert ready is not None
    assert ready.message == said


def test_a_transition_is_dated_only_where_the_status_changed() -> None:
    first = status()
    later = NOW + timedelta(hours=1)
    facts = Facts(generation=2, health=Health(database=AWAY), jobs=IDLE)
    second = build_status(facts, first, later)
    times = {condition.type: condition.last_transition_time for condition in second.conditions}
    assert times == {
        "Ready": later,
        "DatabaseReachable": later,
        "Progressing": NOW,
        "Degraded": NOW,
        "Suspended": NOW,
    }
    assert {condition.observed_generation for condition in second.conditions} == {2}


def test_pods_are_counted_until_they_end() -> None:
    pods = [make_pod("a"), pending_pod("b"), make_pod("c", deleting_since=NOW), succeeded_pod("d")]
    assert count_pods(pods) == PodCounts(pending=1, running=2, active=3)


@pytest.mark.parametrize(
    ("total", "populated", "percent", "done"),
    [
        (5000, 1234, 24, "1234/5000"),
        (3, 3, 100, "3/3"),
        (0, 0, 100, "0/0"),
        (1000, 999, 99, "999/1000"),  # never 100 before it is
    ],
)
def test_progress_of_the_table(total: int, populated: int, percent: int, done: str) -> None:
    target = build_target(total, populated)
    assert (target.percent, target.done) == (percent, done)


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        ([], 0.0),
        ([ago(400)], 0.0),  # before the window
        ([ago(300 - second) for second in range(300)], 60.0),
        ([ago(20), ago(10), ago(0)], 9.0),  # it began 20 s ago
        ([ago(0)], 6.0),  # one job says little: never more than one in ten seconds
    ],
)
def test_the_rate_is_that_of_a_sliding_window(settled: list[datetime], expected: float) -> None:
    assert settled_per_minute(settled, NOW, 300) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("per_minute", "text"),
    [(0, None), (118.2, "120/min"), (99.6, "100/min"), (6, "6/min"), (0.5, "30/h"), (0.001, "1/h")],
)
def test_rates_are_short_and_do_not_flicker(per_minute: float, text: str | None) -> None:
    assert rate_text(per_minute) == text


@pytest.mark.parametrize(
    ("left", "per_minute", "text"),
    [
        (0, 10, None),
        (10, 0, None),
        (1, 120, "1s"),
        (100, 150, "40s"),
        (1440, 120, "12m"),
        (60, 0.5, "2h"),
        (14400, 1, "10d"),
    ],
)
def test_etas(left: int, per_minute: float, text: str | None) -> None:
    assert eta_text(left, per_minute) == text


def test_the_eta_is_about_everything_that_is_not_done() -> None:
    jobs = JobCounts(pending=100, scheduled=50, reserved=50)
    assert status(jobs=jobs, per_minute=100).eta == "2m"


def test_only_the_newest_errors_are_told() -> None:
    errors = tuple(build_recent_error(str(age), "x", "p", ago(age)) for age in range(9))
    assert [error.key for error in status(recent_errors=errors).recent_errors] == ["0", "1", "2", "3", "4"]
    assert status(previous=status(recent_errors=errors), recent_errors=()).recent_errors == ()


def test_an_error_is_told_on_one_short_line() -> None:
    text = "Error: exit code 1:\n  File a\n" + "x" * 300 + "\nValueError: bad voltage"
    error = build_recent_error("{}", text, "p", NOW)
    assert isinstance(error, RecentError)
    assert error.message.startswith("Error: exit code 1: File a xxx")
    assert error.message.endswith("xxx ValueError: bad voltage")
    assert len(error.message) == 200
