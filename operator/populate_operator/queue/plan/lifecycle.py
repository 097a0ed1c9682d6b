"""Which of its lives a pod is in, as far as the plan cares."""

from __future__ import annotations

from datetime import datetime, timedelta

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.resource import PopulateQueueSpec

# A kubelet that answers reports the end of a pod within its grace period; deletionTimestamp includes that.
STUCK_AFTER = timedelta(seconds=60)


def is_stuck(pod: PodView, now: datetime) -> bool:
    """Whether it should have ended by now, yet nobody says so: its node is probably lost."""
    return pod.deleting_since is not None and not has_ended(pod) and now - pod.deleting_since > STUCK_AFTER


def is_lost(pod: PodView, spec: PopulateQueueSpec, now: datetime) -> bool:
    """Whether the user allows to give up on it. It may still be running where nobody sees it."""
    timeout = spec.lost_pod_timeout_seconds
    return (
        timeout is not None
        and pod.deleting_since is not None
        and not has_ended(pod)
        and now - pod.deleting_since > timedelta(seconds=timeout)
    )


def is_active(pod: PodView, spec: PopulateQueueSpec, now: datetime) -> bool:
    """Whether it counts against parallelism: waiting to start, running, or terminating."""
    return not has_ended(pod) and not is_lost(pod, spec, now)
