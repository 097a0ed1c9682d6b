"""A live pod takes its job back; one that was settled already, which a late watch has not told, does not.

API server and database here record what they are asked; the real ones are in tests/e2e.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from populate_operator.pods.owner import QueueRef
from populate_operator.pods.view import PodView
from populate_operator.queue.effects import Effects
from populate_operator.queue.memory import Memory
from populate_operator.queue.plan import Observed, Reservation, TakeBack
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.services import Services
from populate_operator.queue.store import QueueStore
from populate_operator.queue.tidying import Tidier
from tests.unit.queue.builders import failed_pod, make_pod, make_spec
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "queue-uid")


@dataclass
class Recorder(StandIn):
    """The parts of Services and QueueStore that taking back uses."""

    pod: PodView | None  # as the API server has it
    is_refused: bool = False
    taken: list[str] = field(default_factory=list)

    def remember(self, _pod: PodView) -> None:
        pass

    def pods_of(self, _queue_uid: str) -> list[PodView]:
        return []

    async def get(self, _namespace: str, _name: str) -> PodView | None:
        return self.pod

    async def take_back(self, pod: PodView, *, version: str) -> Reservation | None:
        self.taken.append(pod.name)
        return None if self.is_refused else Reservation(pod.key, pod.name, pod.attempt, 0.0)


async def take_back(recorder: Recorder) -> Observed:
    """What is known after the taking back for a pod that runs, as far as the watch has told."""
    services = cast(Services, recorder)
    factory = PodFactory(QUEUE, make_spec(), "table")
    tidier = Tidier(services, lambda: None)
    effects = Effects(QUEUE, services, Memory(), cast(QueueStore, recorder), factory, tidier)
    return await effects.apply([TakeBack(make_pod())], Observed())


@pytest.mark.parametrize("pod", [make_pod(), make_pod(has_finalizer=False), failed_pod()])
async def test_one_that_runs_or_has_yet_to_be_settled_has_its_job_again(pod: PodView) -> None:
    observed = await take_back(Recorder(pod))
    assert (observed.reservations or {}).keys() == {"pod-a"}


@pytest.mark.parametrize("pod", [None, failed_pod(has_finalizer=False)])
async def test_one_that_was_settled_changes_nothing(pod: PodView | None) -> None:
    recorder = Recorder(pod)
    assert await take_back(recorder) == Observed()
    assert recorder.taken == []


async def test_a_refusal_is_remembered() -> None:
    observed = await take_back(Recorder(make_pod(), is_refused=True))
    assert observed.held_elsewhere == {"pod-a"}
