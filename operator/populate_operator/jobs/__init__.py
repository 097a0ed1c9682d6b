"""The DataJoint job queue in SQL: complete, set-based and fenced.

`JobTable` is the queue of one auto-populated table, byte-compatible with DataJoint's `Table.jobs`; it is
of use to any Python program. The boundary: this package talks to MySQL and MariaDB and to nothing else.
It knows nothing of Kubernetes, and of pods only that a reservation carries the name of its worker.
"""

from populate_operator.jobs.connection import Timeouts
from populate_operator.jobs.database import Database
from populate_operator.jobs.errors import (
    AccessDenied,
    BadKey,
    BadKeySource,
    CommitInDoubt,
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    IncompatibleJobsTable,
    JobsError,
    NoSuchSchema,
    NoSuchTable,
    NotAutoPopulated,
    StatementRefused,
    UnsupportedServer,
)
from populate_operator.jobs.key_source import Restriction
from populate_operator.jobs.keys import Key, KeySchema
from populate_operator.jobs.populated import TargetProgress
from populate_operator.jobs.query import JobQuery
from populate_operator.jobs.refresh import RefreshResult
from populate_operator.jobs.retry import RetryPolicy
from populate_operator.jobs.rows import Fence, Job, Status
from populate_operator.jobs.settlements import Complete, Error, Ignore, Release, Settlement
from populate_operator.jobs.sql_text import read_condition, read_select
from populate_operator.jobs.table import JobTable
from populate_operator.jobs.target import Target
from populate_operator.jobs.tls import Tls

__all__ = [
    "AccessDenied",
    "BadKey",
    "BadKeySource",
    "CommitInDoubt",
    "Complete",
    "Database",
    "DatabaseBusy",
    "DatabaseFull",
    "DatabaseReadOnly",
    "DatabaseUnreachable",
    "Error",
    "Fence",
    "Ignore",
    "IncompatibleJobsTable",
    "Job",
    "JobQuery",
    "JobTable",
    "JobsError",
    "Key",
    "KeySchema",
    "NoSuchSchema",
    "NoSuchTable",
    "NotAutoPopulated",
    "RefreshResult",
    "Release",
    "Restriction",
    "RetryPolicy",
    "Settlement",
    "StatementRefused",
    "Status",
    "Target",
    "TargetProgress",
    "Timeouts",
    "Tls",
    "UnsupportedServer",
    "read_condition",
    "read_select",
]
