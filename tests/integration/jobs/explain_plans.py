"""The statements that an operation really runs, and the plans that the server makes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dev.databases import Database
from populate_operator.jobs.database import Session, Statement


@dataclass(frozen=True)
class Step:
    """One table of a plan, as EXPLAIN lists it."""

    table: str
    access: str  # eq_ref, ref, range, index, ALL, ...
    key: str | None
    extra: str


@contextlib.contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Every statement that runs meanwhile, each once."""
    seen: list[Statement] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "fetch"):
            patch.setattr(Session, name, _recording(getattr(Session, name), seen))
        yield seen


def _recording(original: Any, seen: list[Statement]) -> Any:
    def run(session: Session, statement: Statement) -> Any:
        if statement not in seen:
            seen.append(statement)
        return original(session, statement)

    return run


def explain(database: Database, statement: Statement) -> list[Step]:
    """The plan of a statement; nothing is run."""
    how = "EXPLAIN FORMAT=TRADITIONAL" if database.server.kind == "mysql" else "EXPLAIN"
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(f"{how} {statement.sql}", statement.parameters)
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Step(r["table"], r["type"], r["key"], r["Extra"] or "") for r in rows]
