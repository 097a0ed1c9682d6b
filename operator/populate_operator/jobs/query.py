"""Queries on a job queue as small immutable objects: restrict, order, limit, then iterate or count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from populate_operator.jobs import job_statements as statements
from populate_operator.jobs.context import Context
from populate_operator.jobs.database import Database, Statement
from populate_operator.jobs.errors import NoSuchTable
from populate_operator.jobs.identifiers import quote
from populate_operator.jobs.keys import Key
from populate_operator.jobs.rows import Job, read_job

_BELOW_ALL = -129  # a priority is a tinyint


def find_next_due(database: Database, context: Context, scope: Statement) -> float | None:
    """Seconds until the first pending job within `scope` is due, 0.0 if one is; None without any.

    One query for each priority that is in use, however many jobs there are.
    """
    soonest: float | None = None
    priority = _BELOW_ALL
    while rows := database.fetch(statements.build_next_due(context.queue, scope, priority)):
        priority, seconds = int(rows[0][0]), float(rows[0][1])
        soonest = seconds if soonest is None else min(soonest, seconds)
        if soonest <= 0:
            return 0.0
    return soonest


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Jobs of one queue that meet some conditions.

    Nothing is read before it is iterated or counted, each time anew; a queue whose table is not declared
    yet has no jobs. Iterating streams: a million jobs do not have to fit into memory.
    """

    database: Database
    context: Callable[[], Context]
    condition: str
    parameters: tuple[Any, ...]
    order: str = ""
    limit_to: int | None = None
    schema: str | None = None  # by which names in the condition are resolved

    def where(self, key: Mapping[str, Any]) -> JobQuery:
        """The jobs whose key has these attributes: a whole key or a part of one.

        Raises BadKey for an attribute that the key does not have.
        """
        part = self.context().target.keys.part(key)
        condition = "".join(f" AND {quote(name)} = %s" for name in part)
        return replace(
            self, condition=self.condition + condition, parameters=(*self.parameters, *part.values())
        )

    __and__ = where

    def within(self, scope: Statement) -> JobQuery:
        """Those for which a further condition holds, if it says anything."""
        if not scope.sql:
            return self
        condition, parameters = f"{self.condition} AND ({scope.sql})", (*self.parameters, *scope.parameters)
        return replace(self, condition=condition, parameters=parameters, schema=scope.schema)

    def due(self) -> JobQuery:
        """Those whose scheduled time has come, by the database's clock."""
        return replace(self, condition=f"{self.condition} AND `scheduled_time` <= CURRENT_TIMESTAMP(3)")

    def scheduled(self) -> JobQuery:
        """Those whose scheduled time is still to come, by the database's clock."""
        return replace(self, condition=f"{self.condition} AND `scheduled_time` > CURRENT_TIMESTAMP(3)")

    def by_urgency(self) -> JobQuery:
        """In the order in which they are worked on: priority, then scheduled time."""
        return replace(self, order=f" ORDER BY {statements.URGENCY}")

    def latest(self) -> JobQuery:
        """Those that ended last come first."""
        return replace(self, order=" ORDER BY `completed_time` DESC")

    def limit(self, count: int) -> JobQuery:
        """At most `count` of them."""
        return replace(self, limit_to=count)

    def __iter__(self) -> Iterator[Job]:
        """Whole jobs as they are read; a connection is held until the iteration ends."""
        context = self.context()
        statement = statements.build_select_jobs(
            context.queue, self.condition, self.parameters, self.order + self._limit(), self.schema
        )
        try:
            for row in self.database.stream(statement):
                yield read_job(context.target.keys, row)
        except NoSuchTable:
            return

    def keys(self) -> list[Key]:
        """The keys alone."""
        context = self.context()
        statement = statements.build_select_keys(
            context.queue, self.condition, self.parameters, self.order + self._limit()
        )
        return [context.target.keys.from_row(row) for row in self._fetch(statement)]

    def count(self) -> int:
        """How many there are, of which `limit` lets through."""
        context = self.context()
        rows = self._fetch(
            statements.build_count(context.queue, self.condition, self.parameters, self._limit())
        )
        return int(rows[0][0]) if rows else 0

    def _limit(self) -> str:
        return "" if self.limit_to is None else f" LIMIT {self.limit_to:d}"

    def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        try:
            return self.database.fetch(replace(statement, schema=self.schema))
        except NoSuchTable:
            return []
