"""A database server that is frozen, with more queues than it has threads: its queues say so, others go on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from dev.databases import Database, Instance, Kind
from populate_operator.jobs import DatabaseUnreachable
from populate_operator.queue import store
from populate_operator.queue.store import QueueStore
from populate_operator.queue.threads import Threads
from tests.integration.jobs.pipelines import Pipeline, build_imaging

THREADS, QUEUES = 2, 5


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(THREADS)
    yield threads
    threads.close()


@pytest.fixture
def create_queues(threads: Threads) -> Iterator[Callable[[Database, int], list[QueueStore]]]:
    """Makes queues that populate one table."""
    made: list[Pipeline] = []

    def create(database: Database, number: int) -> list[QueueStore]:
        pipeline = Pipeline(database)
        made.append(pipeline)
        build_imaging(pipeline)
        pipeline.jobs("Segmentation").refresh()
        lane = threads.lane(f"{database.server.host}:{database.server.port}")
        tables = [pipeline.jobs("Segmentation") for _ in range(number)]
        return [QueueStore(table, owner=str(table), lane=lane) for table in tables]

    yield create
    for pipeline in made:
        pipeline.close()


async def outcomes(queues: list[QueueStore]) -> set[str]:
    """What became of reading all of them at once."""
    ends = await asyncio.gather(*(queue.read() for queue in queues), return_exceptions=True)
    return {"unreachable" if isinstance(end, DatabaseUnreachable) else type(end).__name__ for end in ends}


async def test_a_frozen_server_holds_up_its_own_queues_alone(
    private_server: Callable[[Kind], Instance],
    create_database: Callable[[], Database],
    create_queues: Callable[[Database, int], list[QueueStore]],
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance = private_server(kind)
    there, here = (
        create_queues(Database(instance.server, "lab").create(), QUEUES),
        create_queues(create_database(), 1),
    )
    assert await outcomes([*there, *here]) == {"Reading"}
    assert instance.pid
    os.kill(instance.pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as haste:
            haste.setattr(store, "ANSWER_SECONDS", 2.0)
            for _ in range(2):
                assert await outcomes(there) == {"unreachable"}
        assert await outcomes(here) == {"Reading"}
    finally:
        os.kill(instance.pid, signal.SIGCONT)
    assert await outcomes(there) == {"Reading"}
