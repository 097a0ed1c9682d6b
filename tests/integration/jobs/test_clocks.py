"""A server whose zone has summer time, and which declares timestamps as MariaDB did before 10.10.

- when a job ended is told in UTC, whatever the zone
- timestamps in a key stay as they are, in a queue that we declare; DataJoint's is refused, for there they
  change with every update
- of the two moments that one text stands for in autumn, the job of the other one is refused by name, and the
  one that is found is left to its worker
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import datajoint as dj
import pytest

from dev.databases import Database, Instance, Kind, Server
from populate_operator.jobs import BadKey, IncompatibleJobsTable, JobTable
from populate_operator.jobs.database import Statement
from tests.integration.jobs.arena import rows
from tests.integration.jobs.pipelines import Pipeline, build_imaging

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
BEFORE, FIRST, SECOND = "2026-10-24 12:00:00", "2026-10-25 00:30:00", "2026-10-25 01:30:00"  # UTC
TWICE = datetime(2026, 10, 25, 2, 30)  # what clocks said at both
KEY = {"at": TWICE}


@pytest.fixture(scope="module")
def zoned(kind: Kind) -> Iterator[Server]:
    """The server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", ZONE)
        instance = Instance(kind, options=["--explicit-defaults-for-timestamp=OFF"])
    with instance:
        yield instance.server


@pytest.fixture
def clocks(zoned: Server) -> Iterator[Pipeline]:
    """Moments, and a table that is computed from them."""
    database = Database(zoned, f"populate_test_{secrets.token_hex(6)}").create()
    clocks = Pipeline(database)
    clocks.declare(dj.Manual, "Moment", "at: timestamp")
    clocks.declare(dj.Computed, "Derived", "-> Moment")
    yield clocks
    clocks.close()
    database.drop()


def insert(clocks: Pipeline, *moments: str) -> None:
    with clocks.server.connect() as connection:
        rows(connection, "SET time_zone = '+00:00'")
        for moment in moments:
            rows(connection, f"INSERT INTO `{clocks.name}`.moment VALUES (%s)", (moment,))


def moments(clocks: Pipeline, where: str = "TRUE") -> set[str]:
    """Those of jobs, in UTC."""
    with clocks.server.connect() as connection:
        rows(connection, "SET time_zone = '+00:00'")
        found = rows(connection, f"SELECT at FROM `{clocks.name}`.`~~derived` WHERE {where}")
    return {str(at) for (at,) in found}


def reserve(jobs: JobTable) -> list[Any]:
    return jobs.reserve_many(9, owner="o", hosts=list("abcdefghi"))


def test_when_a_job_ended_is_told_in_utc(zoned: Server) -> None:
    database = Database(zoned, f"populate_test_{secrets.token_hex(6)}").create()
    pipeline = Pipeline(database)
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    ended = datetime(2026, 1, 15, 11, tzinfo=UTC)
    # The clock of the pool's one connection: what is now may be an hour that comes twice.
    jobs.database.execute(Statement("SET timestamp = %s", (ended.timestamp(),)))
    jobs.error({"subject": 1, "method": "otsu"}, "bad")
    jobs.database.execute(Statement("SET timestamp = DEFAULT"))
    [job] = jobs.errors
    assert (job.completed_at, job.completed_time) == (ended, datetime(2026, 1, 15, 12))
    pipeline.query(f"UPDATE `{database.name}`.`~~segmentation` SET completed_time = '2026-07-01 12:00:00.5'")
    [job] = jobs.errors
    assert job.completed_at == datetime(2026, 7, 1, 10, 0, 0, 500_000, UTC)
    assert all(claimed.completed_at == job.completed_at for claimed in reserve(jobs))
    pipeline.close()
    database.drop()


def test_a_timestamp_that_changes_by_itself_is_refused_and_ours_does_not(clocks: Pipeline) -> None:
    insert(clocks, BEFORE)
    derived, jobs = clocks.tables["Derived"], clocks.jobs("Derived")
    derived().jobs.refresh()
    show = f"SHOW CREATE TABLE `{clocks.name}`.`~~derived`"
    assert "ON UPDATE" in clocks.query(show)[0][1].upper()
    with pytest.raises(IncompatibleJobsTable, match=r"'at' changes.*explicit_defaults_for_timestamp"):
        jobs.refresh()
    derived().jobs.drop()
    assert jobs.refresh()["added"] == 1
    assert "ON UPDATE" not in clocks.query(show)[0][1].upper()
    assert len(reserve(jobs)) == 1
    assert moments(clocks) == {BEFORE}
    assert len(derived().jobs.reserved) == 1


def other_moment(clocks: Pipeline) -> str:
    """The one of the two that the text does not mean, which is up to the server."""
    meant = clocks.query("SELECT UNIX_TIMESTAMP(%s)", (str(TWICE),))[0][0]
    at_first = datetime.fromisoformat(f"{FIRST}+00:00").timestamp() == meant
    return SECOND if at_first else FIRST


@pytest.mark.parametrize(
    "others", [(), (FIRST, SECOND), (BEFORE, FIRST, SECOND)], ids=["alone", "both", "all"]
)
def test_a_job_of_the_other_moment_is_refused_by_name(clocks: Pipeline, others: tuple[str, ...]) -> None:
    there = {*others, other_moment(clocks)}
    insert(clocks, *there)
    jobs = clocks.jobs("Derived")
    assert jobs.refresh()["added"] == len(there)
    for _ in range(2):
        with pytest.raises(BadKey, match=r'"at":"2026-10-25T02:30:00".*at is a timestamp'):
            reserve(jobs)
    assert moments(clocks) == there
    assert jobs.pending.count() == len(there)


def test_the_job_that_is_found_by_that_text_is_worked_on(clocks: Pipeline) -> None:
    other = other_moment(clocks)
    insert(clocks, FIRST, SECOND, BEFORE)
    jobs = clocks.jobs("Derived")
    jobs.refresh()
    assert jobs.reserve(KEY)
    assert moments(clocks, "status = 'reserved'") == {FIRST, SECOND} - {other}
    with pytest.raises(BadKey):
        reserve(jobs)
    assert [job.key for job in jobs.reserved] == [KEY]
    hour = "at BETWEEN '2026-10-25 02:00:00' AND '2026-10-25 03:00:00'"
    [rest] = reserve(clocks.jobs("Derived", restrictions=[f"NOT {hour}"]))
    assert rest.key["at"] == datetime(2026, 10, 24, 14)
    assert jobs.complete(KEY)
    assert moments(clocks) == {BEFORE, other}
