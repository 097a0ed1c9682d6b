"""Pods that have ended: settle the job, then let the pod go. And pods whose job is no longer theirs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import decide_gone, decide_outcome, has_ended, needs_log
from populate_operator.queue.plan.actions import (
    Action,
    CheckTarget,
    DeletePod,
    ReadLog,
    ReleasePod,
    Settle,
    TakeBack,
)
from populate_operator.queue.plan.handover import Displaced, plan_handover
from populate_operator.queue.plan.lifecycle import is_lost
from populate_operator.queue.plan.observed import Observed, Reservation
from populate_operator.queue.resource import PopulateQueueSpec


def plan_settlement(
    spec: PopulateQueueSpec, observed: Observed, now: datetime, displaced: Displaced
) -> Iterator[Action]:
    """Settle every job whose pod has ended, was refused by the API server, or is given up on."""
    unknown: list[Reservation] = []
    handed_over = {job.pod for job in displaced.values()}
    for job in observed.jobs:
        pod = observed.pod_of(job)
        if job.pod in handed_over:
            continue
        if pod is None and job.pod in observed.refused:
            yield Settle(job, observed.refused[job.pod])
        elif pod is None or not (has_ended(pod) or is_lost(pod, spec, now)):
            continue
        elif job.pod not in observed.in_target:
            unknown.append(job)
        else:
            yield _settle(spec, observed, job, pod)
    if unknown:
        yield CheckTarget(tuple(unknown))


def _settle(spec: PopulateQueueSpec, observed: Observed, job: Reservation, pod: PodView) -> Action:
    in_target = observed.in_target[job.pod]
    if not has_ended(pod):
        return Settle(job, decide_gone(in_target=in_target, existed=True))
    if not in_target and needs_log(pod) and pod.termination and job.pod not in observed.logs:
        return ReadLog(pod, pod.termination.container)
    log = observed.logs.get(job.pod, "")
    return Settle(job, decide_outcome(pod, spec, in_target=in_target, attempt=job.attempt, log=log))


def plan_unreserved(
    spec: PopulateQueueSpec, observed: Observed, now: datetime, displaced: Displaced
) -> Iterator[Action]:
    """Pods that no reservation names: let go of those that ended; a live one takes its job back, or goes."""
    if observed.reservations is None:
        return
    for pod in observed.pods.values():
        if pod.name in observed.reservations:
            continue
        if has_ended(pod) or is_lost(pod, spec, now):
            yield from _let_go(pod)
        elif pod.deleting_since is None and not observed.is_deleting:
            yield from _reclaim(observed, pod, displaced.get(pod.name))


def _let_go(pod: PodView) -> Iterator[Action]:
    if pod.has_finalizer:
        yield ReleasePod(pod)
    # Given up on: its kubelet will never confirm the end. Forced once, it waits for others' finalizers alone.
    elif not has_ended(pod) and not pod.is_kept_by_others:
        yield DeletePod(pod, "PodLost", "its node does not answer", force=True)


def _reclaim(observed: Observed, pod: PodView, job: Reservation | None) -> Iterator[Action]:
    if pod.name in observed.held_elsewhere:
        yield DeletePod(pod, "JobHeldElsewhere", "its job is ignored, or held by someone else")
    elif job:
        yield from plan_handover(observed, pod, job)
    else:
        yield TakeBack(pod)
