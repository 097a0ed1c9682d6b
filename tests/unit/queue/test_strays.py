"""Pods whose queue is gone: released, and tried again where that failed.

The API server here records what it is asked; the real one is in tests/integration and tests/e2e.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
import structlog.testing

from populate_operator.pods.errors import ApiError, Refused, Unreachable
from populate_operator.pods.view import PodView
from populate_operator.queue import strays
from populate_operator.queue.services import Services
from populate_operator.queue.strays import Strays
from tests.unit.queue.builders import make_pod, succeeded_pod
from tests.unit.queue.stand_in import StandIn


@dataclass
class Recorder(StandIn):
    """The parts of Services that Strays uses; each error is that of one call."""

    pods: list[PodView]
    living: frozenset[str] = frozenset()
    list_errors: list[ApiError] = field(default_factory=list)
    release_errors: dict[str, list[ApiError]] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    forbidden: str = ""  # a namespace

    async def list_uids(self, namespaces: Sequence[str]) -> frozenset[str]:
        if self.forbidden in namespaces:
            raise Refused("no rights there")
        if self.list_errors:
            raise self.list_errors.pop(0)
        return self.living

    def pods_of(self, queue_uid: str) -> tuple[PodView, ...]:
        return tuple(pod for pod in self.pods if pod.queue_uid == queue_uid and pod.name not in self.released)

    async def release(self, pod: PodView) -> PodView:
        if errors := self.release_errors.get(pod.name):
            raise errors.pop(0)
        self.released.append(pod.name)
        return pod


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(strays, "LONGEST_PAUSE", 0.02)


async def release(recorder: Recorder, *suspects: str) -> list[str]:
    """Let Strays do all that it will; what it logs."""
    found = Strays(cast(Services, recorder))
    with structlog.testing.capture_logs() as logs:
        for uid in suspects:
            found.suspect(uid)
        async with asyncio.timeout(5):
            await asyncio.gather(
                *(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
            )
    return [f"{one['log_level']}: {one['event']}" for one in logs]


async def test_ended_pods_of_queues_that_are_gone_are_released() -> None:
    pods = [
        succeeded_pod("done", queue_uid="gone"),
        make_pod("runs", queue_uid="gone"),
        succeeded_pod("theirs", queue_uid="lives"),
    ]
    recorder = Recorder(pods, living=frozenset({"lives"}))
    assert await release(recorder, "gone", "lives") == ["info: pods without a queue released"]
    assert recorder.released == ["done"]


async def test_pods_that_could_not_be_released_are_tried_again() -> None:
    pods = [succeeded_pod("a", queue_uid="one"), succeeded_pod("b", queue_uid="two")]
    recorder = Recorder(pods, release_errors={"b": [Unreachable("cut"), Refused("not now")]})
    logs = await release(recorder, "one", "two")
    assert recorder.released == ["a", "b"]
    assert logs == [
        "info: pods without a queue released",
        "warning: pods without a queue not released",
        "warning: pods without a queue not released",
        "info: pods without a queue released",
    ]


async def test_a_list_that_failed_is_tried_again() -> None:
    recorder = Recorder([succeeded_pod("a", queue_uid="one")], list_errors=[Unreachable("cut")])
    logs = await release(recorder, "one")
    assert recorder.released == ["a"]
    assert logs == ["warning: pods without a queue not released", "info: pods without a queue released"]


async def test_a_namespace_without_rights_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [succeeded_pod(name, queue_uid=name, namespace=name) for name in ("lab", "left")]
    recorder = Recorder(pods, forbidden="left")

    def take_rights_back(pause: float) -> None:
        recorder.forbidden = ""

    monkeypatch.setattr(strays.log, "warning", lambda *_, **__: take_rights_back(0))
    await release(recorder, "lab", "left")
    assert recorder.released == ["lab", "left"]
