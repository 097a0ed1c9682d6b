"""Asking the class beside the passes: what wakes the next pass, what a new image does to the pod of the old.

The pods here are recorded; real ones are in tests/e2e.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from populate_operator.pods import probe
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.view import PodView
from populate_operator.queue import asked, background, backoff
from populate_operator.queue.background import Background
from populate_operator.queue.clock import utc_now
from populate_operator.queue.memory import Memory
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.services import Services
from tests.unit.queue.builders import make_spec, pending_pod, succeeded_pod, termination
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "uid-1")
REPORT = termination(0, "Completed", json.dumps({"key_source": "SELECT 1"}))


@dataclass
class Cluster(StandIn):
    """Its pods wait for a node until they are let end, or their image is found to be missing."""

    runner_script: str = ""
    pods: dict[str, PodView] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    async def ensure_config_map(self, *_what: object) -> str:
        return "runner"

    async def get(self, _namespace: str, name: str) -> PodView | None:
        await asyncio.sleep(0)
        return self.pods.get(name)

    async def create(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.made.append(name)
        self.pods[name] = pending_pod(name, "Unschedulable", "no room", created_at=utc_now())

    async def delete(self, pod: PodView) -> None:
        self.pods.pop(pod.name, None)

    async def log_tail(self, *_place: str, characters: int) -> str:
        return ""[:characters]

    def let_end(self) -> None:
        self.pods = {name: succeeded_pod(name, termination=REPORT) for name in self.pods}

    def lose_image(self) -> None:
        waiting = pending_pod(waiting="ImagePullBackOff", message='Back-off pulling image "ephys:2"').waiting
        self.pods = {name: replace(pod, waiting=waiting) for name, pod in self.pods.items()}


@dataclass
class Scene:
    cluster: Cluster = field(default_factory=Cluster)
    memory: Memory = field(default_factory=Memory)
    passes: int = 0

    def __post_init__(self) -> None:
        self.background = Background(QUEUE, cast(Services, self.cluster), self.memory, self._wake)

    def _wake(self) -> None:
        self.passes += 1

    def ask(self, image: str = "ephys:1", **fields: Any) -> None:
        """A pass of a queue whose class tells the key source."""
        template = {"spec": {"containers": [{"name": "populate", "image": image}]}}
        told = {"keySource": {"fromClass": True}, "runner": {"class": "ephys:SpikeSorting"}}
        spec = make_spec(template=template, **told, **fields)
        self.memory.key_source.take()
        self.background.ask_class(spec, PodFactory(QUEUE, spec, "table"), image)

    async def settle(self) -> None:
        """Let the looks at pods go on for a while."""
        for _ in range(50):
            await asyncio.sleep(0)

    @property
    def told(self) -> tuple[str, str]:
        trouble = self.memory.key_source.trouble
        return (trouble.reason, trouble.message) if trouble else ("", "")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(probe, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(backoff, "FIRST", timedelta(seconds=0.001))
    monkeypatch.setattr(background, "_TICK", 0.0)
    return Scene()


async def test_one_pod_asks_and_says_meanwhile_what_it_waits_for(scene: Scene) -> None:
    scene.ask()
    await scene.settle()
    scene.ask()
    await scene.settle()
    assert len(scene.cluster.made) == 1
    assert scene.passes == 1
    assert scene.told == ("AskingKeySource", f"{asked._ASKING.message}; it waits: Unschedulable: no room")
    scene.cluster.let_end()
    await scene.settle()
    assert (scene.memory.key_source.take(), scene.passes, scene.told) == ("SELECT 1", 2, ("", ""))


async def test_an_image_that_is_missing_is_told_and_its_pod_goes(scene: Scene) -> None:
    scene.ask("ephys:2")
    await scene.settle()
    scene.cluster.lose_image()
    await scene.settle()
    reason, message = scene.told
    assert reason == "KeySourceUnknown"
    assert "given up on: ImagePullBackOff" in message
    assert 'Back-off pulling image "ephys:2"' in message
    assert scene.cluster.pods == {}
    async with asyncio.timeout(5):
        await asyncio.gather(*scene.background._tasks)
    assert scene.passes == 3  # for what it waited for, for the failure, and once its pause is over
    scene.ask("ephys:2")
    await scene.settle()
    assert len(scene.cluster.made) == 2


async def test_a_new_image_is_asked_at_once_and_the_old_pod_goes(scene: Scene) -> None:
    scene.ask("ephys:1")
    await scene.settle()
    (old,) = scene.cluster.pods
    scene.ask("ephys:2")
    await scene.settle()
    (new,) = scene.cluster.pods
    assert new != old
    scene.cluster.let_end()
    await scene.settle()
    assert scene.memory.key_source.news == ("ephys:2", "SELECT 1")


async def test_a_suspended_queue_starts_no_pod_but_reads_an_earlier_answer(scene: Scene) -> None:
    scene.ask(suspend=True)
    await scene.settle()
    assert (scene.cluster.made, scene.passes) == ([], 1)
    assert scene.told[0] == "KeySourceUnknown"
    scene.ask()
    await scene.settle()
    assert len(scene.cluster.made) == 1
    scene.cluster.let_end()

    restarted = Scene(scene.cluster)
    restarted.ask(suspend=True)
    await restarted.settle()
    assert (restarted.memory.key_source.take(), restarted.told) == ("SELECT 1", ("", ""))
    assert len(scene.cluster.made) == 1


async def test_an_operator_that_ends_leaves_the_pod_to_the_next(scene: Scene) -> None:
    scene.ask()
    await scene.settle()
    await scene.background.close()
    assert len(scene.cluster.pods) == 1


async def test_no_pass_is_due_for_figures_that_wait_for_the_answer(scene: Scene) -> None:
    scene.memory.figures_not_before = utc_now()
    scene.ask()
    assert scene.memory.figures_not_before is None
