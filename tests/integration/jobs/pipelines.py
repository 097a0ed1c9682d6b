"""Pipelines that the tests share: declared by DataJoint, their keys in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from dev.databases import Database, Server
from populate_operator.jobs import JobTable
from tests.integration.jobs.arena import Tables, account, datajoint, declare


class Pipeline:
    """A schema with DataJoint classes in it, and our job tables for them."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.server: Server = database.server
        self.name = database.name
        self.instance = datajoint(self.server, **settings)
        self.schema = self.instance.Schema(database.name)
        self.tables: Tables = {}

    def declare(self, tier: type, name: str, definition: str, **members: Any) -> Any:
        """Declare a class; it may refer to those declared before."""
        declare(self.schema, self.tables, tier, name, definition, **members)
        return self.tables[name]

    def jobs(self, table: str, **options: Any) -> JobTable:
        """Our queue for one of the tables."""
        return JobTable(account(self.server), schema=self.name, table=table, **options)

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement in the schema; its rows."""
        cursor = self.instance.connection.query(statement, tuple(parameters))
        return list(cursor.fetchall())

    def age(self, table: str, seconds: float, where: str = "TRUE") -> None:
        """As if jobs had been made, scheduled and reserved that much earlier."""
        sets = ", ".join(
            f"{time} = {time} - INTERVAL {seconds} SECOND"
            for time in ("created_time", "scheduled_time", "reserved_time", "completed_time")
        )
        self.query(f"UPDATE `{self.name}`.`{table}` SET {sets} WHERE {where}")

    def close(self) -> None:
        self.instance.connection.close()


def build_imaging(pipeline: Pipeline, subjects: int = 4, methods: Sequence[str] = ("otsu",)) -> Any:
    """Subject with an age, Method, and Segmentation computed from both."""
    if not pipeline.tables:
        declare_imaging(pipeline)
    pipeline.tables["Subject"].insert([(number, number * 10) for number in range(subjects)])
    pipeline.tables["Method"].insert([(name,) for name in methods])
    return pipeline.tables["Segmentation"]


def declare_imaging(pipeline: Pipeline) -> None:
    """The same without rows."""
    pipeline.declare(dj.Manual, "Subject", "subject: int32\n---\nage: int32")
    pipeline.declare(dj.Lookup, "Method", "method: varchar(20)")
    pipeline.declare(dj.Computed, "Segmentation", "-> Subject\n-> Method", make=_insert_key)


def empty_imaging(pipeline: Pipeline) -> None:
    """Delete all rows, and jobs where there is a queue."""
    tables = [table for (table,) in pipeline.query(f"SHOW TABLES IN `{pipeline.name}`")]
    for table in ("~~segmentation", "__segmentation", "#method", "subject"):
        if table in tables:
            pipeline.query(f"DELETE FROM `{pipeline.name}`.`{table}`")


def _insert_key(self: Any, key: dict[str, Any]) -> None:
    self.insert1(key)
