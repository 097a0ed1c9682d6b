"""Refreshes and counts beside the passes.

- one refresh at a time; what is asked for meanwhile is done afterwards
- one count at a time; what changes meanwhile is counted afterwards, and a failure is not tried again at once
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from populate_operator.jobs import DatabaseUnreachable
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.background import Background
from populate_operator.queue.clock import utc_now
from populate_operator.queue.memory import Memory
from populate_operator.queue.progress import build_target
from populate_operator.queue.services import Services
from populate_operator.queue.status import JobCounts, LastRefresh
from populate_operator.queue.store import Figures, QueueStore
from tests.unit.queue.builders import NOW, make_spec
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

    async def other_owners(self) -> dict[str, str]:
        return {}


@dataclass
class Scene:
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
    memory, woken = Memory(), asyncio.Event()
    background = Background(QUEUE, cast(Services, StandIn()), memory, woken.set)
    return Scene(memory, SlowStore(), woken, background)


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
