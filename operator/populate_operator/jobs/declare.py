"""The jobs table as DataJoint declares it: its DDL, and the check of one that exists already.

Source: `datajoint.jobs.Job._generate_definition`, compiled by `datajoint.declare`. The result of SHOW
CREATE TABLE is the same, type markers in the comments included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from pymysql.converters import escape_string

from populate_operator.jobs.database import Statement
from populate_operator.jobs.discovery import JobsTableColumn
from populate_operator.jobs.errors import IncompatibleJobsTable, NotAutoPopulated
from populate_operator.jobs.identifiers import columns, quote, quote_table
from populate_operator.jobs.key_types import is_timestamp
from populate_operator.jobs.target import Column, Target


@dataclass(frozen=True, slots=True)
class _Attribute:
    name: str
    type: str
    default: str
    marker: str

    @property
    def is_nullable(self) -> bool:
        return self.default == "DEFAULT NULL"


_STATUSES = "enum('pending', 'reserved', 'success', 'error', 'ignore')"
_NOW = "NOT NULL DEFAULT CURRENT_TIMESTAMP(3)"
_ATTRIBUTES = (
    _Attribute("status", _STATUSES, "NOT NULL", _STATUSES),
    _Attribute("priority", "tinyint", "NOT NULL", "int8"),
    _Attribute("created_time", "datetime(3)", _NOW, "datetime(3)"),
    _Attribute("scheduled_time", "datetime(3)", _NOW, "datetime(3)"),
    _Attribute("reserved_time", "datetime(3)", "DEFAULT NULL", "datetime(3)"),
    _Attribute("completed_time", "datetime(3)", "DEFAULT NULL", "datetime(3)"),
    _Attribute("duration", "double", "DEFAULT NULL", "float64"),
    _Attribute("error_message", "varchar(2047)", "NOT NULL DEFAULT ''", "varchar(2047)"),
    _Attribute("error_stack", "longblob", "DEFAULT NULL", "<blob>"),
    _Attribute("user", "varchar(255)", "NOT NULL DEFAULT ''", "varchar(255)"),
    _Attribute("host", "varchar(255)", "NOT NULL DEFAULT ''", "varchar(255)"),
    _Attribute("pid", "int", "NOT NULL DEFAULT '0'", "int32"),
    _Attribute("connection_id", "bigint", "NOT NULL DEFAULT '0'", "int64"),
    _Attribute("version", "varchar(64)", "NOT NULL DEFAULT ''", "varchar(64)"),
)
# The types that DataJoint calls its own and marks, from their spelling alone: `datajoint.declare.CORE_TYPES`.
_CORE = re.compile(
    r"(date|datetime(\s*\(\d+\))?|(var)?char\s*\(\d+\)|enum\s*\(.+\)|decimal\s*\(\d+\s*,\s*\d+\))$"
)
_NATIVE_OF_MARKER = {
    "int64": "bigint",
    "int32": "int",
    "int16": "smallint",
    "int8": "tinyint",
    "float64": "double",
    "bool": "tinyint",
    "uuid": "binary(16)",
}


def build_declaration(target: Target, *, explicit_defaults: bool = True) -> Statement:
    """CREATE TABLE IF NOT EXISTS for the job queue of `target`.

    `explicit_defaults`: whether the server has explicit_defaults_for_timestamp on.
    Raises NotAutoPopulated when a key attribute has the name of a column of the jobs table itself.
    """
    names = [column.name for column in target.key_columns]
    reserved = {attribute.name for attribute in _ATTRIBUTES}
    if taken := [name for name in names if name in reserved]:
        raise NotAutoPopulated(
            f"{target.schema}.{target.table} can have no job queue: its key attribute '{taken[0]}' has the "
            "name of a column of the jobs table; rename it in the foreign key"
        )
    lines = [_line(_key_attribute(column, explicit_defaults)) for column in target.key_columns]
    lines += [_line(attribute) for attribute in _ATTRIBUTES]
    lines.append(f"PRIMARY KEY ({columns(names)})")
    lines.append("index (`status`,`priority`,`scheduled_time`)")
    comment = _literal(f"Job queue for `{target.schema}`.`{target.table}`")
    return Statement(
        f"CREATE TABLE IF NOT EXISTS {quote_table(target.schema, target.jobs_table)} (\n"
        + ",\n".join(lines)
        + f"\n) ENGINE=InnoDB, COMMENT {comment}"
    )


def check_layout(target: Target, found: Sequence[JobsTableColumn], *, has_index: bool) -> None:
    """Raises IncompatibleJobsTable naming the first difference from what DataJoint 2 declares."""
    name = f"{target.schema}.{target.jobs_table}"
    keys = [_key_attribute(column) for column in target.key_columns]
    found_keys = [column.name for column in found if column.is_key]
    wanted_keys = [attribute.name for attribute in keys]
    if found_keys != wanted_keys:
        _refuse(name, f"its primary key is ({', '.join(found_keys)}), not ({', '.join(wanted_keys)})")
    by_name = {column.name: column for column in found}
    for attribute in (*keys, *_ATTRIBUTES):
        column = by_name.pop(attribute.name, None)
        if column is None:
            _refuse(name, f"it has no column '{attribute.name}'")
        if _plain_type(column.type) != _plain_type(attribute.type):
            _refuse(name, f"its column '{attribute.name}' is {column.type}, not {attribute.type}")
        if column.is_key and "on update" in column.extra.lower():
            _refuse(
                name,
                f"its key attribute '{column.name}' changes whenever a job does (ON UPDATE): it is a "
                "timestamp that was declared while the server's explicit_defaults_for_timestamp is off",
            )
        if column.is_nullable != attribute.is_nullable:
            _refuse(name, f"its column '{attribute.name}' differs in whether it may be NULL")
    if by_name:
        _refuse(name, f"it has a column '{next(iter(by_name))}' that DataJoint 2 does not declare")
    if not has_index:
        _refuse(name, "it has no index on (status, priority, scheduled_time)")


def _refuse(name: str, difference: str) -> NoReturn:
    raise IncompatibleJobsTable(
        f"the jobs table {name} is not the one that DataJoint 2 declares: {difference}. Nothing was changed; "
        f"when no work is under way, drop it (Table.jobs.drop() in DataJoint), and it is declared anew"
    )


def _key_attribute(column: Column, explicit_defaults: bool = True) -> _Attribute:
    marker = column.marker
    if marker is None or marker.startswith("<"):
        type_ = _without_width(column.type)
        # Without a default of its own the server would let the key change whenever the job does.
        default = "" if explicit_defaults or not is_timestamp(type_) else " DEFAULT '2000-01-01 00:00:00'"
        return _Attribute(column.name, type_, f"NOT NULL{default}", type_ if _CORE.match(type_) else "")
    return _Attribute(column.name, _NATIVE_OF_MARKER.get(marker, marker), "NOT NULL", marker)


def _without_width(type_: str) -> str:
    """`int(10) unsigned` is `int unsigned`: the width of integers means nothing."""
    return re.sub(r"^((?:tiny|small|medium|big)?int|year|float|double)\(\d+\)", r"\1", type_)


def _plain_type(type_: str) -> str:
    return re.sub(r",\s+'", ",'", _without_width(type_))


def _line(attribute: _Attribute) -> str:
    comment = f" COMMENT {_literal(f':{attribute.marker}:')}" if attribute.marker else ""
    type_ = attribute.type.replace("%", "%%")
    return f"{quote(attribute.name)} {type_} {attribute.default}{comment}"


def _literal(text: str) -> str:
    """A string in DDL, which takes no parameters."""
    return "'" + str(escape_string(text)).replace("%", "%%") + "'"
