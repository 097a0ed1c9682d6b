"""The SQL of refresh. Each function builds one statement; nothing here is executed.

Aliases: `k` a key of the key source, `t` a row of the target, `j` a job. The anti-joins are written as
LEFT JOIN ... IS NULL, which MySQL and MariaDB both run as look-ups in the other side's primary key.
"""

# ruff: noqa: S608 - identifiers come quoted from `identifiers`, values are parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from populate_operator.jobs.database import Statement
from populate_operator.jobs.identifiers import columns, quote
from populate_operator.jobs.relations import Queue, Relation, build_key_condition

# What a job looks like before anybody worked on it; priority, created_time and the key stay.
_FRESH = (
    "`status` = 'pending', `scheduled_time` = CURRENT_TIMESTAMP(3), `reserved_time` = NULL, "
    "`completed_time` = NULL, `duration` = NULL, `error_message` = '', `error_stack` = NULL, "
    "`user` = '', `host` = '', `connection_id` = 0, `version` = ''"
)


def microseconds(seconds: float) -> int:
    """SQL intervals are exact in microseconds."""
    return round(seconds * 1_000_000)


def build_insert_new(queue: Queue, source: Relation, *, priority: int, delay: float) -> Statement:
    """Add (key source - target - jobs) as pending jobs, due `delay` seconds from now.

    A key that another refresh adds at the same moment is left as that one made it.
    """
    first = quote(queue.names[0])
    return Statement(
        f"INSERT INTO {queue.jobs.sql} ({columns(queue.names)}, `status`, `priority`, `scheduled_time`) "
        f"SELECT {columns(queue.names, 'k')}, 'pending', %s, "
        "CURRENT_TIMESTAMP(3) + INTERVAL %s MICROSECOND "
        f"{build_missing(queue, source)} "
        f"ON DUPLICATE KEY UPDATE {queue.jobs.sql}.{first} = {queue.jobs.sql}.{first}",
        (priority, microseconds(delay), *source.parameters),
        source.schema,
    )


def build_missing(queue: Queue, source: Relation) -> str:
    """FROM and WHERE of the keys that are neither in the target nor in the queue."""
    first = quote(queue.names[0])
    return (
        f"FROM {source.sql} AS k "
        f"LEFT JOIN {queue.jobs.sql} AS j ON {queue.match(source, 'k', queue.jobs, 'j')} "
        f"LEFT JOIN {queue.target.sql} AS t ON {queue.match(source, 'k', queue.target, 't')} "
        f"WHERE j.{first} IS NULL AND t.{first} IS NULL"
    )


def build_select_undone(queue: Queue, source: Relation, limit: int) -> Statement:
    """Keys of `success` jobs that are in the key source and no longer in the target."""
    return Statement(
        f"SELECT {columns(queue.names, 'j')} FROM {queue.jobs.sql} AS j {_target_of_job(queue)} "
        f"WHERE j.`status` = 'success' AND t.{quote(queue.names[0])} IS NULL "
        f"AND {_in_source(queue, source)} LIMIT {limit:d}",
        source.parameters,
        source.schema,
    )


def build_select_done(queue: Queue, limit: int) -> Statement:
    """Keys of pending and failed jobs whose key is in the target already."""
    return Statement(
        f"SELECT {columns(queue.names, 'j')} FROM {queue.jobs.sql} AS j "
        f"WHERE j.`status` IN ('pending', 'error') AND EXISTS (SELECT 1 FROM {queue.target.sql} AS t "
        f"WHERE {queue.match(queue.jobs, 'j', queue.target, 't')}) LIMIT {limit:d}"
    )


def build_select_vanished(queue: Queue, source: Relation, limit: int) -> Statement:
    """Keys of finished jobs that are neither in the key source nor in the target, whatever their age."""
    return Statement(
        f"{_select_absent(queue, source, _target_of_job(queue))} AND j.`status` IN ('success', 'error') "
        f"AND t.{quote(queue.names[0])} IS NULL LIMIT {limit:d}",
        source.parameters,
        source.schema,
    )


def build_select_stale(queue: Queue, source: Relation, timeout: float, limit: int) -> Statement:
    """Keys of jobs older than `timeout` seconds that are not in the key source.

    Neither ignored jobs nor reserved ones: work on those is under way and is settled first.
    """
    return Statement(
        # Not `status IN (...)`: that would be looked up in the index, a row at a time.
        f"{_select_absent(queue, source)} AND j.`status` <> 'reserved' AND j.`status` <> 'ignore' "
        f"AND j.`created_time` < CURRENT_TIMESTAMP - INTERVAL %s MICROSECOND LIMIT {limit:d}",
        (*source.parameters, microseconds(timeout)),
        source.schema,
    )


def build_delete(queue: Queue, keys: Sequence[Sequence[Any]], statuses: Sequence[str]) -> Statement:
    """Delete the jobs with these keys that still have one of these statuses."""
    condition, parameters = build_key_condition(queue.names, keys)
    return Statement(
        f"DELETE FROM {queue.jobs.sql} WHERE {condition} AND `status` IN ({_places(statuses)})",
        (*parameters, *statuses),
    )


def build_repend(queue: Queue, keys: Sequence[Sequence[Any]]) -> Statement:
    """Make `success` jobs with these keys pending again, in place; their attempts start anew."""
    condition, parameters = build_key_condition(queue.names, keys)
    return Statement(
        f"UPDATE {queue.jobs.sql} SET {_FRESH}, `pid` = 0 WHERE {condition} AND `status` = 'success'",
        parameters,
    )


def build_select_orphans(queue: Queue, timeout: float, spared_owners: Sequence[str], limit: int) -> Statement:
    """Keys of jobs that were reserved more than `timeout` seconds ago, but for those of `spared_owners`."""
    condition, parameters = _is_orphan(timeout, spared_owners)
    return Statement(
        f"SELECT {columns(queue.names)} FROM {queue.jobs.sql} WHERE {condition} LIMIT {limit:d}", parameters
    )


def build_repend_orphans(
    queue: Queue, keys: Sequence[Sequence[Any]], timeout: float, spared_owners: Sequence[str]
) -> Statement:
    """Make those of these jobs pending again, in place, that still are orphans.

    By the primary key: along the index of the status it would lock entry and row of every reserved job in
    the order that a worker's DELETE does not, and that worker would be the victim. The `pid` of a foreign
    reservation is a process, not an attempt, so it is cleared.
    """
    by_key, key_parameters = build_key_condition(queue.names, keys)
    condition, parameters = _is_orphan(timeout, spared_owners)
    return Statement(
        f"UPDATE {queue.jobs.sql} SET {_FRESH}, `pid` = 0 WHERE {by_key} AND {condition}",
        (*key_parameters, *parameters),
    )


def _is_orphan(timeout: float, spared_owners: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    """Reserved so long ago by text and by moment: when summer time begins, the text says an hour too much."""
    spared = "".join(" AND LEFT(`user`, %s) <> %s" for _ in spared_owners)
    return (
        "`status` = 'reserved' AND `reserved_time` < CURRENT_TIMESTAMP - INTERVAL %s MICROSECOND "
        f"AND UNIX_TIMESTAMP(`reserved_time`) < UNIX_TIMESTAMP(CURRENT_TIMESTAMP(6)) - %s{spared}",
        (microseconds(timeout), timeout, *(part for one in spared_owners for part in (len(one), one))),
    )


def build_count_target(queue: Queue, source: Relation, *, is_distinct: bool) -> Statement:
    """How many keys the key source has, and how many of them are in the target."""
    keys = source.sql
    if not is_distinct:
        keys = f"(SELECT DISTINCT {columns(queue.names)} FROM {source.sql} AS s)"
    found = f"EXISTS (SELECT 1 FROM {queue.target.sql} AS t WHERE "
    found += f"{queue.match(source, 'k', queue.target, 't')})"
    sql = f"SELECT COUNT(*), COALESCE(SUM({found}), 0) FROM {keys} AS k"
    return Statement(sql, source.parameters, source.schema)


def _select_absent(queue: Queue, source: Relation, join: str = "") -> str:
    return (
        f"SELECT {columns(queue.names, 'j')} FROM {queue.jobs.sql} AS j {join} "
        f"LEFT JOIN {source.sql} AS k ON {queue.match(queue.jobs, 'j', source, 'k')} "
        f"WHERE k.{quote(queue.names[0])} IS NULL"
    )


def _target_of_job(queue: Queue) -> str:
    return f"LEFT JOIN {queue.target.sql} AS t ON {queue.match(queue.jobs, 'j', queue.target, 't')}"


def _in_source(queue: Queue, source: Relation) -> str:
    match = queue.match(queue.jobs, "j", source, "k")
    return f"EXISTS (SELECT 1 FROM {source.sql} AS k WHERE {match})"


def _places(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))
