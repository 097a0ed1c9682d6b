"""Reservations that name another pod than the one at work on their key, as a restored jobs table has them.

The pod at work gets the reservation. Without that it would lose its job to a pod that is gone, or a second
one would be made beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import Disrupted
from populate_operator.queue.plan.actions import Action, CheckGone, Settle, TakeBack
from populate_operator.queue.plan.lifecycle import is_active, is_stuck
from populate_operator.queue.plan.observed import Observed, Reservation
from populate_operator.queue.resource import PopulateQueueSpec

Displaced = Mapping[str, Reservation]  # by the name of the pod that is at work on their key instead


def find_displaced(spec: PopulateQueueSpec, observed: Observed, now: datetime) -> Displaced:
    """Reservations whose own pod is not at work while another one is on their key.

    One that terminates counts as long as no pod has been made beside it: until it has ended it may work.
    A queue that is being deleted does not wait for one on a lost node.
    """
    workers = {
        pod.key: pod
        for pod in observed.pods.values()
        if is_active(pod, spec, now) and not (observed.is_deleting and is_stuck(pod, now))
    }
    displaced = {}
    for job in observed.jobs:
        worker, own = workers.get(job.key), observed.pod_of(job)
        if worker is None or worker.name == job.pod or (own and is_active(own, spec, now)):
            continue
        if worker.deleting_since is None or own is None:
            displaced[worker.name] = job
    return displaced


def plan_handover(observed: Observed, pod: PodView, job: Reservation) -> Iterator[Action]:
    """Give `job` to `pod`, in one go, so that it is pending for nobody else in between."""
    if job.pod in observed.pods or job.pod in observed.gone:
        yield Settle(job, Disrupted("HandedOver", f"pod {pod.name} is at work on it"))
        yield TakeBack(pod)
    else:
        yield CheckGone((job.pod,))
