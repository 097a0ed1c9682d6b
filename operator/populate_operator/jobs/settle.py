"""Settlement: writes what became of reserved jobs, each only if its fence still holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from populate_operator.jobs import job_statements as statements
from populate_operator.jobs.batches import batches
from populate_operator.jobs.blobs import pack_text
from populate_operator.jobs.context import Context
from populate_operator.jobs.database import Database, Session
from populate_operator.jobs.job_statements import NOT_ENDED, NOW, Value, value
from populate_operator.jobs.refresh_statements import microseconds
from populate_operator.jobs.reserve import write_locked
from populate_operator.jobs.rows import Job, read_job
from populate_operator.jobs.settlements import (
    Complete,
    Error,
    Ignore,
    Release,
    Settlement,
    fit_message,
)

_BATCH = 200
_COLUMNS = (
    "status",
    "priority",
    "scheduled_time",
    "reserved_time",
    "completed_time",
    "duration",
    "error_message",
    "error_stack",
    "user",
    "host",
    "pid",
    "connection_id",
    "version",
)


def settle(
    database: Database, context: Context, settlements: Sequence[Settlement], *, keep_completed: bool
) -> list[bool | None]:
    """Settle jobs, a batch in one transaction; for each whether it took effect, None where it is locked."""
    effects: list[bool | None] = []
    for batch in batches(settlements, _BATCH):
        effects += _Batch(context, batch, keep_completed).settle(database)
    return effects


class _Batch:
    """One transaction's settlements."""

    def __init__(self, context: Context, settlements: Sequence[Settlement], keep_completed: bool) -> None:
        self.context, self.settlements, self.keep_completed = context, settlements, keep_completed

    def settle(self, database: Database) -> list[bool | None]:
        return database.transaction(self._write, landed=self._has_landed)

    def _write(self, session: Session) -> list[bool | None]:
        # Somebody who looks at one job in an open transaction must not hold up all others.
        held = self._held(session, self.settlements, " FOR UPDATE SKIP LOCKED")
        left = [s for s in self.settlements if (s.key, s.fence) not in held]
        locked = self._held(session, left, "").keys() - held.keys() if left else ()
        jobs = [held.pop((s.key, s.fence), None) for s in self.settlements]
        won = [(s, job) for s, job in zip(self.settlements, jobs, strict=True) if job is not None]
        gone = [job for s, job in won if isinstance(s, Complete) and not self.keep_completed]
        kept = [(s, job) for s, job in won if not isinstance(s, Complete) or self.keep_completed]
        self._delete(session, gone)
        charset = self.context.message_charset
        rows = [build_settled_row(s, job, charset) for s, job in kept]
        write_locked(session, self.context, _COLUMNS, [job for _, job in kept], rows)
        return [
            None if job is None and (s.key, s.fence) in locked else job is not None
            for s, job in zip(self.settlements, jobs, strict=True)
        ]

    def _has_landed(self, session: Session, effects: list[bool | None]) -> bool:
        """All were written or none: it landed unless a reservation that was to end is still held."""
        held = self._held(session, self.settlements, " FOR UPDATE")
        return not any(
            effect and (s.key, s.fence) in held for s, effect in zip(self.settlements, effects, strict=True)
        )

    def _held(self, session: Session, settlements: Sequence[Settlement], tail: str) -> dict[Any, Job]:
        """Those of these jobs that are still reserved, by key and fence; `tail` as of `build_lock`."""
        keys = [s.key.parameters for s in settlements]
        rows = session.fetch(statements.build_lock(self.context.queue, keys, reserved=True, tail=tail))
        jobs = [read_job(self.context.target.keys, row) for row in rows]
        return {(job.key, job.fence): job for job in jobs}

    def _delete(self, session: Session, jobs: Sequence[Job]) -> None:
        # One by one: for many keys a server may read the whole table, and wait for others' locks on its way.
        single = (statements.build_delete_job(self.context.queue, job.key.parameters) for job in jobs)
        deleted = sum(map(session.execute, single))
        if deleted != len(jobs):
            raise RuntimeError(f"{deleted} instead of {len(jobs)} jobs deleted")


def build_settled_row(settlement: Settlement, job: Job, charset: str) -> list[Value]:
    """The values of `_COLUMNS` after `settlement`; what it does not change stays as `job` has it."""
    stack = None if job.error_stack is None else pack_text(job.error_stack)
    own = {name: value(getattr(job, name)) for name in _COLUMNS} | {"error_stack": value(stack)}
    changed = own | _changes(settlement, job, charset)
    return [changed[name] for name in _COLUMNS]


def _changes(settlement: Settlement, job: Job, charset: str) -> dict[str, Value]:
    match settlement:
        case Complete(duration=duration):
            return {"status": value("success"), "completed_time": NOW, "duration": value(duration)}
        case Error(message=message, stack=stack, duration=duration):
            return {
                "status": value("error"),
                "completed_time": NOW,
                "duration": value(duration),
                "error_message": value(fit_message(message, charset)),
                "error_stack": value(None if stack is None else pack_text(stack)),
            }
        case Release(delay=delay, counted=counted, carry=carry):
            due = ("CURRENT_TIMESTAMP(3) + INTERVAL %s MICROSECOND", (microseconds(delay),))
            attempts = job.pid if counted else max(job.pid - 1, 0)
            return {
                "status": value("pending"),
                "scheduled_time": due,
                "reserved_time": value(None),
                **NOT_ENDED,
                "user": value(""),
                "host": value(""),
                "pid": value(attempts),
                "connection_id": value(carry),
                "version": value(""),
            }
        case Ignore():
            return {"status": value("ignore")}
