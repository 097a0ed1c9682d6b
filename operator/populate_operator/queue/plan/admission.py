"""Starting: the pods of reservations that have none, and new reservations as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from populate_operator.queue.outcome import decide_gone
from populate_operator.queue.plan.actions import (
    Action,
    CheckGone,
    CheckTarget,
    CreatePod,
    ProveTemplate,
    Reserve,
    Settle,
)
from populate_operator.queue.plan.handover import Displaced
from populate_operator.queue.plan.lifecycle import is_active
from populate_operator.queue.plan.observed import Observed, Reservation
from populate_operator.queue.resource import PopulateQueueSpec

# A reservation older than this whose pod does not exist is an orphan; a younger one was cut short by a
# crash between the reservation and the creation of its pod, which is made up for.
GRACE_SECONDS = 60.0


def plan_admission(
    spec: PopulateQueueSpec, observed: Observed, now: datetime, displaced: Displaced
) -> Iterator[Action]:
    """Give each reservation its pod or give the reservation back; reserve more where there is room.

    A template is proved as soon as it is seen, so that a bad one is told of before there is a job for it.
    """
    is_proved = observed.template_proved
    if not is_proved and not observed.is_deleting and not observed.backoff.is_pausing(now):
        yield ProveTemplate()
    podless = _podless(observed, displaced)
    # One whose pod is not surely gone may run still, as where somebody has taken the labels of pods.
    doubtful = [job for job in podless if not _is_fresh(job, observed) and job.pod not in observed.gone]
    room = max(_room(spec, observed, now) - len(doubtful), 0)
    wanted = [job for job in podless if _is_fresh(job, observed)][:room]
    names = {job.pod for job in wanted}
    surplus = [job for job in podless if job.pod not in names]
    yield from _plan_orphans(surplus, observed)
    if not is_proved:
        return
    yield from (CreatePod(job) for job in wanted)
    free = min(room - len(wanted), observed.due)
    if free > 0 and observed.key_source_known:  # else the class may refuse them
        yield Reserve(free)


def _podless(observed: Observed, displaced: Displaced) -> list[Reservation]:
    """Reservations that lack a pod, but for those whose key another pod is at work on."""
    taken = {job.pod for job in displaced.values()} | observed.refused.keys()
    return [job for job in observed.jobs if not observed.pod_of(job) and job.pod not in taken]


def _is_fresh(job: Reservation, observed: Observed) -> bool:
    return job.age <= GRACE_SECONDS and job.pod not in observed.seen


def _room(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> int:
    """How many pods may be created, those of reservations that exist included."""
    if (
        spec.suspend
        or observed.is_deleting
        or observed.reservations is None
        or observed.backoff.is_pausing(now)
    ):
        return 0
    active = [pod for pod in observed.pods.values() if is_active(pod, spec, now)]
    room = spec.parallelism - len(active)
    if observed.backoff.is_probing:
        # One that is on its way out starts no more: on a lost node it would hold up all others.
        starting = [pod for pod in active if pod.started_at is None and pod.deleting_since is None]
        room = min(room, 1 - len(starting))
    return max(room, 0)


def _plan_orphans(jobs: list[Reservation], observed: Observed) -> Iterator[Action]:
    """Give back the jobs whose pods do not exist, once a live GET has confirmed it."""
    unconfirmed = tuple(job.pod for job in jobs if job.pod not in observed.gone)
    confirmed = [job for job in jobs if job.pod in observed.gone]
    unknown = tuple(job for job in confirmed if job.pod not in observed.in_target)
    if unconfirmed:
        yield CheckGone(unconfirmed)
    if unknown:
        yield CheckTarget(unknown)
    for job in confirmed:
        if job.pod in observed.in_target:
            yield Settle(
                job, decide_gone(in_target=observed.in_target[job.pod], existed=not _is_fresh(job, observed))
            )
