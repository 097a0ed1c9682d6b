"""A silent database: told in time, asked one thing at a time, used again as soon as it answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from populate_operator.jobs import Database, DatabaseUnreachable, JobTable
from populate_operator.queue import store
from populate_operator.queue.store import QueueStore
from populate_operator.queue.threads import Threads


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def queue(threads: ThreadPoolExecutor) -> QueueStore:
    table = JobTable(Database(host="db.example", user="ada", password="x"), schema="lab", table="Spikes")
    return QueueStore(table, owner="owner", threads=Threads(threads, threads))


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
    queue: QueueStore, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.0)
    free = threading.Event()
    threads.submit(free.wait)
    waiting = asyncio.ensure_future(queue._promptly(lambda: "answer"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    monkeypatch.setattr(store, "ANSWER_SECONDS", 60.0)
    free.set()
    assert await waiting == "answer"
