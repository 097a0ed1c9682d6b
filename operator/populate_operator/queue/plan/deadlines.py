"""Pods that do not start. Deleted first; their job is released only when they have ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import CannotStart, has_ended
from populate_operator.queue.plan.actions import Action, DeletePod
from populate_operator.queue.plan.observed import Observed
from populate_operator.queue.resource import PopulateQueueSpec

# The kubelet goes on trying, but until somebody mends the template or the registry in vain.
_HOPELESS = frozenset(
    {
        "ErrImageNeverPull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
        "CreateContainerConfigError", "CreateContainerError", "CreatePodSandboxError",
    }
)  # fmt: skip
# A busy kubelet has not seen the Secret or ConfigMap yet ("failed to sync secret cache"), and looks again.
_TOO_BUSY = "timed out waiting for the condition"
_GATED = "SchedulingGated"


def plan_deadlines(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> Iterator[Action]:
    """Delete the pods that cannot start, or took longer to start than startDeadlineSeconds."""
    if observed.is_deleting:
        return
    jobs = observed.reservations
    for pod in observed.pods.values():
        if jobs is not None and pod.name not in jobs:
            continue  # whether it may stay at all is another question
        failure = start_failure(pod, spec, now)
        if failure:
            yield DeletePod(pod, failure.reason, failure.message, cannot_start=True)


def start_failure(pod: PodView, spec: PopulateQueueSpec, now: datetime) -> CannotStart | None:
    """Why a waiting pod is given up on; None while it may yet start."""
    if has_ended(pod) or pod.deleting_since is not None or pod.started_at is not None:
        return None
    waiting = pod.waiting
    if waiting and waiting.reason in _HOPELESS and _TOO_BUSY not in waiting.message:
        why = waiting.message or waiting.reason
        message = f"container {waiting.container} cannot start: {why}; mend spec.template or what it names"
        return CannotStart(waiting.reason, message)
    if waiting and waiting.reason == _GATED:
        return None  # an admission system such as Kueue holds it on purpose and will let it go
    if now - pod.may_start_since <= timedelta(seconds=spec.start_deadline_seconds):
        return None
    why = f": {waiting.reason}: {waiting.message}" if waiting else ""
    limit = spec.start_deadline_seconds
    message = f"pod {pod.name} did not start within startDeadlineSeconds, {limit}{why}"
    return CannotStart("StartDeadlineExceeded", message)
