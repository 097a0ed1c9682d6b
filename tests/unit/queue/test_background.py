"""Refreshes and counts beside the passes.

- one refresh at a time; what is asked for meanwhile is done afterwards
- what queues that are gone had reserved is given back, where all are seen that may be there
- one count at a time; what changes meanwhile is counted afterwards, and a failure is not tried again at once
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from populate_operator.jobs import DatabaseUnreachable
from populate_operator.pods.errors import Refused
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.view import PodView
from populate_operator.queue.background import Background
from populate_operator.queue.clock import utc_now
from populate_operator.queue.memory import Memory
from populate_operator.queue.progress import build_target
from populate_operator.queue.services import Services
from populate_operator.queue.status import JobCounts, LastRefresh
from populate_operator.queue.store import Figures, QueueStore
from tests.unit.queue.builders import NOW, make_pod, make_spec
from tests.unit.queue.stand_in import StandIn

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "uid-1")
NOTHING_NEW = LastRefresh(time=NOW, seconds=0.1, added=0, removed=0, orphaned=0, re_pended=0)


@dataclass
class SlowStore:
    """Its refreshes end when they are let."""

    is_away: bool = False
    begun: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def refresh(self, _spec: object) -> LastRefresh:
        self.begun += 1
        await self.may_end.wait()
        if self.is_away:
            raise DatabaseUnreachable("away")
        return NOTHING_NEW

    async def figures(self, _now: object) -> Figures:
        await self.refresh(None)
        return Figures(JobCounts(), build_target(0, 0), ())

    others: dict[str, str] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)

    async def other_owners(self) -> dict[str, str]:
        return self.others

    async def release_owner(self, owner: str, *, except_hosts: Sequence[str]) -> int:
        assert except_hosts == ["pod-a"]
        self.released.append(owner)
        return 1


@dataclass
class Server(StandIn):
    """What the API server and the watch say of other queues."""

    living: frozenset[str] = frozenset()
    hidden: str = ""  # a namespace that may not be looked into
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def homes(self) -> tuple[str, ...]:
        return ("lab", "other")

    async def list_uids(self, namespaces: tuple[str, ...]) -> frozenset[str]:
        self.asked.append(namespaces)
        if self.hidden in namespaces:
            raise Refused("no rights there")
        return self.living

    def pods_of(self, queue_uid: str) -> list[PodView]:
        return [make_pod(queue_uid=queue_uid)]


@dataclass
class Scene:
    server: Server
    memory: Memory
    store: SlowStore
    woken: asyncio.Event
    background: Background

    def ask(self, *, is_wanted: bool = True) -> None:
        """A pass finds that a refresh is due, because someone wants it or by its interval."""
        self.memory.refresh_requested = is_wanted
        self.background.refresh(make_spec(), cast(QueueStore, self.store))

    async def let_end(self) -> None:
        self.store.may_end.set()
        await self.woken.wait()


@pytest.fixture
def scene() -> Scene:
    server, memory, woken = Server(), Memory(), asyncio.Event()
    background = Background(QUEUE, cast(Services, server), memory, woken.set)
    return Scene(server, memory, SlowStore(), woken, background)


async def test_a_refresh_answers_what_was_asked_before_it(scene: Scene) -> None:
    scene.ask()
    await scene.let_end()
    assert not scene.memory.refresh_requested


async def test_what_is_asked_meanwhile_is_asked_again_afterwards(scene: Scene) -> None:
    scene.ask()
    await asyncio.sleep(0)
    scene.ask()
    assert not scene.memory.refresh_requested  # or every pass until then would try
    await scene.let_end()
    assert scene.store.begun == 1
    assert scene.memory.refresh_requested

    scene.woken.clear()
    scene.ask()
    await scene.let_end()
    assert (scene.store.begun, scene.memory.refresh_requested) == (2, False)


async def test_an_interval_that_is_over_meanwhile_asks_for_nothing_more(scene: Scene) -> None:
    scene.ask()
    await asyncio.sleep(0)
    scene.ask(is_wanted=False)
    await scene.let_end()
    assert not scene.memory.refresh_requested


@pytest.mark.parametrize(("hidden", "released"), [("", ["gone"]), ("other", [])])
async def test_jobs_of_queues_that_are_surely_gone_are_given_back(
    scene: Scene, hidden: str, released: list[str]
) -> None:
    scene.store.others = {"gone": "uid-gone", "lives": "uid-lives"}
    scene.server.living, scene.server.hidden = frozenset({"uid-lives"}), hidden
    scene.ask()
    await scene.let_end()
    assert scene.server.asked == [("lab", "other")]
    assert scene.store.released == released
    assert scene.memory.last_refresh == NOTHING_NEW


async def test_what_changes_while_jobs_are_counted_is_counted_afterwards(scene: Scene) -> None:
    scene.background.count(cast(QueueStore, scene.store))
    await asyncio.sleep(0)
    scene.background.count(cast(QueueStore, scene.store))
    scene.memory.note_change()
    await scene.let_end()
    assert scene.store.begun == 1
    assert scene.memory.figures is not None
    assert scene.memory.are_figures_stale


async def test_a_count_that_fails_wakes_nobody(scene: Scene) -> None:
    scene.store.is_away = True
    scene.store.may_end.set()
    scene.background.count(cast(QueueStore, scene.store))
    while not scene.memory.has_count_failed:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    assert not scene.woken.is_set()
    assert not scene.memory.are_figures_due(utc_now(), is_idle=True)


async def test_a_failed_refresh_is_tried_again(scene: Scene) -> None:
    scene.store.is_away = True
    scene.ask()
    await scene.let_end()
    assert scene.memory.refresh_requested
    assert scene.memory.refresh_trouble is not None
