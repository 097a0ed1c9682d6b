"""A silent database: told in time, asked one thing at a time, used again as soon as it answers.

It has as many threads as it holds; queues that find none are told the same, and those at other servers go on.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from populate_operator.jobs import Database, DatabaseUnreachable, JobTable
from populate_operator.queue import store
from populate_operator.queue.store import QueueStore
from populate_operator.queue.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(1)
    yield threads
    threads.close()


def queue_at(host: str, threads: Threads) -> QueueStore:
    """One of the queues at that server."""
    table = JobTable(Database(host=host, user="ada", password="x"), schema="lab", table="Spikes")
    return QueueStore(table, owner="owner", lane=threads.lane(host))


@pytest.fixture
def queue(threads: Threads) -> QueueStore:
    return queue_at("db.example", threads)


async def test_a_late_answer_is_told_and_awaited_before_anything_else(
    queue: QueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.01)
    answers, asked = threading.Event(), list[str]()

    def silent() -> None:
        asked.append("silent")
        answers.wait()

    for _ in range(3):
        with pytest.raises(DatabaseUnreachable, match=r"ada@db\.example:3306: no answer.*network"):
            await queue._promptly(silent)

    monkeypatch.setattr(store, "ANSWER_SECONDS", 60.0)
    asyncio.get_running_loop().call_soon(answers.set)
    assert await queue._promptly(lambda: "fresh") == "fresh"
    assert asked == ["silent"]


async def test_a_call_whose_connection_is_forgotten_is_helped_before_it_is_late(
    queue: QueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(store, "LOOKS", 1000)
    answers = threading.Event()
    monkeypatch.setattr(Database, "break_off_forgotten", lambda _: answers.set())

    def silent() -> str:
        answers.wait()
        return "again"

    assert await queue._in_thread(silent) == "again"
    answers.clear()
    assert await queue._promptly(silent) == "again"


async def test_a_wait_for_a_thread_is_no_silence(
    queue: QueueStore, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.0)
    free = threading.Event()
    threads.lane("db.example").prompt.submit(free.wait)
    waiting = asyncio.ensure_future(queue._promptly(lambda: "answer"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    monkeypatch.setattr(store, "ANSWER_SECONDS", 60.0)
    free.set()
    assert await waiting == "answer"


async def test_a_silent_server_holds_up_its_own_queues_alone(
    queue: QueueStore, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.01)
    answers, another, begun = threading.Event(), queue_at("db.example", threads), list[str]()
    with pytest.raises(DatabaseUnreachable, match=r"no answer"):
        await queue._promptly(answers.wait)
    for _ in range(2):
        with pytest.raises(DatabaseUnreachable, match=r"no answer"):
            await another._promptly(lambda: begun.append("late"))
    monkeypatch.setattr(store, "ANSWER_SECONDS", 60.0)
    assert await queue_at("other.example", threads)._promptly(lambda: "answer") == "answer"
    answers.set()
    assert await another._promptly(lambda: "again") == "again"
    assert not threads.lane("db.example").late
    assert begun == []  # what nobody waits for any more is not done


async def test_a_server_that_no_queue_names_any_more_has_no_threads(threads: Threads) -> None:
    before = threading.active_count()
    for number in range(9):
        assert await queue_at(f"db{number}.example", threads)._promptly(lambda: "answer") == "answer"
    gc.collect()
    while threading.active_count() > before:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
