"""Finished pods: the newest are kept for their logs, and none for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from populate_operator.pods.view import PodView
from populate_operator.queue.plan.actions import Action, DeletePod
from populate_operator.queue.plan.observed import Observed
from populate_operator.queue.resource import PopulateQueueSpec


def plan_retention(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> Iterator[Action]:
    """Delete released pods beyond podRetention."""
    keep = spec.pod_retention
    released = [
        pod
        for pod in observed.pods.values()
        if pod.is_finished and not pod.has_finalizer and pod.deleting_since is None
    ]
    oldest_kept = now - timedelta(seconds=keep.ttl_seconds)
    for phase, limit in (("Succeeded", keep.succeeded), ("Failed", keep.failed)):
        newest_first = _newest_first(pod for pod in released if pod.phase == phase)
        for rank, pod in enumerate(newest_first):
            if rank >= limit or ended_at(pod) < oldest_kept:
                yield DeletePod(pod, "Retention", "podRetention keeps newer pods only")


def ended_at(pod: PodView) -> datetime:
    """When the pod finished, or was created where it does not say."""
    ended = pod.termination
    return ended.finished_at if ended and ended.finished_at else pod.created_at


def _newest_first(pods: Iterable[PodView]) -> list[PodView]:
    return sorted(pods, key=lambda pod: (ended_at(pod), pod.name), reverse=True)
