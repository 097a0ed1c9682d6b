"""What can go wrong with a job queue. Every message names the thing and the remedy."""

from __future__ import annotations


class JobsError(Exception):
    """The base of everything this package raises on purpose."""


class DatabaseUnreachable(JobsError):
    """No connection, or it was lost more often than retries are allowed."""


class DatabaseBusy(JobsError):
    """Deadlocks or lock timeouts outlasted every retry; nothing was changed."""


class CommitInDoubt(JobsError):
    """The connection broke during a commit, and the server could not be asked whether it was done."""


class AccessDenied(JobsError):
    """The server refused the account, or the account lacks a privilege."""


class DatabaseReadOnly(JobsError):
    """The server, or the schema, takes no writes for now."""


class DatabaseFull(JobsError):
    """The server has no room left for what is to be written."""


class UnsupportedServer(JobsError):
    """The server is older than MySQL 8.0 or MariaDB 10.6."""


class StatementRefused(JobsError):
    """The server refused a statement for a reason of its own; `code` is its error number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class NoSuchSchema(JobsError):
    """The schema does not exist, or the account may not see it."""


class NoSuchTable(JobsError):
    """The table does not exist, or the account may not see it."""


class NotAutoPopulated(JobsError):
    """The table exists but can have no job queue."""


class BadKeySource(JobsError):
    """The key source or a restriction is not what it has to be, or the server refuses it."""


class BadKey(JobsError):
    """A key does not fit the primary key of the job queue."""


class IncompatibleJobsTable(JobsError):
    """A jobs table exists whose layout is not that of DataJoint 2; it was not altered."""
