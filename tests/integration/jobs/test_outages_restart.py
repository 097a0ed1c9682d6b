"""The server goes away in the middle of a refresh.

- stopped in order or crashed, and started again: the refresh ends by itself with every key added once
- reservations that were committed before a crash are there afterwards, under the same fences
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dev.databases import Database, Instance, Kind
from populate_operator.jobs import Complete, JobTable, RetryPolicy
from tests.integration.jobs.arena import account, create_work, rows

KEYS = 20_000
BLOCKED = 15_000  # the key at which the refresh is held up
PATIENT = RetryPolicy(attempts=200, base_seconds=0.05, cap_seconds=1.0)


@pytest.mark.parametrize("outage", [Instance.stop, Instance.kill], ids=["stop", "crash"])
def test_a_refresh_survives_a_restart(
    private_server: Callable[[Kind], Instance], kind: Kind, outage: Callable[[Instance], None]
) -> None:
    instance = private_server(kind)
    database = Database(instance.server, "restarted").create()
    create_work(database, KEYS).ignore({"item_id": 0})  # declares the jobs table
    table = JobTable(account(instance.server, retry=PATIENT), schema=database.name, table="Work")

    blocker = database.connect(autocommit=False)
    rows(blocker, f"INSERT INTO `~~work` (item_id, status, priority) VALUES ({BLOCKED}, 'pending', 1)")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(table.refresh)
        wait_until_under_way(database)
        outage(instance)
        instance.start()
        assert answer.result(300)["added"] == KEYS - 1

    assert table.progress()["pending"] == KEYS - 1
    assert table.progress()["total"] == KEYS


def wait_until_under_way(database: Database) -> None:
    """Until rows of the refresh are there, not yet committed."""
    with database.connect() as connection:
        rows(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        while rows(connection, "SELECT COUNT(*) FROM `~~work`")[0][0] < BLOCKED // 2:
            pass  # each look is a round trip; pytest's timeout ends it


def test_reservations_survive_a_crash(private_server: Callable[[Kind], Instance], kind: Kind) -> None:
    instance = private_server(kind)
    database = Database(instance.server, "crashed").create()
    create_work(database, 100).refresh()
    table = JobTable(account(instance.server, retry=PATIENT), schema=database.name, table="Work")
    reserved = table.reserve_many(60, owner="populatequeue/crash", hosts=[f"pod-{n}" for n in range(60)])

    instance.kill()
    instance.start()

    assert {(job.key, job.fence) for job in table.reserved} == {(job.key, job.fence) for job in reserved}
    assert table.settle([Complete(job.key, job.fence) for job in reserved]) == [True] * 60
    assert table.progress()["total"] == 40
