"""A connection breaks at the COMMIT, and nobody knows whether it was done.

For reserve, complete, reserve_many, each settlement, take_back and refresh, whether the server never saw the
COMMIT, did it and could not say so, or does it only after the client is already asking again:
- the caller is told the truth, and no job is claimed twice, lost, or settled twice
- the same without a proxy's help: what was settled once is not settled again under the same fence
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, get_args

import pytest

from dev.databases import Database, Server
from populate_operator.jobs import (
    Complete,
    Error,
    Ignore,
    Job,
    JobTable,
    Release,
    RetryPolicy,
    Settlement,
    Tls,
)
from tests.integration.jobs.arena import account, create_work, rows
from tests.integration.jobs.cutting_proxy import Cut, CuttingProxy

KEYS = 30
OWNER = "populatequeue/outage"
HOSTS = [f"pod-{number}" for number in range(KEYS)]
RETRY = RetryPolicy(attempts=8, base_seconds=0.01, cap_seconds=0.05)


@pytest.fixture
def table(database: Database) -> JobTable:
    """A queue with jobs, seen through a connection that does not break."""
    table = create_work(database, KEYS)
    table.refresh()
    return table


@pytest.fixture(params=get_args(Cut))
def cut(request: pytest.FixtureRequest) -> Cut:
    chosen: Cut = request.param
    return chosen


@pytest.fixture
def through_proxy(
    server: Server, table: JobTable, cut: Cut
) -> Iterator[Callable[[Callable[[JobTable], Any], str], Any]]:
    """Runs one operation on the same queue through a proxy that cuts it at the statement given."""
    proxies: list[CuttingProxy] = []

    def run(operation: Callable[[JobTable], Any], victim: str = "COMMIT") -> Any:
        proxy = CuttingProxy(server, cut, lambda statement: statement.startswith(victim.encode()))
        proxies.append(proxy)
        database = account(server, port=proxy.port, tls=Tls("Disabled"), retry=RETRY)
        ours = JobTable(database, schema=table.schema, table="Work")
        ours.rediscover()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(operation, ours)
            assert proxy.was_cut.wait(60), "the operation had no such statement"
            if cut == "late":
                wait_until_asked_again(server, table, answer)
                proxy.release()
            return answer.result(120)

    yield run
    for proxy in proxies:
        proxy.close()


def wait_until_asked_again(server: Server, table: JobTable, answer: Future[Any]) -> None:
    """Until the operation's second connection is at the locks of the first, or it is through already."""
    asking = f"%`{table.schema}`.`~~work`%"
    query = "SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE %s"
    with server.connect() as connection:
        while not answer.done() and rows(connection, query, (asking,)) == [(0,)]:
            pass  # each look is a round trip; pytest's timeout ends it


def jobs_by_key(table: JobTable) -> dict[int, Job]:
    return {
        int(str(job.key["item_id"])): job
        for query in (table.pending, table.reserved, table.errors, table.completed, table.ignored)
        for job in query
    }


def test_reserve_tells_the_truth(table: JobTable, through_proxy: Callable[..., Any]) -> None:
    assert through_proxy(lambda ours: ours.reserve({"item_id": 3})) is True
    assert [job.key for job in table.reserved] == [table.key({"item_id": 3})]


def test_a_batch_is_reserved_once(table: JobTable, through_proxy: Callable[..., Any]) -> None:
    jobs = through_proxy(lambda ours: ours.reserve_many(10, owner=OWNER, hosts=HOSTS, version="v1"))
    assert len({job.key for job in jobs}) == 10
    assert {(job.key, job.fence, job.attempt) for job in jobs} == {
        (job.key, job.fence, job.attempt) for job in table.reserved
    }
    assert {job.attempt for job in jobs} == {1}
    assert table.pending.count() == KEYS - 10


def test_complete_tells_the_truth(table: JobTable, through_proxy: Callable[..., Any]) -> None:
    assert through_proxy(lambda ours: ours.complete({"item_id": 3})) is True
    assert sorted(jobs_by_key(table)) == [number for number in range(KEYS) if number != 3]
    assert table.complete({"item_id": 3}) is False


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda job: Complete(job.key, job.fence, 1.5), None),
        (lambda job: Error(job.key, job.fence, "ValueError: bad voltage", "trace"), "error"),
        (lambda job: Release(job.key, job.fence, delay=600), "pending"),
        (lambda job: Ignore(job.key, job.fence), "ignore"),
    ],
    ids=["complete", "error", "release", "ignore"],
)
def test_a_settlement_takes_effect_once(
    table: JobTable,
    through_proxy: Callable[..., Any],
    build: Callable[[Job], Settlement],
    expected: str | None,
) -> None:
    reserved = table.reserve_many(10, owner=OWNER, hosts=HOSTS)
    settlements = [build(job) for job in reserved]

    assert through_proxy(lambda ours: ours.settle(settlements)) == [True] * 10

    assert table.settle(settlements) == [False] * 10
    found = jobs_by_key(table)
    for job in reserved:
        after = found.get(int(str(job.key["item_id"])))
        assert (after and after.status) == expected
    assert table.reserved.count() == 0


def test_a_reservation_is_taken_back_once(table: JobTable, through_proxy: Callable[..., Any]) -> None:
    [job] = table.reserve_many(1, owner=OWNER, hosts=HOSTS)
    assert table.settle([Release(job.key, job.fence)]) == [True]

    assert through_proxy(lambda ours: ours.take_back(job.key, fence=job.fence, attempt=1)) is True

    [taken] = table.reserved
    assert (taken.key, taken.fence, taken.attempt) == (job.key, job.fence, 1)


def test_refresh_adds_every_key_once(
    database: Database, table: JobTable, through_proxy: Callable[..., Any]
) -> None:
    with database.connect() as connection:
        rows(connection, "INSERT INTO item VALUES " + ", ".join(f"({KEYS + n})" for n in range(500)))

    through_proxy(lambda ours: ours.refresh(), "INSERT INTO")

    assert sorted(jobs_by_key(table)) == list(range(KEYS + 500))
    assert table.pending.count() == KEYS + 500
