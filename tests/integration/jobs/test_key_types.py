"""Keys of every type survive SQL -> JSON -> SQL, and mean the same to DataJoint.

One table with a key of every type; each value comes back from JSON, is found by every statement that takes a
key, and restricts DataJoint's own expressions as it is in JSON.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import datajoint as dj
import pytest

from dev.databases import Database, Server
from populate_operator.jobs import BadKey, Complete, JobTable
from tests.integration.jobs.arena import account, rows
from tests.integration.jobs.pipelines import Pipeline, build_imaging

VALUES: dict[str, list[Any]] = {
    "int8": [-128, 127],
    "int64": [-(2**63), 2**63 - 1],
    "int unsigned": [0, 2**32 - 1],
    "bigint unsigned": [2**64 - 1, 2**63],
    "bool": [0, 1],
    "float64": [0.1, 1e-300, -12345678.901234567],
    "uuid": [uuid.UUID(int=0), uuid.UUID("12345678-1234-5678-1234-5678123456ff")],
    "date": [date(1000, 1, 1), date(2026, 2, 28)],
    "datetime": [datetime(2026, 2, 28, 13, 5, 59)],
    "datetime(3)": [datetime(2026, 2, 28, 13, 5, 59, 120000)],
    "datetime(6)": [datetime(2026, 2, 28, 13, 5, 59, 7), datetime(2026, 2, 28)],
    "timestamp(3)": [datetime(2026, 2, 28, 13, 5, 59, 120000)],
    "time": [timedelta(hours=838, minutes=59, seconds=59), -timedelta(hours=1, seconds=1)],
    "time(6)": [timedelta(microseconds=1), -timedelta(minutes=1, microseconds=30)],
    "year": [1901, 2155],
    "decimal(9,4)": [Decimal("-12345.6789"), Decimal("0.0000")],
    "decimal(65,0)": [Decimal("9" * 65)],
    "char(8)": ["abc", "Ünïcödé"],
    "varchar(50)": ["", 'it\'s "100%" \\ back `tick`', "🐭", "a; DROP TABLE x -- "],
    "enum('left','it''s')": ["left", "it's"],
}


@pytest.fixture(scope="module")
def types(server: Server) -> Iterator[Pipeline]:
    """An Origin and a table derived from it for every type, with the values in the origins."""
    database = Database(server, f"populate_test_{secrets.token_hex(6)}").create()
    types = Pipeline(database)
    for number, (column_type, values) in enumerate(VALUES.items()):
        types.declare(dj.Manual, f"Origin{number}", f"attr: {column_type}")
        types.declare(dj.Computed, f"Derived{number}", f"-> Origin{number}")
        places = ",".join(["(%s)"] * len(values))
        types.query(f"INSERT INTO `{types.name}`.origin{number} VALUES {places}", [*map(in_sql, values)])
    yield types
    types.close()
    database.drop()


def in_sql(value: Any) -> Any:
    """A value as the driver takes it, written by other means than the product's."""
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, timedelta):
        return ("-" if value < timedelta() else "") + str(abs(value)).replace("34 days, 22", "838")
    return value


@pytest.mark.parametrize("column_type", VALUES)
def test_a_key_of_every_type(types: Pipeline, column_type: str) -> None:
    number = list(VALUES).index(column_type)
    jobs = types.jobs(f"Derived{number}")
    assert jobs.refresh()["added"] == len(VALUES[column_type])
    keys = jobs.pending.keys()
    assert {key["attr"] for key in keys} == set(VALUES[column_type])
    claimed = jobs.reserve_many(9, owner="o", hosts=list("abcdefghi"))
    assert {job.key for job in claimed} == set(keys)
    for job in claimed:
        key = jobs.key(job.key.json)
        assert key == job.key
        assert jobs.reserved.where(key).count() == 1
        assert jobs.in_target([key]) == set()
        types.query(f"INSERT INTO `{types.name}`.__derived{number} VALUES (%s)", key.parameters)
        assert jobs.in_target([key]) == {key}
    settlements = [Complete(jobs.key(job.key.json), job.fence) for job in claimed]
    assert jobs.settle(settlements) == [True] * len(claimed)
    assert jobs.progress()["total"] == 0


@pytest.mark.parametrize("column_type", VALUES)
def test_datajoint_finds_the_row_by_the_key_as_it_is_in_json(types: Pipeline, column_type: str) -> None:
    """So a pod may restrict by what it got, without casting anything."""
    number = list(VALUES).index(column_type)
    origin, jobs = types.tables[f"Origin{number}"], types.jobs(f"Derived{number}")
    for value in VALUES[column_type]:
        in_json = json.loads(jobs.key({"attr": value}).json)
        assert len(origin & in_json) == 1


def test_binary_keys_that_only_sql_can_declare(database: Database) -> None:
    with database.connect() as connection:
        rows(connection, "CREATE TABLE origin (a binary(4), b varbinary(9), PRIMARY KEY (a, b))")
        rows(
            connection,
            "CREATE TABLE __derived (a binary(4), b varbinary(9), PRIMARY KEY (a, b), "
            "FOREIGN KEY (a, b) REFERENCES origin (a, b))",
        )
        rows(connection, "INSERT INTO origin VALUES (%s, %s)", (b"\xff\x00\x00'", b"\x00%\\"))
    jobs = JobTable(account(database.server), schema=database.name, table="Derived")
    assert jobs.refresh()["added"] == 1
    [key] = jobs.pending.keys()
    assert json.loads(key.json) == {"a": "ff000027", "b": "00255c"}
    assert jobs.reserve(jobs.key(key.json))
    assert jobs.complete(key)


def test_text_keys_are_equal_when_the_database_says_so(pipeline: Pipeline) -> None:
    """Case and trailing blanks are the collation's business, not Python's."""
    pipeline.declare(dj.Manual, "Origin", "attr: varchar(20)").insert1({"attr": "Otsu"})
    pipeline.declare(dj.Computed, "Derived", "-> Origin").insert1({"attr": "OTSU"}, allow_direct_insert=True)
    jobs = pipeline.jobs("Derived")
    assert jobs.refresh()["added"] == 0
    key = jobs.key({"attr": "otsu"})
    assert jobs.in_target([key]) == {key}


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({}, "'subject' is missing"),
    ({"subject": 1}, "'method' is missing"),
    ({"subject": 1, "method": "otsu", "trial": 1}, "'trial' is not an attribute"),
    ({"subject": "1", "method": "otsu"}, "'subject' is '1'"),
    ({"subject": 1, "method": None}, "'method' is None"),
    ({"subject": 2**40, "method": "otsu"}, "'subject' is 1099511627776"),
    ({"subject": 1, "method": "m" * 21}, "method"),
]


def test_a_bad_key_is_refused_by_name(pipeline: Pipeline) -> None:
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    for key, reason in BAD_KEYS:
        with pytest.raises(BadKey, match=reason):
            jobs.ignore(key)
    assert jobs.progress()["total"] == 0
