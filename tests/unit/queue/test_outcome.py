"""The outcome rules as a table: what ended how, is the key in the target, and what becomes of the job.

Cases: success with and without a row; failure with a row; disruptions of every kind; failure rules; pods that
never ran, or that a node rejected; the runner's own exit codes; retries, their backoff and their end; the
texts of the messages.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from populate_operator.pods.view import PodView, Termination
from populate_operator.queue.outcome import (
    CannotStart,
    Complete,
    Disrupted,
    Failed,
    Ignored,
    Outcome,
    RetryLater,
    decide_gone,
    decide_outcome,
    has_ended,
    needs_log,
    retry_delay,
)
from tests.unit.queue.builders import ago, failed_pod, make_pod, make_spec, pending_pod, succeeded_pod

EVICTION = failed_pod(disruption="EvictionByEvictionAPI", exit_code=143)


def outcome(
    pod: PodView, *, in_target: bool = False, attempt: int = 1, log: str = "", **spec: Any
) -> Outcome:
    return decide_outcome(pod, make_spec(**spec), in_target=in_target, attempt=attempt, log=log)


def reported(message: str, stack: str = "Traceback ...") -> str:
    """A termination message of the runner."""
    return json.dumps({"error_message": message, "error_stack": stack})


def test_exit_0_with_a_row_is_complete_with_the_run_time_of_the_container() -> None:
    assert outcome(succeeded_pod(), in_target=True) == Complete(20.0)


def test_exit_0_without_a_row_is_an_error_even_where_retries_remain() -> None:
    result = outcome(succeeded_pod(), log="nothing to do\n", retry={"limit": 3})
    assert result == Failed("exit 0, but SpikeSorting has no row for this key", "nothing to do\n", 20.0)


@pytest.mark.parametrize(
    "pod",
    [failed_pod(exit_code=137, reason="OOMKilled"), EVICTION, pending_pod(deleting_since=ago(1), node="")],
    ids=["failed", "evicted", "deleted"],
)
def test_a_row_makes_it_complete_however_the_pod_ended_and_says_so(pod: PodView) -> None:
    result = outcome(pod, in_target=True)
    assert isinstance(result, Complete)
    assert result.note.startswith("the row was made before the pod ended: ")


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (failed_pod(disruption="PreemptionByScheduler"), "PreemptionByScheduler"),
        (failed_pod(disruption="DeletionByTaintManager"), "DeletionByTaintManager"),
        (EVICTION, "EvictionByEvictionAPI"),
        (make_pod(phase="Failed", reason="Evicted", message="The node was low on memory."), "Evicted"),
        (make_pod(phase="Failed", reason="Preempting"), "Preempting"),
        (make_pod(phase="Failed", reason="NodeShutdown"), "NodeShutdown"),
        (make_pod(phase="Failed", reason="NodeLost"), "NodeLost"),
        (failed_pod(exit_code=137, reason="ContainerStatusUnknown"), "ContainerStatusUnknown"),
        (failed_pod(exit_code=143, deleting_since=ago(-20)), "Deleted"),
        (succeeded_pod(deleting_since=ago(-20)), "Deleted"),  # it took SIGTERM for a reason to exit 0
        (pending_pod(deleting_since=ago(1), node=""), "NotStarted"),
        # Ended by the kubelet, or by the eviction API, while they waited for their image.
        (
            pending_pod(phase="Failed", reason="Evicted", disruption="TerminationByKubelet"),
            "TerminationByKubelet",
        ),
        (pending_pod(phase="Failed", reason="Evicted", deleting_since=ago(1)), "NotStarted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disrupted_pod_counts_as_no_attempt_whatever_the_rules_say(pod: PodView, reason: str) -> None:
    rules = [{"exitCodes": [1, 137, 143], "action": "Error"}]
    result = outcome(pod, failureRules=rules, attempt=3)
    assert isinstance(result, Disrupted)
    assert result.reason == reason


def test_a_failed_pod_that_is_then_deleted_has_failed_nevertheless() -> None:
    out_of_memory = failed_pod(exit_code=137, reason="OOMKilled", deleting_since=ago(1))
    assert isinstance(outcome(out_of_memory), Failed)
    ended = failed_pod(exit_code=137).termination
    overdue = make_pod(phase="Failed", reason="DeadlineExceeded", termination=ended, deleting_since=ago(1))
    assert isinstance(outcome(overdue), Failed)


def test_a_container_that_never_ran_took_no_time() -> None:
    never = Termination("populate", 128, "StartError", "", datetime(1970, 1, 1, tzinfo=UTC), ago(5))
    result = outcome(make_pod(phase="Failed", termination=never), in_target=True)
    assert isinstance(result, Complete)
    assert result.duration is None


def test_a_start_that_a_restart_of_the_kubelet_interrupted_is_a_disruption() -> None:
    told = "failed to create containerd task: failed to create shim task: context canceled: unknown"
    interrupted = failed_pod(exit_code=128, reason="StartError", report=told)
    assert isinstance(outcome(interrupted), Disrupted)
    assert isinstance(
        outcome(failed_pod(exit_code=128, report=told)), Failed
    )  # a program of the user's says so


def test_an_eviction_for_the_pods_own_disk_use_is_its_own_failure() -> None:
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
    pod = failed_pod(exit_code=137, reason="Error")
    evicted = make_pod(phase="Failed", reason="Evicted", message=message, termination=pod.termination)
    assert outcome(evicted) == Failed(f"Evicted: {message}", "", 20.0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"exitCodes": [3], "action": "Error"}, Failed),
        ({"exitCodes": [3], "action": "Ignore"}, Ignored),
        ({"exitCodes": [3], "action": "Retry"}, RetryLater),
        ({"exitCodes": [4], "action": "Ignore"}, Failed),  # no match: no retries, so an error
        ({"reasons": ["Error"], "action": "Ignore"}, Ignored),
        ({"reasons": ["OOMKilled"], "action": "Ignore"}, Failed),
    ],
)
def test_a_failure_rule_decides_by_exit_code_or_reason(rule: dict[str, Any], expected: type[Outcome]) -> None:
    assert isinstance(outcome(failed_pod(exit_code=3), failureRules=[rule]), expected)


def test_the_first_rule_that_matches_wins() -> None:
    rules = [
        {"exitCodes": [9], "action": "Error"},
        {"exitCodes": [3, 4], "action": "Ignore"},
        {"reasons": ["Error"], "action": "Retry"},
    ]
    assert isinstance(outcome(failed_pod(exit_code=3), failureRules=rules), Ignored)


def test_a_retry_rule_outlasts_the_retry_limit() -> None:
    rules = [{"exitCodes": [75], "action": "Retry"}]
    result = outcome(failed_pod(exit_code=75), attempt=9, failureRules=rules, retry={"limit": 1})
    assert isinstance(result, RetryLater)
    assert result.delay == 360


def test_a_rule_can_name_the_pods_own_reason() -> None:
    rules = [{"reasons": ["DeadlineExceeded"], "action": "Ignore"}]
    assert isinstance(outcome(failed_pod(phase="Failed", message=""), failureRules=rules), Failed)
    pod = make_pod(phase="Failed", reason="DeadlineExceeded", termination=failed_pod().termination)
    assert isinstance(outcome(pod, failureRules=rules), Ignored)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (failed_pod(exit_code=128, reason="StartError"), "StartError"),
        (failed_pod(exit_code=127, reason="ContainerCannotRun"), "ContainerCannotRun"),
        (make_pod(phase="Failed", reason="UnexpectedAdmissionError"), "UnexpectedAdmissionError"),
        (make_pod(phase="Failed"), "NeverStarted"),
        (failed_pod(exit_code=78, report=reported("ClassNotFound: x")), "RunnerConfiguration"),
        (failed_pod(exit_code=69, report=reported("DatabaseError: x")), "RunnerDatabase"),
        (failed_pod(exit_code=69, report=reported("DatabaseError: x")[:30]), "RunnerDatabase"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_job_is_to_blame_for_burns_none(pod: PodView, reason: str) -> None:
    result = outcome(pod)
    assert isinstance(result, CannotStart)
    assert result.reason == reason


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "),
        ("NodeShutdown", "Pod was rejected as the node is shutting down."),
        ("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu"),
    ],
)
def test_a_pod_that_its_node_rejected_could_not_start(reason: str, told: str) -> None:
    """A template that tolerates everything sends the next pod to the same node: the queue has to pause."""
    rejected = make_pod(phase="Failed", started_at=None, reason=reason, message=told)
    assert outcome(rejected) == CannotStart(reason, f"{reason}: {told}")


def test_the_runners_exit_codes_mean_nothing_from_another_program() -> None:
    assert isinstance(outcome(failed_pod(exit_code=78)), Failed)


@pytest.mark.parametrize(
    ("attempt", "limit", "expected"),
    [(1, 0, Failed), (1, 1, RetryLater), (2, 1, Failed), (3, 3, RetryLater), (4, 3, Failed)],
)
def test_a_failure_is_retried_as_often_as_the_limit_says(
    attempt: int, limit: int, expected: type[Outcome]
) -> None:
    result = outcome(failed_pod(), attempt=attempt, retry={"limit": limit})
    assert isinstance(result, expected)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 360), (2000, 360)])
def test_retries_wait_twice_as_long_each_time_up_to_the_cap(attempt: int, delay: float) -> None:
    assert retry_delay(make_spec().retry, attempt) == delay


def test_an_oom_kill_asks_for_more_memory() -> None:
    result = outcome(failed_pod(exit_code=137, reason="OOMKilled", memory_limit="512Mi"), retry={"limit": 1})
    message = "OOMKilled: container populate exceeded its memory limit 512Mi"
    assert result == RetryLater(10, message, "", is_oom=True)


@pytest.mark.parametrize(
    ("pod", "log", "message", "stack"),
    [
        (
            failed_pod(report=reported("ValueError: bad voltage")),
            "",
            "ValueError: bad voltage",
            "Traceback ...",
        ),
        (failed_pod(report=reported("Terminated: x", "")), "the log", "Terminated: x", "the log"),
        (
            failed_pod(exit_code=2),
            "one\ntwo\n\nthree\nfour\n",
            "Error: container populate ended with exit code 2:\ntwo\nthree\nfour",
            "one\ntwo\n\nthree\nfour\n",
        ),
        (
            failed_pod(
                exit_code=2, report="from the log\n"
            ),  # terminationMessagePolicy FallbackToLogsOnError
            "",
            "Error: container populate ended with exit code 2:\nfrom the log",
            "from the log\n",
        ),
        (failed_pod(exit_code=2), "", "Error: container populate ended with exit code 2", ""),
        (
            failed_pod(exit_code=137, reason="OOMKilled", memory_limit=None),
            "",
            "OOMKilled: container populate exceeded its memory limit, which is the node's: set a limit",
            "",
        ),
    ],
)
def test_messages_and_stacks(pod: PodView, log: str, message: str, stack: str) -> None:
    assert outcome(pod, log=log) == Failed(message, stack, 20.0)


def test_a_deadline_is_named_even_where_the_runner_only_knows_of_a_signal() -> None:
    ended = failed_pod(exit_code=143, report=reported("Terminated: told to stop")).termination
    pod = make_pod(phase="Failed", reason="DeadlineExceeded", termination=ended)
    message = "DeadlineExceeded: the pod ran longer than activeDeadlineSeconds, 60"
    assert outcome(pod, activeDeadlineSeconds=60) == Failed(message, "Traceback ...", 20.0)


def test_a_pod_that_is_gone_is_lost_unless_its_row_is_there() -> None:
    assert isinstance(decide_gone(in_target=True, existed=True), Complete)
    assert decide_gone(in_target=False, existed=True) == Disrupted(
        "PodLost", "the pod is gone and left no row"
    )
    assert isinstance(decide_gone(in_target=False, existed=False), Disrupted)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (make_pod(), False),
        (pending_pod(), False),
        (make_pod(phase="Unknown"), False),
        (make_pod(deleting_since=ago(600)), False),  # terminating on a node: it may run for all we know
        (pending_pod(deleting_since=ago(1)), False),
        (pending_pod(deleting_since=ago(1), node=""), True),  # no node will ever take it
        (succeeded_pod(), True),
        (failed_pod(deleting_since=ago(1)), True),
    ],
)
def test_a_pod_has_ended_only_when_no_container_can_run(pod: PodView, expected: bool) -> None:
    assert has_ended(pod) is expected


def test_a_log_is_read_only_where_the_status_does_not_tell() -> None:
    assert needs_log(failed_pod())
    assert not needs_log(failed_pod(report="told"))
    assert not needs_log(make_pod(phase="Failed"))  # no container ran: there is no log
