"""The plan, rule by rule: what is observed, and what is done about it.

Cases: starting (room, due, suspension, proof of the template, pauses and probes); crashes between reservation
and pod; settling (questions first, then the fenced write, then the finalizer); pods without a reservation;
deadlines; lost nodes; retention; refresh; the database being away; deletion of the queue.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from populate_operator.pods.view import PodView
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.outcome import CannotStart, Complete, Disrupted, Failed
from populate_operator.queue.plan import (
    Action,
    CheckGone,
    CheckTarget,
    CreatePod,
    DeletePod,
    Observed,
    ProveTemplate,
    ReadLog,
    Refresh,
    ReleasePod,
    ReleaseQueue,
    Reserve,
    Settle,
    TakeBack,
    may_wait_in_vain,
    plan,
)
from tests.unit.queue.builders import (
    NOW,
    ago,
    at_work,
    failed_pod,
    job_of,
    make_job,
    make_pod,
    make_spec,
    observe,
    pending_pod,
    succeeded_pod,
)

PAUSING = Backoff(1, ago(5), NOW + timedelta(seconds=5), "ImagePullBackOff", "no such image")
PROBING = Backoff(1, ago(15), ago(5), "ImagePullBackOff", "no such image")


def actions(observed: Observed, **spec: Any) -> list[Action]:
    return plan(make_spec(**spec), observed, NOW)


def deleted(observed: Observed, **spec: Any) -> dict[str, str]:
    """Names and reasons of the pods that the plan deletes."""
    planned = actions(observed, **spec)
    assert all(isinstance(each, DeletePod) for each in planned)
    return {each.pod.name: each.reason for each in planned if isinstance(each, DeletePod)}


# --- starting -------------------------------------------------------------------------------------


def test_a_queue_with_nothing_due_and_running_pods_is_left_alone() -> None:
    assert actions(observe(*at_work(make_pod("a")), *at_work(pending_pod("b")))) == []


@pytest.mark.parametrize(
    ("due", "parallelism", "expected"),
    [(0, 10, []), (3, 10, [Reserve(3)]), (50, 10, [Reserve(8)]), (50, 2, []), (50, 1, []), (50, 0, [])],
)
def test_due_jobs_are_reserved_as_far_as_parallelism_has_room(
    due: int, parallelism: int, expected: list[Action]
) -> None:
    running, waiting = at_work(make_pod("a")), at_work(pending_pod("b"))
    assert actions(observe(*running, *waiting, due=due), parallelism=parallelism) == expected


def test_a_terminating_pod_takes_up_room_and_a_finished_one_does_not() -> None:
    pods = at_work(make_pod("a", deleting_since=ago(1)))
    assert actions(observe(*pods, succeeded_pod("b", has_finalizer=False), due=9), parallelism=2) == [
        Reserve(1)
    ]


def test_lowering_parallelism_stops_no_running_pod() -> None:
    pods = [part for name in "abc" for part in at_work(make_pod(name))]
    assert actions(observe(*pods, due=5), parallelism=1) == []


def test_a_suspended_queue_starts_nothing_and_lets_pods_run() -> None:
    assert actions(observe(*at_work(make_pod()), due=5), suspend=True) == []


def test_a_template_is_proved_before_anything_is_started() -> None:
    observed = observe(make_job(), due=5, template_proved=False)
    assert actions(observed) == [ProveTemplate()]
    assert actions(observe(due=0, template_proved=False)) == [ProveTemplate()]


def test_a_rejected_template_is_proved_again_only_after_the_pause() -> None:
    assert actions(observe(due=5, template_proved=False, backoff=PAUSING)) == []
    assert actions(observe(due=5, template_proved=False, backoff=PROBING)) == [ProveTemplate()]


def test_nothing_is_started_during_a_pause_and_one_pod_is_tried_after_it() -> None:
    assert actions(observe(due=5, backoff=PAUSING)) == []
    assert actions(observe(due=5, backoff=PROBING)) == [Reserve(1)]
    assert actions(observe(*at_work(pending_pod()), due=5, backoff=PROBING)) == []
    assert actions(observe(*at_work(make_pod()), due=5, backoff=PROBING)) == [Reserve(1)]


# --- between the reservation and its pod ----------------------------------------------------------


def test_a_lost_pod_that_never_started_does_not_hold_up_the_one_that_is_tried() -> None:
    lost = at_work(pending_pod(deleting_since=ago(600)))
    after = Backoff().after_failure(ago(11), "X", "x")
    assert plan(make_spec(), observe(*lost, due=5, backoff=after), NOW) == [Reserve(1)]


def test_a_young_reservation_without_a_pod_gets_it() -> None:
    job = make_job("a", age=59)
    assert actions(observe(job)) == [CreatePod(job)]


def test_reservations_without_pods_take_up_room_too() -> None:
    jobs = [make_job("a", age=3), make_job("b", age=2)]
    assert actions(observe(*jobs, due=5), parallelism=3) == [
        CreatePod(jobs[0]),
        CreatePod(jobs[1]),
        Reserve(1),
    ]


@pytest.mark.parametrize(
    ("fields", "spec"),
    [
        ({}, {"parallelism": 0}),
        ({}, {"suspend": True}),
        ({"backoff": PAUSING}, {}),
        ({"seen": frozenset({"a"})}, {}),
    ],
    ids=["no room", "suspended", "pausing", "it was there once"],
)
def test_a_young_reservation_that_may_have_no_pod_is_given_back_once_a_live_get_confirms(
    fields: dict[str, Any], spec: dict[str, Any]
) -> None:
    job = make_job("a")
    assert actions(observe(job, **fields), **spec) == [CheckGone(("a",))]
    confirmed = {"gone": frozenset({"a"})} | fields
    assert actions(observe(job, **confirmed), **spec) == [CheckTarget((job,))]
    (settle,) = actions(observe(job, **confirmed, in_target={"a": False}), **spec)
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Disrupted)


def test_pods_that_may_run_unseen_take_up_room() -> None:
    """As after `kubectl label pods --all` has taken them out of the watch."""
    jobs = [make_job(name, age=61) for name in "ab"]
    assert actions(observe(*jobs, due=9), parallelism=2) == [CheckGone(("a", "b"))]
    assert actions(observe(*jobs, due=9), parallelism=3) == [CheckGone(("a", "b")), Reserve(1)]
    found = observe(*(part for job in jobs for part in at_work(make_pod(job.pod))), due=9)
    assert actions(found, parallelism=2) == []


def test_an_old_reservation_without_a_pod_is_an_orphan() -> None:
    job = make_job("a", age=61)
    assert actions(observe(job)) == [CheckGone(("a",))]
    gone = {"gone": frozenset({"a"})}
    lost = Disrupted("PodLost", "the pod is gone and left no row")
    assert actions(observe(job, **gone, in_target={"a": False})) == [Settle(job, lost)]
    (settle,) = actions(observe(job, **gone, in_target={"a": True}))
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Complete)


def test_a_refusal_by_the_api_server_gives_the_job_back() -> None:
    job, refusal = make_job("a"), CannotStart("PodRefused", "exceeded quota")
    assert actions(observe(job, refused={"a": refusal}, backoff=PAUSING)) == [Settle(job, refusal)]


# --- settling -------------------------------------------------------------------------------------


def test_a_finished_pod_is_settled_then_released() -> None:
    pod, job = at_work(succeeded_pod("a"))
    assert actions(observe(pod, job)) == [CheckTarget((job,))]
    assert actions(observe(pod, job, in_target={"a": True})) == [Settle(job, Complete(20.0))]
    assert actions(observe(pod)) == [ReleasePod(pod)]
    assert actions(observe(succeeded_pod("a", has_finalizer=False))) == []


def test_the_log_is_read_before_a_failure_is_written() -> None:
    pod, job = at_work(failed_pod("a"))
    assert actions(observe(pod, job, in_target={"a": False})) == [ReadLog(pod, "populate")]
    (settle,) = actions(observe(pod, job, in_target={"a": False}, logs={"a": "boom"}))
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Failed)
    assert settle.outcome.stack == "boom"


def test_questions_about_many_jobs_are_one() -> None:
    pods = [at_work(succeeded_pod(name)) for name in "abc"]
    (check,) = actions(observe(*(part for pair in pods for part in pair)))
    assert isinstance(check, CheckTarget)
    assert {job.pod for job in check.jobs} == {"a", "b", "c"}


def test_room_is_given_out_again_in_the_pass_that_settles() -> None:
    pod, job = at_work(succeeded_pod("a"))
    planned = actions(observe(pod, job, in_target={"a": True}, due=9), parallelism=1)
    assert planned == [Settle(job, Complete(20.0)), Reserve(1)]


def test_the_attempt_is_the_reservations_not_the_pods() -> None:
    pod = failed_pod("a", report="x")
    job = job_of(pod, attempt=3)
    (settle,) = actions(observe(pod, job, in_target={"a": False}), retry={"limit": 2})
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Failed)


# --- pods without a reservation -------------------------------------------------------------------


def test_a_running_pod_without_a_reservation_takes_its_job_back() -> None:
    pod = make_pod("a")
    assert actions(observe(pod)) == [TakeBack(pod)]
    assert actions(observe(pod), suspend=True) == [TakeBack(pod)]


def test_where_someone_else_holds_the_job_the_pod_is_deleted() -> None:
    assert deleted(observe(make_pod("a"), held_elsewhere=frozenset({"a"}))) == {"a": "JobHeldElsewhere"}


def test_a_terminating_pod_without_a_reservation_is_awaited() -> None:
    assert actions(observe(make_pod("a", deleting_since=ago(5)))) == []


@pytest.mark.parametrize("age", [5.0, 600.0])
def test_a_reservation_by_a_pod_that_is_gone_is_handed_to_the_one_at_work(age: float) -> None:
    pod = make_pod("new")
    job = make_job("old", key=pod.key, age=age)
    assert actions(observe(pod, job)) == [CheckGone(("old",))]
    settle, take_back = actions(observe(pod, job, gone=frozenset({"old"})))
    assert isinstance(settle, Settle)
    assert (settle.job, type(settle.outcome)) == (job, Disrupted)
    assert take_back == TakeBack(pod)


def test_a_reservation_by_a_pod_that_has_ended_is_handed_to_the_one_at_work() -> None:
    pod, ended = make_pod("new"), failed_pod("old", key=make_pod("new").key, has_finalizer=False)
    settle, take_back = actions(observe(pod, ended, job_of(ended)))
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Disrupted)
    assert take_back == TakeBack(pod)


def test_a_pod_whose_reservation_another_living_pod_has_is_refused_by_the_database() -> None:
    pod, other = make_pod("new"), make_pod("old", key=make_pod("new").key)
    assert actions(observe(pod, *at_work(other))) == [TakeBack(pod)]


def test_no_pod_is_made_beside_one_that_terminates() -> None:
    pod = make_pod("old", deleting_since=ago(5))
    assert actions(observe(pod, make_job("new", key=pod.key))) == []
    ended = succeeded_pod("old", key=pod.key, has_finalizer=False)
    assert actions(observe(ended, make_job("new", key=pod.key))) == [CreatePod(make_job("new", key=pod.key))]


def test_a_deleted_queue_gives_a_job_back_whose_key_a_lost_pod_is_at_work_on() -> None:
    pod = make_pod("old", deleting_since=ago(600))
    job = make_job("new", key=pod.key)
    assert actions(observe(pod, job)) == []
    asked = actions(observe(pod, job, is_deleting=True))
    assert CheckGone(("new",)) in asked
    assert ReleaseQueue() not in asked
    observed = observe(pod, job, is_deleting=True, gone=frozenset({"new"}), in_target={"new": False})
    assert [type(action.outcome) for action in actions(observed) if isinstance(action, Settle)] == [Disrupted]


def test_an_ended_pod_is_settled_beside_one_that_terminates() -> None:
    pod, job = at_work(succeeded_pod("new"))
    planned = actions(observe(pod, job, make_pod("old", key=pod.key, deleting_since=ago(5))))
    assert planned == [CheckTarget((job,))]


# --- deadlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (pending_pod("a", "ImagePullBackOff"), "ImagePullBackOff"),
        (pending_pod("a", "ErrImageNeverPull"), "ErrImageNeverPull"),
        (pending_pod("a", "InvalidImageName"), "InvalidImageName"),
        (pending_pod("a", "CreateContainerConfigError"), "CreateContainerConfigError"),
        (
            pending_pod(
                "a",
                "CreateContainerConfigError",
                "failed to sync secret cache: timed out waiting for the condition",
            ),
            None,
        ),
        (pending_pod("a", "ErrImagePull"), None),  # the first try failed; the kubelet has not tried again
        (pending_pod("a", "ContainerCreating"), None),
        (pending_pod("a", created_at=ago(601)), "StartDeadlineExceeded"),
        (pending_pod("a", "Unschedulable", created_at=ago(601)), "StartDeadlineExceeded"),
        (pending_pod("a", created_at=ago(600)), None),
        (pending_pod("a", "SchedulingGated", created_at=ago(9999)), None),
        (pending_pod("a", created_at=ago(601), deleting_since=ago(1)), None),
        (make_pod("a", created_at=ago(9999), started_at=ago(9990)), None),
    ],
)
def test_a_pod_that_cannot_start_is_deleted_and_its_job_kept_until_it_ended(
    pod: PodView, reason: str | None
) -> None:
    planned = actions(observe(*at_work(pod)))
    assert [(each.reason, each.cannot_start) for each in planned if isinstance(each, DeletePod)] == (
        [(reason, True)] if reason else []
    )
    assert len(planned) == (1 if reason else 0)


def test_a_container_that_cannot_start_is_named_with_the_remedy() -> None:
    pod = pending_pod("a", "CreateContainerConfigError", 'secret "licence" not found')
    (delete,) = (each for each in actions(observe(*at_work(pod))) if isinstance(each, DeletePod))
    assert delete.message == (
        'container populate cannot start: secret "licence" not found; mend spec.template or what it names'
    )


def test_a_start_deadline_names_its_field_and_what_the_pod_waits_for() -> None:
    pod = pending_pod("a", "Unschedulable", "0/1 nodes are available", created_at=ago(601))
    (delete,) = (each for each in actions(observe(*at_work(pod))) if isinstance(each, DeletePod))
    assert delete.message == (
        "pod a did not start within startDeadlineSeconds, 600: Unschedulable: 0/1 nodes are available"
    )


def test_a_pod_deleted_before_it_started_gives_its_job_back_uncounted() -> None:
    pod, job = at_work(pending_pod("a", deleting_since=ago(1), node=""))
    (settle,) = actions(observe(pod, job, in_target={"a": False}, backoff=PAUSING))
    assert settle == Settle(job, Disrupted("NotStarted", "the pod was deleted before it started"))


# --- lost nodes -----------------------------------------------------------------------------------


def test_a_terminating_pod_is_never_gone_while_no_timeout_is_set() -> None:
    assert actions(observe(*at_work(make_pod("a", deleting_since=ago(99999))))) == []


def test_a_lost_pod_is_given_up_on_after_its_timeout() -> None:
    pod, job = at_work(make_pod("a", deleting_since=ago(301)))
    spec = {"lostPodTimeoutSeconds": 300}
    assert actions(observe(pod, job), **spec) == [CheckTarget((job,))]
    (settle,) = actions(observe(pod, job, in_target={"a": False}), **spec)
    assert settle == Settle(job, Disrupted("PodLost", "the pod is gone and left no row"))
    assert actions(observe(pod), **spec) == [ReleasePod(pod)]
    released = make_pod("a", deleting_since=ago(301), has_finalizer=False)
    (delete,) = actions(observe(released), **spec)
    assert isinstance(delete, DeletePod)
    assert delete.force
    assert actions(observe(make_pod("a", deleting_since=ago(300)), job), **spec) == []


def test_a_lost_pod_makes_room_for_its_successor() -> None:
    lost = make_pod("a", deleting_since=ago(301))
    planned = actions(observe(lost, due=1), parallelism=1, lostPodTimeoutSeconds=300)
    assert Reserve(1) in planned


# --- retention ------------------------------------------------------------------------------------


def finished(name: str, age: float, *, failed: bool = False) -> PodView:
    pod = failed_pod(name) if failed else succeeded_pod(name)
    return make_pod(
        name, phase=pod.phase, has_finalizer=False, termination=None, created_at=ago(age), started_at=ago(age)
    )


def test_the_newest_finished_pods_are_kept_by_kind() -> None:
    pods = [finished(f"s{age}", age) for age in (1, 2, 3)]
    pods += [finished(f"f{age}", age, failed=True) for age in (1, 2)]
    kept = {"succeeded": 2, "failed": 1}
    assert deleted(observe(*pods), podRetention=kept) == {"s3": "Retention", "f2": "Retention"}


def test_no_finished_pod_is_kept_for_ever() -> None:
    pods = [finished("a", 10), finished("b", 3601, failed=True)]
    assert deleted(observe(*pods), podRetention={"ttlSeconds": 3600}) == {"b": "Retention"}


def test_a_pod_that_is_not_settled_is_never_deleted_for_its_age() -> None:
    pod, job = at_work(succeeded_pod("a", created_at=ago(99999)))
    assert actions(observe(pod, job), podRetention={"succeeded": 0, "ttlSeconds": 1}) == [CheckTarget((job,))]


# --- refresh --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"last_refresh": None}, [Refresh()]),
        ({"last_refresh": ago(59)}, []),
        ({"last_refresh": ago(60)}, [Refresh()]),
        ({"last_refresh": ago(1), "refresh_requested": True}, [Refresh()]),
        ({"last_refresh": ago(99), "refresh_not_before": NOW + timedelta(seconds=1)}, []),
        ({"refresh_requested": True, "refresh_not_before": NOW + timedelta(seconds=1)}, []),
        ({"last_refresh": None, "key_source_known": False}, []),
        ({"last_refresh": None, "reservations": None}, []),
    ],
)
def test_a_refresh_is_due_by_the_interval_or_on_request(
    fields: dict[str, Any], expected: list[Action]
) -> None:
    assert actions(observe(**fields)) == expected


def test_a_suspended_queue_goes_on_counting() -> None:
    assert actions(observe(last_refresh=None), suspend=True) == [Refresh()]


# --- the database being away ----------------------------------------------------------------------


def test_without_the_database_pods_are_left_as_they_are() -> None:
    pods = [make_pod("a"), succeeded_pod("b"), failed_pod("c"), make_pod("d", deleting_since=ago(1))]
    assert actions(observe(*pods, reservations=None, due=5)) == []


def test_without_the_database_pods_of_a_namespace_that_goes_are_let_go() -> None:
    ended = failed_pod("a", deleting_since=ago(1))
    lives = make_pod("b", deleting_since=ago(1))
    waiting = observe(ended, lives, reservations=None)
    assert may_wait_in_vain(waiting)
    assert not may_wait_in_vain(observe(failed_pod("a"), lives))
    assert actions(replace(waiting, is_namespace_going=True)) == [ReleasePod(ended)]


def test_a_namespace_that_goes_takes_the_queue_along_by_itself() -> None:
    assert actions(observe(reservations=None, is_namespace_going=True)) == []


# --- deletion of the queue ------------------------------------------------------------------------


def deleting(*parts: Any, **fields: Any) -> list[Action]:
    return actions(observe(*parts, is_deleting=True, last_refresh=None, due=5, **fields))


def test_a_queue_without_pods_or_reservations_goes_at_once() -> None:
    assert deleting() == [ReleaseQueue()]
    assert deleting(reservations=None) == [ReleaseQueue()]


def test_the_pods_of_a_deleted_queue_are_deleted_once_and_settled() -> None:
    pod, job = at_work(make_pod("a"))
    assert deleting(pod, job) == [DeletePod(pod, "QueueDeleted", "its PopulateQueue is deleted")]
    assert deleting(pod) == [DeletePod(pod, "QueueDeleted", "its PopulateQueue is deleted")]
    terminating = make_pod("a", deleting_since=ago(1))
    assert deleting(terminating, job) == []
    ended = failed_pod("a", deleting_since=ago(1))
    (settle,) = deleting(ended, job, in_target={"a": False}, logs={"a": ""})
    assert isinstance(settle, Settle)
    assert isinstance(settle.outcome, Disrupted)
    assert deleting(ended) == [ReleasePod(ended)]
    assert deleting(failed_pod("a", deleting_since=ago(1), has_finalizer=False)) == [ReleaseQueue()]


def test_reservations_of_a_deleted_queue_are_given_back() -> None:
    job = make_job("a")
    assert deleting(job) == [CheckGone(("a",))]
    (settle,) = deleting(job, gone=frozenset({"a"}), in_target={"a": False})
    assert isinstance(settle, Settle)


def test_deletion_does_not_wait_for_the_database() -> None:
    ended = failed_pod("a", deleting_since=ago(1))
    assert deleting(ended, reservations=None) == [ReleasePod(ended)]
    assert deleting(make_pod("a"), reservations=None) != []
    assert deleting(failed_pod("a", has_finalizer=False), reservations=None) == [ReleaseQueue()]


def test_deletion_does_not_wait_for_a_lost_node() -> None:
    stuck, job = at_work(make_pod("a", deleting_since=ago(61)))
    assert deleting(stuck, job) == [ReleasePod(stuck)]
    released = make_pod("a", deleting_since=ago(61), has_finalizer=False)
    assert deleting(released, job) == [ReleaseQueue()]
