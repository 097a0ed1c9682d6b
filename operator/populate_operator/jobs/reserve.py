"""Reservations: of one job as a DataJoint worker makes them, and of many for pods that are to come."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import datetime

from populate_operator.jobs import job_statements as statements
from populate_operator.jobs.batches import batches
from populate_operator.jobs.context import Context
from populate_operator.jobs.database import Database, Row, Session, Statement
from populate_operator.jobs.errors import BadKey, StatementRefused
from populate_operator.jobs.job_statements import NOT_ENDED, Value, value
from populate_operator.jobs.key_types import VALUE_REFUSED, is_timestamp
from populate_operator.jobs.keys import Key
from populate_operator.jobs.rows import Fence, Job, read_claimed, read_job

Hosts = Sequence[str] | Callable[[Key, int], str]

_BATCH = 500
_NAME_LENGTH, _VERSION_LENGTH = 255, 64  # characters that the columns hold


def reserve_one(database: Database, context: Context, key: Key) -> bool:
    """Reserve a pending, due job for this process; whether it was got."""
    statement = statements.build_reserve(context.queue, key.parameters, platform.node(), os.getpid())

    def reserve(session: Session) -> tuple[bool, int]:
        reserved = session.execute(statement) == 1
        return reserved, session.ask_id() if reserved else 0

    def has_landed(session: Session, result: tuple[bool, int]) -> bool:
        reserved, connection_id = result
        found = _lock(session, context, [key])
        # A number of a connection is used once while the server runs: it is this reservation's fence.
        return not reserved or any(
            job.status == "reserved" and job.connection_id == connection_id and job.pid == os.getpid()
            for job in found
        )

    return database.transaction(reserve, landed=has_landed)[0]


def reserve_due(
    database: Database, context: Context, limit: int, scope: Statement, owner: str, hosts: Hosts, version: str
) -> list[Job]:
    """Reserve up to `limit` due jobs, the most urgent first, each under a fence of its own.

    Raises BadKey for a job whose key, as text, is that of another.
    """
    timestamps = [column.name for column in context.target.key_columns if is_timestamp(column.type)]
    claim = statements.build_claim(context.queue, limit, scope, timestamps)

    def reserve(session: Session) -> list[Job]:
        found = session.fetch(claim)
        if not found:
            return []
        _refuse_ambiguous(context, found, timestamps)
        now: datetime = session.fetch(Statement("SELECT CURRENT_TIMESTAMP(3)"))[0][0]
        common, name_host = (now, owner, version[-_VERSION_LENGTH:]), _naming(hosts)
        jobs = [read_claimed(context.target.keys, row, name_host, common) for row in found]
        for batch in batches(jobs, _BATCH):
            keys, names = [job.key.parameters for job in batch], [job.host for job in batch]
            statement = statements.build_reserve_claimed(context.queue, keys, names, common)
            _write(session, context, statement, len(batch))
        return jobs

    def has_landed(session: Session, jobs: list[Job]) -> bool:
        fences = {(job.key, job.fence) for job in jobs}
        return not jobs or any(
            not fences.isdisjoint((job.key, job.fence) for job in _lock(session, context, keys))
            for keys in batches([job.key for job in jobs], _BATCH)
        )

    return database.transaction(reserve, landed=has_landed)


def _refuse_ambiguous(context: Context, found: Sequence[Row], timestamps: Sequence[str]) -> None:
    """The last column of a claim says whether the row is found by its key again, to be written and settled.

    One that is not would write to the job of the other moment, which may be somebody's.
    """
    for row in found:
        if not row[-1]:
            key = context.target.keys.from_row(row).json
            raise BadKey(
                f"the job {key} of {context.queue.jobs.sql} cannot be reserved: {', '.join(timestamps)} is a "
                "timestamp in the hour that the end of summer time repeats, and its text means the other of "
                "the two moments; leave that hour out by a restriction, or use datetime"
            )


def take_back(
    database: Database, context: Context, key: Key, fence: Fence, attempt: int, version: str, priority: int
) -> bool:
    """Give a worker its reservation again unless the job is another's or ignored; whether it has it.

    What an earlier run of the job left, its error above all, goes. Raises BadKey for a key that the columns
    cannot hold.
    """
    wanted: dict[str, Value] = {
        "status": value("reserved"),
        "reserved_time": statements.NOW,
        "user": value(fence.owner),
        "host": value(fence.host),
        "pid": value(attempt),
        "connection_id": value(0),
        "version": value(version[-_VERSION_LENGTH:]),
        **NOT_ENDED,
    }

    def take(session: Session) -> bool:
        found = _lock(session, context, [key])
        if not found:
            new = wanted | {"priority": value(priority)}
            if session.execute(statements.build_insert_job(context.queue, key.parameters, new)) == 1:
                return True
            found = _lock(session, context, [key])  # what others inserted since, a refresh for one
        if not found or found[0].status == "ignore":
            return False
        if found[0].status == "reserved":
            return found[0].fence == fence
        return session.execute(statements.build_update_job(context.queue, key.parameters, wanted)) == 1

    try:
        return database.transaction(take)
    except StatementRefused as error:
        if error.code in VALUE_REFUSED:
            raise BadKey(f"{key!r:.200} does not fit the queue's columns: {error}") from error
        raise


def write_locked(
    session: Session, context: Context, names: Sequence[str], jobs: Sequence[Job], rows: Sequence[list[Value]]
) -> None:
    """Write `names` of jobs that this transaction has locked.

    Raises RuntimeError, and so undoes the transaction, if that did not update exactly those jobs.
    """
    if not rows:
        return
    full = [[*map(value, job.key.parameters), *row] for job, row in zip(jobs, rows, strict=True)]
    statement = statements.build_overwrite(context.queue, (*context.queue.names, *names), full)
    _write(session, context, statement, len(rows))


def _write(session: Session, context: Context, statement: Statement, jobs: int) -> None:
    written = session.execute(statement)
    if written != 2 * jobs:  # MySQL counts an updated row of INSERT ... ON DUPLICATE KEY as two
        raise RuntimeError(f"{written} instead of {2 * jobs} rows changed in {context.queue.jobs.sql}")


def _lock(session: Session, context: Context, keys: Sequence[Key]) -> list[Job]:
    if not keys:
        return []
    rows = session.fetch(statements.build_lock(context.queue, [key.parameters for key in keys]))
    return [read_job(context.target.keys, row) for row in rows]


def _naming(hosts: Hosts) -> Callable[[Key, int], str]:
    """What names a job's host; a sequence gives its names in their order."""
    names = iter(()) if callable(hosts) else iter(hosts)

    def name_host(key: Key, attempt: int) -> str:
        host = hosts(key, attempt) if callable(hosts) else next(names)
        if not 0 < len(host) <= _NAME_LENGTH:
            raise ValueError(f"a host has to have 1 to {_NAME_LENGTH} characters, not {host!r}")
        return host

    return name_host
