"""Sixteen processes claim twenty thousand keys, half of them one by one and half in batches.

- none is claimed twice, none is left over, and every reservation carries its claimant's mark
- claimants are killed (kill -9) in between: what they held stays theirs, nothing else is disturbed
- connections are killed all the time: every claim is still held by the one who was told that he has it
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pymysql
import pytest

from dev.databases import Database, Server
from populate_operator.jobs import Job, JobTable
from tests.integration.jobs.arena import create_work, rows
from tests.integration.jobs.race_course import Claimant, race

KEYS = 20_000
FEWER_KEYS = 6_000
WAYS = ["reserve", "reserve_many"] * 8


def refreshed(database: Database, keys: int) -> JobTable:
    table = create_work(database, keys)
    assert table.refresh()["added"] == keys
    return table


def reservations(table: JobTable, keys: int) -> dict[int, Job]:
    """Every job by its key, all of them reserved and none lost."""
    progress = table.progress()
    assert (progress["reserved"], progress["total"]) == (keys, keys)
    return {int(str(job.key["item_id"])): job for job in table.reserved}


def assert_holds_what_it_claimed(claimant: Claimant, jobs: dict[int, Job]) -> None:
    assert sorted(claimant.claimed) == sorted(key for key, job in jobs.items() if claimant.owns(job))


def test_no_key_is_claimed_twice_and_none_is_lost(database: Database) -> None:
    table = refreshed(database, KEYS)
    with race(database.server, table, WAYS) as (claimants, _):
        assert [claimant.finish() for claimant in claimants] == [0] * len(claimants)
    jobs = reservations(table, KEYS)
    for claimant in claimants:
        assert_holds_what_it_claimed(claimant, jobs)
    by_way = {way: sum(len(c.claimed) for c in claimants if c.way == way) for way in WAYS}
    assert all(by_way.values()), "one way took no part in the race"
    fences = {job.fence for job in jobs.values() if job.host.startswith("claimant-")}
    assert len(fences) == by_way["reserve_many"]


def test_killed_claimants_disturb_nobody(database: Database) -> None:
    table = refreshed(database, FEWER_KEYS)
    with race(database.server, table, WAYS) as (claimants, progress):
        killed, others = claimants[4:8], claimants[:4] + claimants[8:]
        for number, claimant in enumerate(killed):
            progress.wait_for(500 * (number + 1))
            claimant.process.kill()
        assert [claimant.finish() for claimant in killed] == [-9] * len(killed)
        assert [claimant.finish() for claimant in others] == [0] * len(others)
    jobs = reservations(table, FEWER_KEYS)
    for claimant in others:
        assert_holds_what_it_claimed(claimant, jobs)
    for claimant in killed:  # it may have died between its last commit and its last word
        assert set(claimant.claimed) <= {key for key, job in jobs.items() if claimant.owns(job)}
    assert sum(any(claimant.owns(job) for claimant in claimants) for job in jobs.values()) == len(jobs)


@pytest.fixture
def racer(database: Database) -> Iterator[Server]:
    """An account of the race's own, by which its connections are known."""
    server = database.server
    racer = replace(server, user=f"racer_{database.name[-12:]}", password="secret")
    with server.connect() as connection:
        rows(connection, f"CREATE USER {racer.user}@'%%' IDENTIFIED BY %s", (racer.password,))
        rows(connection, f"GRANT ALL ON `{database.name}`.* TO {racer.user}@'%%'")
        yield racer
        rows(connection, f"DROP USER {racer.user}@'%%'")


@contextlib.contextmanager
def connections_dying(server: Server, user: str) -> Iterator[list[int]]:
    """Kill one connection of an account after another, whatever it does; yields their ids."""
    killed: list[int] = []
    is_over = threading.Event()
    query = "SELECT id FROM information_schema.processlist WHERE user = %s ORDER BY RAND() LIMIT 1"

    def kill() -> None:
        with server.connect() as connection:
            while not is_over.wait(0.1):
                for (number,) in rows(connection, query, (user,)):
                    with contextlib.suppress(pymysql.err.OperationalError):  # it ended by itself meanwhile
                        rows(connection, "KILL %s", (number,))
                        killed.append(number)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()


def test_killed_connections_lose_nothing(database: Database, racer: Server) -> None:
    table = refreshed(database, FEWER_KEYS)
    with race(racer, table, WAYS) as (claimants, progress):
        progress.wait_for(500)  # one that has yet to connect is told at once that it cannot
        with connections_dying(database.server, racer.user) as killed:
            assert [claimant.finish() for claimant in claimants] == [0] * len(claimants)
    assert killed
    jobs = reservations(table, FEWER_KEYS)
    for claimant in claimants:
        assert_holds_what_it_claimed(claimant, jobs)
