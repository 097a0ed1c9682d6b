"""Refresh: bring a job queue in line with its key source and its target, in whole sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from populate_operator.jobs import refresh_statements as statements
from populate_operator.jobs.batches import batches
from populate_operator.jobs.context import Context
from populate_operator.jobs.database import Database, Row, Statement
from populate_operator.jobs.errors import BadKeySource, StatementRefused
from populate_operator.jobs.key_types import VALUE_REFUSED
from populate_operator.jobs.relations import Relation

_PAGE = 10_000  # keys read at once: bounds memory
_BATCH = 500  # keys written by one statement: bounds what it locks


class RefreshResult(TypedDict):
    """What a refresh changed, in jobs."""

    added: int
    removed: int
    orphaned: int
    re_pended: int


def check_priority(number: int) -> int:
    """Raises ValueError for what a tinyint cannot hold; DataJoint lets it through to the server."""
    if not -128 <= number <= 127:
        raise ValueError(f"a priority has to be from -128 to 127, not {number}")
    return number


@dataclass(frozen=True, slots=True)
class RefreshOptions:
    """How to refresh; times in seconds."""

    priority: int
    delay: float
    keep_completed: bool
    stale_timeout: float  # 0 skips the removal of stale jobs
    orphan_timeout: float | None  # None skips the re-pending of orphans
    spared_owners: Sequence[str]


def refresh(database: Database, context: Context, source: Relation, options: RefreshOptions) -> RefreshResult:
    """All steps of a refresh, each of them complete by itself; `source` is the restricted key source."""
    result = RefreshResult(added=0, removed=0, orphaned=0, re_pended=0)
    result["added"] = add_new(database, context, source, priority=options.priority, delay=options.delay)
    if options.keep_completed:
        result["re_pended"] = repend_undone(database, context, source)
    result["removed"] = remove_done(database, context) + remove_vanished(database, context)
    if options.stale_timeout > 0:
        result["removed"] += remove_stale(database, context, options.stale_timeout)
    if options.orphan_timeout is not None and options.orphan_timeout > 0:
        spared = options.spared_owners
        result["orphaned"] = repend_orphans(database, context, options.orphan_timeout, spared)
    return result


def add_new(database: Database, context: Context, source: Relation, *, priority: int, delay: float) -> int:
    """Insert (key source - target - jobs) as pending; the number of jobs added.

    Raises BadKeySource when a key is, for one, NULL.
    """
    statement = statements.build_insert_new(context.queue, source, priority=priority, delay=delay)
    try:
        return database.execute(statement)
    except StatementRefused as error:
        if error.code not in VALUE_REFUSED:
            raise
        raise BadKeySource(f"the key source yields keys that the queue cannot hold: {error}") from error


def repend_undone(database: Database, context: Context, source: Relation) -> int:
    """Make `success` jobs pending again whose rows left the target; the number of them."""
    queue = context.queue
    return _apply(
        database,
        statements.build_select_undone(queue, source, _PAGE),
        lambda keys: statements.build_repend(queue, keys),
    )


def remove_done(database: Database, context: Context) -> int:
    """Delete pending and failed jobs whose key is in the target already; the number of them."""
    queue = context.queue
    return _apply(
        database,
        statements.build_select_done(queue, _PAGE),
        lambda keys: statements.build_delete(queue, keys, ("pending", "error")),
    )


def remove_vanished(database: Database, context: Context) -> int:
    """Delete finished jobs whose key left key source and target; the number of them."""
    queue = context.queue
    return _apply(
        database,
        statements.build_select_vanished(queue, context.source, _PAGE),
        lambda keys: statements.build_delete(queue, keys, ("success", "error")),
    )


def remove_stale(database: Database, context: Context, timeout: float) -> int:
    """Delete unreserved jobs older than `timeout` whose key left the key source; the number of them."""
    queue = context.queue
    return _apply(
        database,
        statements.build_select_stale(queue, context.source, timeout, _PAGE),
        lambda keys: statements.build_delete(queue, keys, ("pending", "success", "error")),
    )


def repend_orphans(database: Database, context: Context, timeout: float, spared: Sequence[str]) -> int:
    """Make old reservations of others pending again; the number of them."""
    queue = context.queue
    return _apply(
        database,
        statements.build_select_orphans(queue, timeout, spared, _PAGE),
        lambda keys: statements.build_repend_orphans(queue, keys, timeout, spared),
    )


def _apply(database: Database, select: Statement, write: Callable[[Sequence[Row]], Statement]) -> int:
    """Write to the keys that `select` finds, page by page, until it finds no more.

    Finding reads without locks, however large the tables are; writing touches single jobs by their
    primary key and checks their status again.
    """
    changed = 0
    while keys := database.fetch(select):
        written = sum(database.execute(write(batch)) for batch in batches(keys, _BATCH))
        changed += written
        if len(keys) < _PAGE or not written:
            break
    return changed
