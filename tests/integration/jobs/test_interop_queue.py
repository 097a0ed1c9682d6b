"""DataJoint and we on the same rows.

- DataJoint's workers, ours one by one and ours in batches race on one queue: each key is made exactly once,
  what cannot be made is an error once, and both sides read those errors alike
- messages and stacks written by one side are read by the other: short, over 1000 bytes, not ASCII, too long
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.databases import Database, Server
from populate_operator.jobs import Error, Job, JobTable
from tests.integration.jobs.arena import account, datajoint, rows
from tests.integration.jobs.interop_pipeline import (
    SAMPLES,
    TOO_NOISY,
    declare_measurement,
    is_noisy,
)
from tests.integration.jobs.race_course import workers

WAYS = ["populate", "reserve", "reserve_many"] * 2
NOISY = {sample for sample in range(SAMPLES) if is_noisy(sample)}
KEY = {"sample_id": 3}
TEXTS = {
    "plain": ("ValueError: bad voltage", "Traceback (most recent call last):\n  ..."),
    "empty": ("", ""),
    "999-bytes": ("x", "t" * (999 - 13)),
    "1001-bytes": ("x", "t" * (1001 - 13)),
    "long-stack": ("x", "  File 'pipeline.py', line 7, in make\n" * 500),
    "not-ascii": ("ValueError: Überspannung 過電圧 🔥", "строка Ω\n" * 300),
    "longest": ("ü" * 2047, "t"),
    "too-long": ("ü" * 2048, "t"),
}


@pytest.fixture
def measurement(server: Server, database: Database) -> Iterator[Any]:
    """DataJoint's class, with samples and a queue of them."""
    instance = datajoint(server)
    tables = declare_measurement(instance, database.name)
    tables["Sample"].insert([{"sample_id": number} for number in range(SAMPLES)])
    tables["Measurement"]().jobs.refresh(delay=-1)
    yield tables["Measurement"]
    instance.connection.close()


@pytest.fixture
def table(database: Database, measurement: Any) -> JobTable:
    """Ours, on the same queue."""
    return JobTable(account(database.server), schema=database.name, table="Measurement")


def test_each_key_is_made_exactly_once(database: Database, measurement: Any, table: JobTable) -> None:
    with workers("tests.integration.jobs.interop_worker", database.server, table, WAYS) as started:
        for worker in started:
            print("go", file=worker.process.stdin, flush=True)
        spoken = [worker.process.communicate()[0] for worker in started]
    assert [worker.process.returncode for worker in started] == [0] * len(WAYS)

    with database.connect() as connection:
        target = dict(rows(connection, "SELECT sample_id, worker FROM __measurement"))
    assert target.keys() == set(range(SAMPLES)) - NOISY
    for way in ("reserve", "reserve_many"):
        said = [
            key for w, words in zip(started, spoken, strict=True) if w.way == way for key in json.loads(words)
        ]
        assert Counter(said) == Counter(key for key, worker in target.items() if worker == way)
    assert table.progress() | {"error": 0, "total": 0} == dict.fromkeys(table.progress(), 0)
    theirs = measurement().jobs.errors.to_dicts()
    assert {row["sample_id"] for row in theirs} == NOISY
    assert {row["error_message"] for row in theirs} == {f"ValueError: {TOO_NOISY}"}
    assert {job.error_message for job in table.errors} == {f"ValueError: {TOO_NOISY}"}
    assert {job.key["sample_id"]: job.error_stack for job in table.errors} == {
        row["sample_id"]: row["error_stack"] for row in theirs
    }


def written_by_us(measurement: Any, table: JobTable, message: str, stack: str) -> None:
    assert table.reserve(KEY)
    assert table.error(KEY, message, stack)


def settled_by_us(measurement: Any, table: JobTable, message: str, stack: str) -> None:
    jobs: list[Job] = table.reserve_many(SAMPLES, owner="o", hosts=[f"h{n}" for n in range(SAMPLES)])
    [job] = [job for job in jobs if job.key == KEY]
    assert table.settle([Error(job.key, job.fence, message, stack)]) == [True]


def written_by_datajoint(measurement: Any, table: JobTable, message: str, stack: str) -> None:
    assert measurement().jobs.reserve(KEY)
    measurement().jobs.error(KEY, message, stack)


@pytest.mark.parametrize("write", [written_by_us, settled_by_us, written_by_datajoint])
@pytest.mark.parametrize(("message", "stack"), TEXTS.values(), ids=TEXTS)
def test_messages_are_read_by_the_other_side(
    measurement: Any, table: JobTable, write: Callable[..., None], message: str, stack: str
) -> None:
    write(measurement, table, message, stack)

    cut = message if len(message) <= 2047 else message[: 2047 - len("...truncated")] + "...truncated"
    [theirs] = (measurement().jobs.errors & KEY).to_dicts()
    assert (theirs["error_message"], theirs["error_stack"]) == (cut, stack)
    [ours] = table.errors.where(KEY)
    assert (ours.error_message, ours.error_stack) == (cut, stack)
