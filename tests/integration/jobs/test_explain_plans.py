"""What the servers make of the statements that really run, on tables of every fill.

- a claim walks the index (status, priority, scheduled_time) in its order, whatever the restrictions: no
  sorting, no temporary table
- when the next job is due is read from that index alone
- a refresh walks one table and looks the others up by their primary keys, one row for one key; a key source
  of several parents too
- a settlement locks its jobs by the primary key
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dev.databases import Database
from populate_operator.jobs import JobTable, Release
from populate_operator.jobs.database import Statement
from tests.integration.jobs.arena import account, create_work, rows
from tests.integration.jobs.explain_plans import Step, explain, recorded

KEYS = 5000
JOBS = "~~work"
FILLS = {
    "all-pending": (),
    "mixed": (
        "INSERT INTO __work SELECT item_id FROM item WHERE item_id < 2500",
        "DELETE FROM `~~work` WHERE item_id < 2500",
        "UPDATE `~~work` SET priority = item_id MOD 7, "
        "status = ELT(1 + item_id MOD 5, 'pending', 'reserved', 'success', 'error', 'ignore')",
    ),
    "few-pending": ("UPDATE `~~work` SET status = 'error' WHERE item_id > 50",),
    "all-done": ("DELETE FROM `~~work`", "INSERT INTO __work SELECT item_id FROM item"),
}


RESTRICTIONS = {
    "all": (),
    "many": ("item_id > 10",),
    "one-key": ("item_id = 2600",),
    "subquery": ("item_id IN (SELECT item_id FROM item WHERE item_id < 20)",),
}


@pytest.fixture(params=FILLS.values(), ids=list(FILLS))
def filled(request: pytest.FixtureRequest, database: Database) -> Database:
    """A queue whose tables hold what the parameter says, known to the optimizer."""
    create_work(database, KEYS).refresh()
    with database.connect() as connection:
        for statement in (*request.param, "ANALYZE TABLE item, __work, `~~work`"):
            rows(connection, statement)
    return database


def queue(database: Database, *restrictions: str) -> JobTable:
    return JobTable(
        account(database.server),
        schema=database.name,
        table="Work",
        restrictions=restrictions,
        keep_completed=True,
    )


def only(statements: list[Statement], *parts: str) -> Statement:
    [found] = [one for one in statements if all(part in one.sql for part in parts)]
    return found


def assert_unsorted(step: Step) -> None:
    assert (step.table, step.key) == (JOBS, "status"), step
    assert step.access in ("ref", "range"), step
    assert "filesort" not in step.extra, step
    assert "temporary" not in step.extra, step


@pytest.mark.parametrize("restrictions", RESTRICTIONS.values(), ids=list(RESTRICTIONS))
def test_claims_walk_their_index(filled: Database, restrictions: tuple[str, ...]) -> None:
    table = queue(filled, *restrictions)
    with recorded() as statements:
        table.reserve_many(100, owner="owner", hosts=[f"pod-{n}" for n in range(100)])

    first, *others = explain(filled, only(statements, "SKIP LOCKED"))

    assert_unsorted(first)
    assert all((step.access, step.key) == ("eq_ref", "PRIMARY") for step in others), others


def test_the_next_due_job_is_read_from_the_index_alone(filled: Database) -> None:
    table = queue(filled)
    with recorded() as statements:
        table.next_due()

    for statement in [one for one in statements if JOBS in one.sql and "pending" in one.sql]:
        [step] = explain(filled, statement)
        assert_unsorted(step)
        assert "Using index" in step.extra, step


def joins_of_refresh(table: JobTable) -> Iterator[Statement]:
    """The statements of a refresh that bring two tables together; there are five."""
    with recorded() as statements:
        table.refresh(stale_timeout=1, orphan_timeout=1)
    found = [one for one in statements if "JOIN" in one.sql or "EXISTS (" in one.sql]
    joins = [one for one in found if "FALSE" not in one.sql and JOBS in one.sql]
    assert len(joins) == 5
    yield from joins


def test_refresh_looks_rows_up_by_primary_key(filled: Database) -> None:
    for statement in joins_of_refresh(queue(filled)):
        # MySQL also lists the table that an INSERT writes to.
        steps = [step for step in explain(filled, statement) if step.table != JOBS]
        looked_up = [step for step in steps if (step.access, step.key) == ("eq_ref", "PRIMARY")]
        assert len(looked_up) == len(steps) - 1, (statement.sql, steps)
        assert not any("filesort" in step.extra or "join buffer" in step.extra for step in steps), steps


def test_refresh_of_two_parents_looks_rows_up_by_primary_key(database: Database) -> None:
    with database.connect() as connection:
        rows(connection, "CREATE TABLE left_side (x INT PRIMARY KEY) ENGINE=InnoDB")
        rows(connection, "CREATE TABLE right_side (y VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB")
        rows(
            connection,
            "CREATE TABLE __work (x INT, y VARCHAR(20), PRIMARY KEY (x, y), "
            "FOREIGN KEY (x) REFERENCES left_side (x), FOREIGN KEY (y) REFERENCES right_side (y)) "
            "ENGINE=InnoDB",
        )
        for number in range(60):
            rows(connection, "INSERT INTO left_side VALUES (%s)", (number,))
            rows(connection, "INSERT INTO right_side VALUES (%s)", (f"method {number}",))
        assert queue(database).refresh()["added"] == 3600
        rows(connection, "INSERT INTO __work SELECT x, y FROM left_side JOIN right_side WHERE x < 30")
        rows(connection, "ANALYZE TABLE left_side, right_side, __work, `~~work`")

    for statement in joins_of_refresh(queue(database)):
        steps = {step.table: step for step in explain(database, statement) if step.table != JOBS}
        for alias in [alias for alias in ("j", "t") if alias in steps and alias != next(iter(steps))]:
            assert (steps[alias].access, steps[alias].key) == ("eq_ref", "PRIMARY"), (statement.sql, steps)


def test_parents_that_share_attributes_are_joined_by_primary_key(database: Database) -> None:
    sides = [("left_side", "x INT", "x"), ("right_side", "y INT", "y"), ("pair", "x INT, y INT", "x, y")]
    with database.connect() as connection:
        for name, columns, key in sides:
            rows(connection, f"CREATE TABLE {name} ({columns}, z INT, PRIMARY KEY ({key})) ENGINE=InnoDB")
        references = ", ".join(f"FOREIGN KEY ({key}) REFERENCES {name} ({key})" for name, _, key in sides)
        rows(
            connection,
            f"CREATE TABLE __work (x INT, y INT, PRIMARY KEY (x, y), {references}) ENGINE=InnoDB",
        )
        numbers = [(number, number) for number in range(500)]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO left_side VALUES (%s, %s)", numbers)
            cursor.executemany("INSERT INTO right_side VALUES (%s, %s)", numbers)
            cursor.executemany("INSERT INTO pair VALUES (%s, %s, 1)", numbers)
        assert queue(database).refresh()["added"] == 500
        rows(connection, "ANALYZE TABLE left_side, right_side, pair, __work, `~~work`")

    for statement in joins_of_refresh(queue(database)):
        first, *others = [step for step in explain(database, statement) if step.table != JOBS]
        for step in others:
            assert (step.key, step.access in ("ref", "eq_ref")) == ("PRIMARY", True), (first, others)


def test_settlements_lock_by_primary_key(filled: Database) -> None:
    table = queue(filled)
    table.refresh()
    jobs = table.reserve_many(200, owner="owner", hosts=[f"pod-{n}" for n in range(200)])
    with recorded() as statements:
        table.settle([Release(job.key, job.fence) for job in jobs])
    if jobs:
        [step] = explain(filled, only(statements, "FOR UPDATE"))
        assert (step.access, step.key) == ("range", "PRIMARY"), step
