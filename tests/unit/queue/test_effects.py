"""Single effects whose answers are not as hoped for.

- a template whose pods a policy relabels is rejected: the watch would not tell of them
- jobs that are due and locked by others are no change, or counting and claiming would go on without a pause
- pods that the API server has not said yes or no to are a trouble of the pass
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

import pytest

from populate_operator.pods.errors import Unreachable
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.session import JsonObject
from populate_operator.pods.view import PodView
from populate_operator.queue import plan as p
from populate_operator.queue.effects import Effects
from populate_operator.queue.memory import Memory
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.services import Services
from populate_operator.queue.store import QueueStore
from populate_operator.queue.tidying import Tidier
from tests.unit.queue.builders import make_job, make_pod, make_spec
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "queue-uid")


@dataclass
class Server(StandIn):
    """The parts of Services and QueueStore that these effects use."""

    proved: PodView | None = None
    published: list[str] = field(default_factory=list)

    @property
    def events(self) -> Self:
        return self

    def pods_of(self, _queue_uid: str) -> list[PodView]:
        return []

    async def prove(self, _pod: JsonObject) -> PodView | None:
        return self.proved

    async def publish(self, _queue: QueueRef, _kind: str, reason: str, _message: str) -> None:
        self.published.append(reason)

    async def reserve(self, _limit: int, *, queue: str, version: str) -> list[p.Reservation]:
        return []

    async def create(self, _pod: JsonObject, _fence: Callable[[], None]) -> PodView:
        raise Unreachable("504", status=504)


async def apply(server: Server, memory: Memory, actions: Sequence[p.Action]) -> p.Observed:
    services = cast(Services, server)
    factory = PodFactory(QUEUE, make_spec(), "table")
    effects = Effects(
        QUEUE, services, memory, cast(QueueStore, server), factory, Tidier(services, lambda: None)
    )
    return await effects.apply(actions, p.Observed(due=1, template_proved=False))


@pytest.mark.parametrize(
    "pod", [make_pod(is_labelled=False), make_pod(queue_uid="other")], ids=["labels", "owner"]
)
async def test_a_template_whose_pods_are_relabelled_is_rejected(pod: PodView) -> None:
    server, memory = Server(pod), Memory(known_template="template")
    observed = await apply(server, memory, [p.ProveTemplate()])
    assert observed.backoff.reason == "TemplateRejected"
    assert "exempt them" in observed.backoff.message
    assert server.published == ["TemplateRejected"]
    assert not memory.is_template_proved


@pytest.mark.parametrize("pod", [make_pod(), None], ids=["as it was sent", "its name is taken"])
async def test_a_template_whose_pod_is_let_in_is_proved(pod: PodView | None) -> None:
    memory = Memory(known_template="template")
    observed = await apply(Server(pod), memory, [p.ProveTemplate()])
    assert (observed.template_proved, memory.is_template_proved) == (True, True)


async def test_jobs_that_others_have_locked_are_no_change() -> None:
    memory = Memory()
    before = memory.changes
    observed = await apply(Server(), memory, [p.Reserve(1)])
    assert (observed.due, memory.changes) == (0, before)


async def test_a_creation_without_an_answer_is_a_trouble_of_the_pass() -> None:
    with pytest.raises(Unreachable, match="504"):
        await apply(Server(), Memory(), [p.CreatePod(make_job("a"))])
