"""From an error to what the conditions say of it. Pure."""

from __future__ import annotations

from populate_operator.jobs import (
    AccessDenied,
    CommitInDoubt,
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    IncompatibleJobsTable,
    JobsError,
    NoSuchSchema,
    NoSuchTable,
    StatementRefused,
    UnsupportedServer,
)
from populate_operator.pods.errors import ApiError
from populate_operator.queue.access import NotReady
from populate_operator.queue.conditions import Trouble

_DATABASE = (
    AccessDenied,
    CommitInDoubt,
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    UnsupportedServer,
)
_ANSWERS = (IncompatibleJobsTable, NoSuchSchema, NoSuchTable, StatementRefused)
_ABOUT_CA = (
    "issuer certificate",
    "self-signed certificate",
    "signature failure",
    "the CA certificate for TLS",
)
_CA_REMEDY = (
    "; spec.database.tls.caSecretName names the Secret with the CA that signed the server's certificate"
)
Expected = JobsError | ApiError | NotReady  # what the world may do to a pass; anything else is a bug


def trouble_of(error: Expected) -> Trouble:
    """Reason and message of the condition; the messages of these errors already say what to do."""
    match error:
        case NotReady():
            return Trouble(error.reason, error.message)
        case ApiError():
            return Trouble("ApiUnreachable", error.message)
    remedy = _CA_REMEDY if any(words in str(error) for words in _ABOUT_CA) else ""
    return Trouble(type(error).__name__, str(error) + remedy)


def is_about_reaching(error: Expected) -> bool:
    """Whether the database itself could not be read or written, as against what was looked for in it."""
    return isinstance(error, _DATABASE)


def is_from_database(error: Expected) -> bool:
    """Whether it is an answer of the database, which therefore was reached."""
    return isinstance(error, _ANSWERS)
