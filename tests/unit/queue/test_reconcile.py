"""The frame of a pass: a queue is held before anything is begun for it.

The API server here records what it is asked; the real one is in tests/integration and tests/e2e.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from populate_operator.pods.errors import Conflict
from populate_operator.pods.names import QUEUE_FINALIZER
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.reconcile import Reconciler
from populate_operator.queue.services import Services
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "queue-uid")


@dataclass
class Server(StandIn):
    """The parts of Services that a pass of a queue with a bad spec uses; each answer is that of one PATCH."""

    answers: list[bool | Conflict] = field(default_factory=list)
    statuses: int = 0

    async def set_finalizer(self, _queue: QueueRef, _metadata: Mapping[str, Any], *, present: bool) -> bool:
        assert present
        answer = self.answers.pop(0)
        if isinstance(answer, Conflict):
            raise answer
        return answer

    async def patch_status(self, _queue: QueueRef, _status: Mapping[str, Any]) -> None:
        self.statuses += 1


def body(version: str = "1", *finalizers: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "generation": 1, "finalizers": finalizers}, "spec": {}}


def reconciler(server: Server) -> Reconciler:
    return Reconciler(QUEUE, cast(Services, server), lambda: None)


@pytest.mark.parametrize("answer", [Conflict("changed"), False], ids=["changed", "gone"])
async def test_nothing_is_begun_for_a_queue_that_is_not_held(answer: bool | Conflict) -> None:
    server = Server([answer])
    one = reconciler(server)
    one.observe(body())
    assert await one.reconcile() == 1.0
    assert server.statuses == 0


async def test_a_queue_is_held_once_however_late_the_watch_tells() -> None:
    server = Server([Conflict("changed"), True])
    one = reconciler(server)
    for version in ("1", "2", "2"):
        one.observe(body(version))
        await one.reconcile()
    assert (server.answers, server.statuses) == ([], 1)
    one.observe(body("3", QUEUE_FINALIZER))
    await one.reconcile()


async def test_a_finalizer_that_somebody_takes_is_set_again() -> None:
    server = Server([True, True])
    one = reconciler(server)
    for version in ("1", "3"):
        one.observe(body(version))
        await one.reconcile()
    assert server.answers == []
