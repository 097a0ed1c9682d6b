"""Two equal pipelines on one server: DataJoint works on the queues of one, we on those of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datajoint as dj
from pymysql.constants.ER import NO_SUCH_TABLE
from pymysql.err import ProgrammingError

from dev.databases import Database, Server
from populate_operator.jobs import JobTable
from tests.integration.jobs.arena import Tables, account, datajoint, declare, rows

Job = Mapping[str, Any]
TIMES = ("created_time", "scheduled_time", "reserved_time", "completed_time")
TOLERANCE = 100.0  # seconds; every age and delay that the machine deals in differs by far more


@dataclass(frozen=True)
class Shape:
    """An auto-populated table: class, SQL name, key of its jobs, further attributes of its primary key."""

    table: str
    sql_name: str
    key: tuple[str, ...]
    further: tuple[str, ...] = ()

    @property
    def jobs_table(self) -> str:
        return "~~" + self.sql_name.strip("_")


SINGLE = Shape("Single", "__single", ("subject_id",))
PAIRED = Shape("Paired", "__paired", ("subject_id", "session", "way"), further=("part",))
SHAPES = (SINGLE, PAIRED)
PARENTS = ("session", "subject", "method")  # children first


def declare_pipeline(instance: dj.Instance, name: str) -> Tables:
    """Subject <- Session, Method; Single of a subject, Paired of a session and a renamed method."""
    schema = instance.Schema(name)
    tables: Tables = {}
    declare(schema, tables, dj.Manual, "Subject", "subject_id: int32\n---\nweight: int32")
    declare(schema, tables, dj.Manual, "Session", "-> Subject\nsession: int16\n---\nquality: int32")
    declare(schema, tables, dj.Manual, "Method", "method: varchar(16)")
    declare(schema, tables, dj.Computed, "Single", "-> Subject")
    paired = "-> Session\n-> Method.proj(way='method')\npart: int32"
    declare(schema, tables, dj.Computed, "Paired", paired)
    return tables


class Twins:
    """Both pipelines, and SQL that is run on both alike."""

    def __init__(self, server: Server, theirs: Database, ours: Database, *, keep_completed: bool) -> None:
        self.instance = datajoint(
            server,
            jobs__keep_completed=keep_completed,
            jobs__allow_new_pk_fields_in_computed_tables=True,
        )
        self.names = (theirs.name, ours.name)
        self.connections = (theirs.connect(), ours.connect())
        self.their_tables, _ = (declare_pipeline(self.instance, name) for name in self.names)
        self.theirs = {shape: self.their_tables[shape.table]().jobs for shape in SHAPES}
        self.ours = {
            shape: JobTable(
                account(server), schema=ours.name, table=shape.table, keep_completed=keep_completed
            )
            for shape in SHAPES
        }
        self.keep_completed = keep_completed

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.instance.connection.close()

    def both(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        for connection in self.connections:
            rows(connection, statement, parameters)

    def their(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        rows(self.connections[0], statement, parameters)

    def our(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        rows(self.connections[1], statement, parameters)

    def empty(self) -> None:
        """As newly declared, for the next example."""
        for shape in SHAPES:
            self.both(f"DELETE FROM {shape.sql_name}")
            self.their(f"DELETE FROM `{shape.jobs_table}`")
            if self.our_jobs(shape):
                self.our(f"DELETE FROM `{shape.jobs_table}`")
        for parent in PARENTS:
            self.both(f"DELETE FROM {parent}")

    def keys(self, query: str) -> set[tuple[Any, ...]]:
        """The rows of a query that both pipelines answer alike."""
        theirs, ours = (set(rows(connection, query)) for connection in self.connections)
        assert theirs == ours
        return theirs

    def their_jobs(self, shape: Shape) -> dict[tuple[Any, ...], Job]:
        return read_jobs(self.connections[0], shape)

    def our_jobs(self, shape: Shape) -> dict[tuple[Any, ...], Job]:
        return read_jobs(self.connections[1], shape)


def read_jobs(connection: Any, shape: Shape) -> dict[tuple[Any, ...], Job]:
    """The jobs table as it is, by key; each time as seconds from now, the rest as the column holds it."""
    with connection.cursor() as cursor:
        ages = ", ".join(
            f"TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(6), {time}) / 1e6 AS {time}_from_now"
            for time in TIMES
        )
        try:
            cursor.execute(f"SELECT *, {ages} FROM `{shape.jobs_table}`")
        except ProgrammingError as error:
            if error.args[0] != NO_SUCH_TABLE:
                raise
            return {}
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for job in found:
        for time in TIMES:
            from_now = job.pop(f"{time}_from_now")
            job[time] = None if from_now is None else float(from_now)
    return {tuple(job[name] for name in shape.key): job for job in found}


def assert_equal_jobs(theirs: Mapping[Any, Job], ours: Mapping[Any, Job]) -> None:
    """Equal in every column, but for the number of the connection and the moment between the two."""
    assert theirs.keys() == ours.keys()
    for key, job in theirs.items():
        assert_equal_job(job, ours[key])


def assert_equal_job(theirs: Job, ours: Job) -> None:
    assert list(theirs) == list(ours)
    for name, value in theirs.items():
        if name in TIMES:
            assert is_near(value, ours[name]), (name, theirs, ours)
        elif name == "connection_id":
            assert bool(value) == bool(ours[name]), (theirs, ours)
        else:
            assert value == ours[name], (name, theirs, ours)


def is_near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < TOLERANCE
