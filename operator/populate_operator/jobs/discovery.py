"""Reads from the information schema what a target, its parents and its jobs table are."""

# ruff: noqa: S608 - identifiers come quoted from `identifiers`, values are parameters

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from populate_operator.jobs.database import Database, Statement
from populate_operator.jobs.errors import NoSuchSchema, NoSuchTable, NotAutoPopulated
from populate_operator.jobs.target import (
    Column,
    ForeignKey,
    Target,
    candidate_tables,
    is_class_name,
    tier_of,
)


@dataclass(frozen=True, slots=True)
class JobsTableColumn(Column):
    """A column of an existing jobs table."""

    is_nullable: bool
    is_key: bool
    extra: str  # `on update ...`, and more


def discover_target(database: Database, schema: str, name: str) -> Target:
    """The auto-populated table that `name`, a class or an SQL table, means in `schema`.

    Raises NoSuchSchema, NoSuchTable, or NotAutoPopulated when it is of another tier or its primary key
    refers to no parent.
    """
    table = _find_table(database, schema, name)
    tier_of(table)
    columns = _primary_key(database, schema, table)
    names = {column.name for column in columns}
    parents = tuple(
        parent
        for parent in _foreign_keys(database, schema, table)
        if {child for child, _ in parent.attributes} <= names
    )
    target = Target(schema, table, columns, parents)
    if not target.key_columns:
        raise NotAutoPopulated(
            f"{schema}.{table} can have no job queue: no attribute of its primary key comes from a foreign "
            "key, so there is nothing to populate it for; let its primary key refer to its parents"
        )
    return target


def _find_table(database: Database, schema: str, name: str) -> str:
    candidates = candidate_tables(name)
    found = {
        row[0]
        for row in database.fetch(
            Statement(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s "
                f"AND table_name IN ({', '.join(['%s'] * len(candidates))})",
                (schema, *candidates),
            )
        )
    }
    for candidate in candidates:  # Computed before Imported before what will be refused by its tier
        if candidate in found:
            return candidate
    if not is_class_name(name):
        tier_of(name)  # a name that could never be right is refused as such
    _refuse_missing_schema(database, schema)
    tried = f" (looked for {', '.join(candidates)})" if is_class_name(name) else ""
    raise NoSuchTable(
        f"schema '{schema}' has no table '{name}'{tried} that this account can see; "
        "declare it, correct the name, or grant access to it"
    )


def _refuse_missing_schema(database: Database, schema: str) -> None:
    statement = Statement("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (schema,))
    if not database.fetch(statement):
        raise NoSuchSchema(
            f"the server has no schema '{schema}' that this account can see; "
            "create it, correct the name, or grant access to it"
        )


def _primary_key(database: Database, schema: str, table: str) -> tuple[Column, ...]:
    # In the order of the columns, as DataJoint reads it.
    rows = database.fetch(
        Statement(
            "SELECT column_name, column_type, column_comment, character_set_name, collation_name "
            "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
            "AND column_key = 'PRI' ORDER BY ordinal_position",
            (schema, table),
        )
    )
    return tuple(Column(row[0], _text(row[1]), row[2], row[3], row[4]) for row in rows)


def _foreign_keys(database: Database, schema: str, table: str) -> list[ForeignKey]:
    rows = database.fetch(
        Statement(
            "SELECT constraint_name, referenced_table_schema, referenced_table_name, column_name, "
            "referenced_column_name FROM information_schema.key_column_usage "
            "WHERE table_schema = %s AND table_name = %s AND referenced_table_name IS NOT NULL "
            "AND referenced_table_name NOT LIKE '~%%' ORDER BY constraint_name, ordinal_position",
            (schema, table),
        )
    )
    return [
        ForeignKey(parent[1], parent[2], tuple((row[3], row[4]) for row in attributes))
        for parent, attributes in groupby(rows, key=lambda row: tuple(row[:3]))
    ]


def discover_columns(database: Database, schema: str, table: str) -> tuple[JobsTableColumn, ...]:
    """The columns of a table in their order; none when there is no such table."""
    rows = database.fetch(
        Statement(
            "SELECT column_name, column_type, column_comment, character_set_name, collation_name, "
            "is_nullable, column_key, extra FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, table),
        )
    )
    return tuple(
        JobsTableColumn(
            row[0], _text(row[1]), row[2], row[3], row[4], row[5] == "YES", row[6] == "PRI", row[7]
        )
        for row in rows
    )


def find_claim_index(database: Database, schema: str, table: str) -> str | None:
    """The name of the table's index that starts with (status, priority, scheduled_time), if it has one."""
    rows = database.fetch(
        Statement(
            "SELECT index_name, column_name FROM information_schema.statistics "
            "WHERE table_schema = %s AND table_name = %s ORDER BY index_name, seq_in_index",
            (schema, table),
        )
    )
    for name, group in groupby(rows, key=lambda row: row[0]):
        if [row[1] for row in group][:3] == ["status", "priority", "scheduled_time"]:
            return str(name)
    return None


def _text(value: str | bytes) -> str:
    """MySQL returns `column_type` as text or as bytes, depending on its version."""
    return value.decode() if isinstance(value, bytes) else value
