"""The loop sleeps no longer than until time itself changes the plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from populate_operator.queue.backoff import Backoff
from populate_operator.queue.plan import Observed, next_wake, plan
from tests.unit.queue.builders import (
    NOW,
    ago,
    at_work,
    make_pod,
    make_spec,
    observe,
    pending_pod,
    succeeded_pod,
)

PAUSE = Backoff().after_failure(ago(3), "X", "x")


@pytest.mark.parametrize(
    ("observed", "spec", "seconds"),
    [
        (observe(last_refresh=ago(20)), {}, 40),
        (observe(last_refresh=ago(9999), refresh_not_before=NOW + timedelta(seconds=8)), {}, 8),
        (observe(due=1, backoff=PAUSE), {}, 7),
        (observe(*at_work(pending_pod(created_at=ago(50)))), {"startDeadlineSeconds": 55}, 5),
        (observe(succeeded_pod(has_finalizer=False)), {"podRetention": {"ttlSeconds": 9}}, 4),
        (
            observe(*at_work(make_pod(deleting_since=ago(65)))),
            {"lostPodTimeoutSeconds": 70},
            5,
        ),
    ],
    ids=["refresh", "after a failed refresh", "end of the pause", "start deadline", "retention", "lost pod"],
)
def test_the_plan_is_empty_until_then_and_not_after(
    observed: Observed, spec: dict[str, Any], seconds: float
) -> None:
    wake = next_wake(make_spec(**spec), observed, NOW)
    assert seconds <= (wake - NOW).total_seconds() <= seconds + 0.2
    assert plan(make_spec(**spec), observed, NOW) == []
    assert plan(make_spec(**spec), observed, wake) != []


def test_a_job_that_is_due_later_wakes_the_loop() -> None:
    assert (next_wake(make_spec(), observe(), NOW, next_due=2.5) - NOW).total_seconds() == pytest.approx(2.6)


def test_a_pod_that_proves_itself_ends_the_probing() -> None:
    probing = Backoff().after_failure(ago(40), "X", "x")
    observed = observe(*at_work(make_pod(started_at=ago(25))), backoff=probing)
    assert (next_wake(make_spec(), observed, NOW) - NOW).total_seconds() == pytest.approx(5.1)


def test_it_looks_again_after_five_minutes_in_any_case() -> None:
    spec = make_spec(refresh={"intervalSeconds": 86400})
    assert next_wake(spec, observe(), NOW) - NOW <= timedelta(minutes=5, seconds=1)
