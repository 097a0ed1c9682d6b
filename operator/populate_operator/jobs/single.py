"""One job at a time and without a fence, as DataJoint has it; whatever the job's status.

Source: `datajoint.jobs.Job.complete`, `error` and `ignore`.
"""

from __future__ import annotations

from collections.abc import Mapping

from populate_operator.jobs import job_statements as statements
from populate_operator.jobs.blobs import pack_text
from populate_operator.jobs.context import Context
from populate_operator.jobs.database import Database, Session
from populate_operator.jobs.job_statements import NOW, Value, value
from populate_operator.jobs.keys import Key
from populate_operator.jobs.settlements import fit_message


def drop(database: Database, context: Context, key: Key, duration: float | None) -> bool:
    """Delete a completed job, its `duration` with it; whether it was there."""
    queue = context.queue

    def delete(session: Session) -> bool:
        return session.execute(statements.build_delete_job(queue, key.parameters)) == 1

    def has_landed(session: Session, deleted: bool) -> bool:
        return not deleted or not session.fetch(statements.build_lock(queue, [key.parameters]))

    # A transaction, since a deletion that is repeated says that there was nothing.
    return database.transaction(delete, landed=has_landed)


def keep(database: Database, context: Context, key: Key, duration: float | None) -> bool:
    """Keep a completed job as `success`, with its duration in seconds if that is known."""
    values: dict[str, Value] = {"status": value("success"), "completed_time": NOW}
    if duration is not None:
        values["duration"] = value(duration)
    return _update(database, context, key, values)


def fail(database: Database, context: Context, key: Key, message: str, stack: str | None) -> bool:
    """Make a job an `error`; without a stack it keeps the one that it has."""
    fitted = value(fit_message(message, context.message_charset))
    values: dict[str, Value] = {"status": value("error"), "completed_time": NOW, "error_message": fitted}
    if stack is not None:
        values["error_stack"] = value(pack_text(stack))
    return _update(database, context, key, values)


def ignore(database: Database, context: Context, key: Key, priority: int) -> None:
    """Make a job `ignore`, inserted with `priority` if it is absent."""
    database.execute(statements.build_ignore(context.queue, key.parameters, priority))


def _update(database: Database, context: Context, key: Key, values: Mapping[str, Value]) -> bool:
    """Whether there is such a job, even if it had these very values already."""
    changed = database.execute(statements.build_update_job(context.queue, key.parameters, values))
    return changed == 1 or bool(database.fetch(statements.build_find_job(context.queue, key.parameters)))
