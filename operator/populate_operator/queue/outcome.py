"""What becomes of a job when its pod has ended: a pure function of the pod, the target and the spec.

The rules, in the order in which they are asked:

1. The key is in the target: complete, however the pod ended; the result is there.
2. The pod was disrupted: pending again, and it does not count as an attempt.
3. It exited 0: an error, for no row was made.
4. A failure rule matches: what the rule says.
5. It could not start, its node rejected it, or the runner found the class or the database unusable: pending
   again, not counted, and the queue backs off, since the next job would fare no better.
6. It failed: pending with backoff while attempts remain, else an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from populate_operator.pods.report import parse_termination_message
from populate_operator.pods.runner import EXIT_CONFIGURATION, EXIT_DATABASE
from populate_operator.pods.view import PodView, Termination
from populate_operator.queue.resource import FailureRule, PopulateQueueSpec, Retry

LOG_LINES_IN_MESSAGE = 3

# Pods ended by the cluster, not by their own work. The kubelet says ContainerStatusUnknown when it lost the
# container, as after a reboot of the node.
_DISRUPTIONS = frozenset(
    {
        "Evicted", "Preempting", "Preempted", "NodeShutdown", "Shutdown", "Terminated", "NodeLost",
        "ContainerStatusUnknown",
    }
)  # fmt: skip
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
# What the runtime says of a container when the kubelet that had asked for it went away: no broken template,
# for which the queue would have to pause.
_INTERRUPTED = "context canceled"


@dataclass(frozen=True, slots=True)
class Complete:
    """The result is in the target. `note` says so where the pod failed nevertheless."""

    duration: float | None  # seconds from the container's start to its end
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error for good."""

    message: str
    stack: str
    duration: float | None = None  # seconds from the container's start to its end


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Pending again, due in `delay` seconds; counts as an attempt."""

    delay: float
    message: str
    stack: str
    is_oom: bool = False  # the next attempt gets more memory


@dataclass(frozen=True, slots=True)
class Disrupted:
    """Pending again at once; does not count as an attempt."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CannotStart:
    """Pending again, does not count as an attempt, and the queue backs off."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """The job is ignored from now on."""

    message: str


Outcome = Complete | Failed | RetryLater | Disrupted | CannotStart | Ignored


def decide_outcome(
    pod: PodView, spec: PopulateQueueSpec, *, in_target: bool, attempt: int, log: str = ""
) -> Outcome:
    """The outcome of a pod that has ended (see `has_ended`).

    `attempt` is the reservation's, 1 for the first try; `log` is the tail of the container's log.
    """
    failure = _describe_failure(pod, spec, log)
    if in_target:
        note = "" if pod.phase == "Succeeded" else f"the row was made before the pod ended: {failure.message}"
        return Complete(_duration(pod.termination), note)
    if disruption := _disruption(pod):
        return disruption
    if pod.phase == "Succeeded":
        return Failed(f"exit 0, but {spec.table} has no row for this key", failure.stack, failure.duration)
    if rule := _matching_rule(pod, spec.failure_rules):
        return _apply_rule(rule, failure, spec.retry, attempt)
    if reason := reason_beyond_the_job(pod):
        return CannotStart(reason, failure.message)
    if attempt <= spec.retry.limit:
        return _retry(failure, spec.retry, attempt)
    return _error(failure)


def decide_gone(*, in_target: bool, existed: bool) -> Outcome:
    """The outcome of a pod that does not exist, or that is given up on; `existed` unless it never did."""
    if in_target:
        return Complete(None, "the row was made before the pod was lost")
    if existed:
        return Disrupted("PodLost", "the pod is gone and left no row")
    return Disrupted("NotStarted", "its pod was never created")


def has_ended(pod: PodView) -> bool:
    """Whether no container of the pod runs or ever will.

    A terminating pod that was never bound to a node counts: the API server refuses to bind it.
    """
    return pod.is_finished or (pod.deleting_since is not None and not pod.node)


def needs_log(pod: PodView) -> bool:
    """Whether the pod's log has something to say that its status does not."""
    return pod.termination is not None and not pod.termination.message


def reason_beyond_the_job(pod: PodView) -> str | None:
    """Why a failed pod says nothing of its job: it never ran, or whatever the key it would have failed."""
    ended = pod.termination
    if ended is None:  # rejected by the kubelet, or its deadline passed before it started
        return pod.reason or "NeverStarted"
    if ended.reason in _NEVER_RAN:
        return ended.reason
    if parse_termination_message(ended.message) is None:
        return None  # the user's own command: its exit codes have no meaning for the operator
    return {EXIT_CONFIGURATION: "RunnerConfiguration", EXIT_DATABASE: "RunnerDatabase"}.get(ended.exit_code)


def retry_delay(retry: Retry, attempt: int) -> float:
    """Seconds until the retry of a job whose attempt number `attempt` failed: doubled each time, capped."""
    doublings = min(attempt - 1, 64)  # far beyond any cap, and within what a float holds
    return min(retry.backoff_seconds * 2.0**doublings, retry.max_backoff_seconds)


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    stack: str
    duration: float | None
    is_oom: bool


def _describe_failure(pod: PodView, spec: PopulateQueueSpec, log: str) -> _Failure:
    ended = pod.termination
    reported = parse_termination_message(ended.message) if ended else None
    is_oom = bool(ended and ended.reason == "OOMKilled")
    if reported and pod.reason != "DeadlineExceeded":
        message, stack = reported.message, reported.stack or log
    elif reported:  # the runner knows only that it was told to stop
        message, stack = _failure_message(pod, spec, ""), reported.stack
    else:
        stack = (ended.message if ended else "") or log
        message = _failure_message(pod, spec, stack)
    return _Failure(message, stack, _duration(ended), is_oom)


def _failure_message(pod: PodView, spec: PopulateQueueSpec, tail: str) -> str:
    ended = pod.termination
    if pod.reason == "DeadlineExceeded":
        limit = spec.active_deadline_seconds
        allowed = f"activeDeadlineSeconds, {limit}" if limit else "its active deadline"
        return f"DeadlineExceeded: the pod ran longer than {allowed}"
    if ended is None:
        return f"{pod.reason or pod.phase}: {pod.message or 'the pod ended before its container started'}"
    if ended.reason == "OOMKilled":
        limit_text = f" {pod.memory_limit}" if pod.memory_limit else ", which is the node's: set a limit"
        return f"OOMKilled: container {ended.container} exceeded its memory limit{limit_text}"
    if pod.reason:  # Evicted and the like tell more than the container's exit code
        return f"{pod.reason}: {pod.message}"
    what = f"{ended.reason or 'Error'}: container {ended.container} ended with exit code {ended.exit_code}"
    lines = [line for line in tail.splitlines() if line.strip()][-LOG_LINES_IN_MESSAGE:]
    return "\n".join([what + (":" if lines else ""), *lines])


def _disruption(pod: PodView) -> Disrupted | None:
    if pod.disruption:
        return Disrupted(pod.disruption, pod.message or "the pod was disrupted")
    if pod.deleting_since is not None and not _failed_by_itself(pod):
        if pod.started_at is None:
            return Disrupted("NotStarted", "the pod was deleted before it started")
        return Disrupted("Deleted", "the pod was deleted before it ended")
    if _was_start_interrupted(pod):
        return Disrupted("StartInterrupted", "the kubelet was restarted while it started the container")
    reason = pod.reason if pod.reason in _DISRUPTIONS else pod.termination and pod.termination.reason
    if reason not in _DISRUPTIONS or _exceeded_own_limit(pod) or _was_rejected(pod):
        return None
    return Disrupted(reason, pod.message or "the pod was disrupted")


def _failed_by_itself(pod: PodView) -> bool:
    """Whether it had failed whoever deleted it then; an exit code alone may be the answer to SIGTERM."""
    is_oom = pod.termination is not None and pod.termination.reason == "OOMKilled"
    return is_oom or pod.reason == "DeadlineExceeded"


def _was_start_interrupted(pod: PodView) -> bool:
    ended = pod.termination
    return ended is not None and ended.reason in _NEVER_RAN and _INTERRUPTED in ended.message


def _was_rejected(pod: PodView) -> bool:
    """Whether the kubelet would not take it, as under disk pressure: the next may be sent to the same node.

    A pod that was taken and then ended before its start carries a DisruptionTarget condition.
    """
    return pod.termination is None and pod.started_at is None


def _exceeded_own_limit(pod: PodView) -> bool:
    """Whether the kubelet evicted it for its own disk use: it would do so again, so it counts as a failure.

    An eviction for the node's sake carries a DisruptionTarget condition (Kubernetes 1.26 and newer) and
    says that the node was low on a resource.
    """
    return pod.reason == "Evicted" and "limit" in pod.message


def _matching_rule(pod: PodView, rules: tuple[FailureRule, ...]) -> FailureRule | None:
    code = pod.termination.exit_code if pod.termination else None
    reasons = {pod.reason, pod.termination.reason if pod.termination else ""}
    matches = (
        rule for rule in rules if code in (rule.exit_codes or ()) or reasons.intersection(rule.reasons or ())
    )
    return next(matches, None)


def _apply_rule(rule: FailureRule, failure: _Failure, retry: Retry, attempt: int) -> Outcome:
    match rule.action:
        case "Retry":
            return _retry(failure, retry, attempt)
        case "Error":
            return _error(failure)
        case "Ignore":
            return Ignored(failure.message)


def _error(failure: _Failure) -> Failed:
    return Failed(failure.message, failure.stack, failure.duration)


def _retry(failure: _Failure, retry: Retry, attempt: int) -> RetryLater:
    return RetryLater(retry_delay(retry, attempt), failure.message, failure.stack, failure.is_oom)


def _duration(ended: Termination | None) -> float | None:
    if ended is None or ended.started_at is None or ended.finished_at is None:
        return None
    if ended.reason in _NEVER_RAN:  # containerd dates their start 1970
        return None
    return (ended.finished_at - ended.started_at).total_seconds()
