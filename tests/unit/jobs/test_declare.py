"""The layout check names the difference. The DDL itself is compared with DataJoint's on real servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from populate_operator.jobs import IncompatibleJobsTable, NotAutoPopulated
from populate_operator.jobs.declare import build_declaration, check_layout
from populate_operator.jobs.discovery import JobsTableColumn
from populate_operator.jobs.target import Column
from tests.unit.jobs.builders import build_target

TARGET = build_target(Column("subject", "int", "", None, None))
LAYOUT = [
    ("subject", "int(11)", False, True),
    ("status", "enum('pending','reserved','success','error','ignore')", False, False),
    ("priority", "tinyint(4)", False, False),
    ("created_time", "datetime(3)", False, False),
    ("scheduled_time", "datetime(3)", False, False),
    ("reserved_time", "datetime(3)", True, False),
    ("completed_time", "datetime(3)", True, False),
    ("duration", "double", True, False),
    ("error_message", "varchar(2047)", False, False),
    ("error_stack", "longblob", True, False),
    ("user", "varchar(255)", False, False),
    ("host", "varchar(255)", False, False),
    ("pid", "int(11)", False, False),
    ("connection_id", "bigint(20)", False, False),
    ("version", "varchar(64)", False, False),
]
COLUMNS = tuple(
    JobsTableColumn(name, type_, "", None, None, null, key, "") for name, type_, null, key in LAYOUT
)


def without(name: str) -> tuple[JobsTableColumn, ...]:
    return tuple(column for column in COLUMNS if column.name != name)


def changed(name: str, **values: object) -> tuple[JobsTableColumn, ...]:
    return tuple(replace(c, **values) if c.name == name else c for c in COLUMNS)  # type: ignore[arg-type]


def test_datajoints_own_layout_is_accepted() -> None:
    check_layout(TARGET, COLUMNS, has_index=True)


@pytest.mark.parametrize(
    ("columns", "has_index", "difference"),
    [
        (without("version"), True, "it has no column 'version'"),
        (without("connection_id"), True, "it has no column 'connection_id'"),
        (changed("pid", type="bigint"), True, "its column 'pid' is bigint, not int"),
        (changed("error_stack", type="mediumblob"), True, "its column 'error_stack' is mediumblob"),
        (changed("status", type="enum('reserved','error','ignore')"), True, "its column 'status' is enum"),
        (changed("duration", is_nullable=False), True, "'duration' differs in whether it may be NULL"),
        (changed("subject", is_key=False), True, "its primary key is (), not (subject)"),
        ((*COLUMNS, replace(COLUMNS[-1], name="key_hash")), True, "it has a column 'key_hash'"),
        (changed("subject", extra="on update current_timestamp()"), True, "explicit_defaults_for_timestamp"),
        (COLUMNS, False, "no index on (status, priority, scheduled_time)"),
    ],
)
def test_another_layout_is_refused_naming_the_difference(
    columns: tuple[JobsTableColumn, ...], has_index: bool, difference: str
) -> None:
    with pytest.raises(IncompatibleJobsTable, match="Nothing was changed") as refusal:
        check_layout(TARGET, columns, has_index=has_index)
    assert difference in str(refusal.value)
    assert "lab.~~segmentation" in str(refusal.value)


def test_a_key_attribute_with_the_name_of_a_jobs_column_is_refused() -> None:
    with pytest.raises(NotAutoPopulated, match="'status' has the name of a column of the jobs table"):
        build_declaration(build_target(Column("status", "int", "", None, None)))


def test_a_timestamp_gets_a_default_only_where_the_server_would_make_up_one() -> None:
    target = build_target(Column("at", "timestamp(3)", "", None, None), Column("x", "int", "", None, None))
    assert "`at` timestamp(3) NOT NULL,\n`x` int NOT NULL,\n" in build_declaration(target).sql
    sql = build_declaration(target, explicit_defaults=False).sql
    assert "`at` timestamp(3) NOT NULL DEFAULT '2000-01-01 00:00:00',\n`x` int NOT NULL,\n" in sql


def test_names_and_comments_cannot_leave_their_quotes() -> None:
    sql = build_declaration(build_target(Column("a", "enum('it''s','5%')", "", None, None))).sql
    assert r"`a` enum('it''s','5%%') NOT NULL COMMENT ':enum(\'it\'\'s\',\'5%%\'):'" in sql
