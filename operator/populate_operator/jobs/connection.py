"""One connection: how it is opened, what it must be able to do, and what its failures mean."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR

from populate_operator.jobs.errors import (
    AccessDenied,
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    JobsError,
    NoSuchSchema,
    NoSuchTable,
    StatementRefused,
    UnsupportedServer,
)
from populate_operator.jobs.retry import BUSY, LOST
from populate_operator.jobs.tls import Tls, build_connect_arguments

# The same as DataJoint's, so that both refuse the same values.
_SQL_MODE = (
    "NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,STRICT_ALL_TABLES,"
    "NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY"
)
_ACCESS = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1698, 1820, 1862, 3118, 3955, 4151})
_UNREACHABLE = frozenset({1040, 1129, 1130, 1203, 2002, 2003, 2005, 2026, 2027, 2059, 2061}) | LOST
_CROWDED = frozenset({1040, 1203})  # no connection is left, of the server's or of the account's
_READ_ONLY = frozenset({1836, 1874, 3989})  # and 1290, which stands for many an option
_FULL = frozenset({1021, 1114, 3675})
_STORAGE = frozenset({1026, 1030})  # an error of the file system, told by its number
# A peer that is gone without a word is noticed within about ten seconds, also in the middle of a statement,
# however long that may take: its kernel answers in its stead while it lives.
_DEAD_PEER = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
_LONGEST_TEXT = 1000  # servers use 512 bytes; it goes into a condition, which the API server has to keep
_MINIMUM = {"MySQL": (8, 0), "MariaDB": (10, 6)}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the server: to accept a connection, to answer, and to take what is sent.

    `idle` is how long the server waits for us. One that was frozen or cut off in the middle of a transaction
    holds its locks until then, and by the server's own default that is eight hours.
    """

    connect: float = 5
    read: float = 600
    write: float = 60
    idle: int = 30


@dataclass(frozen=True, slots=True)
class Address:
    """A server and an account on it. The password is kept out of the representation."""

    host: str
    port: int
    user: str
    password: str
    tls: Tls
    timeouts: Timeouts

    def __repr__(self) -> str:
        return f"Address({self})"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def connect(address: Address) -> Connection[Any]:
    """Open a connection: READ COMMITTED, strict, utf8mb4, autocommit until a transaction begins.

    The session's time zone stays the server's own, as in a DataJoint session: the queue's times are
    the database clock in that zone.

    Raises DatabaseUnreachable, AccessDenied or UnsupportedServer.
    """
    arguments = build_connect_arguments(address.tls)
    timeouts = address.timeouts
    try:
        with driver_errors():
            connection = pymysql.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                charset="utf8mb4",
                autocommit=True,
                sql_mode=_SQL_MODE,
                init_command=f"SET SESSION wait_timeout = {timeouts.idle:d}",
                connect_timeout=timeouts.connect,
                # What listens there may be no database, and wait for us to speak first.
                read_timeout=min(timeouts.connect, timeouts.read),
                write_timeout=timeouts.write,
                program_name="populate-operator",
                **arguments,
            )
            connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    except (pymysql.err.Error, OSError) as error:
        raise explain(error, address) from error
    try:
        check_server_version(str(connection.get_server_info()))  # type: ignore[no-untyped-call]
    except UnsupportedServer:
        connection.close()
        raise
    connection._read_timeout = timeouts.read  # type: ignore[attr-defined]  # it has no public name
    _notice_dead_peer(connection._sock)  # type: ignore[attr-defined]  # nor has this
    return connection


def _notice_dead_peer(connected: socket.socket) -> None:
    for name, value in _DEAD_PEER.items():
        if option := getattr(socket, name, None):  # TCP_USER_TIMEOUT is Linux' own
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def is_alive(connection: Connection[Any], seconds: float) -> bool:
    """Whether the server answers on this connection within `seconds`."""
    patience, connection._read_timeout = connection._read_timeout, seconds  # type: ignore[attr-defined]
    try:
        connection.ping(reconnect=False)
    except Exception:  # whatever broke it, it is of no use any more
        return False
    finally:
        connection._read_timeout = patience  # type: ignore[attr-defined]
    return True


@contextmanager
def driver_errors() -> Iterator[None]:
    """Turns what the driver trips over when the other side does not keep to the protocol into its own error.

    Among them: a server that asks for a file of this machine, which the driver refuses by RuntimeError.
    """
    try:
        yield
    except (ValueError, LookupError, AssertionError, RuntimeError, struct.error) as error:
        text = f"this is no MySQL protocol ({type(error).__name__}: {error})"
        raise pymysql.err.InternalError(CR.CR_MALFORMED_PACKET, text) from error


def check_server_version(version: str) -> None:
    """Raises UnsupportedServer unless `version`, as the server greets with it, is new enough."""
    product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    number = re.search(r"(\d+)\.(\d+)", version.removeprefix("5.5.5-"))  # MariaDB's prefix for old replicas
    found = (int(number[1]), int(number[2])) if number else (0, 0)
    if found < _MINIMUM[product]:
        raise UnsupportedServer(
            f"the server is {product} {version}; job queues need MySQL 8.0 or MariaDB 10.6 or newer "
            "(SKIP LOCKED): upgrade the server"
        )


def error_code(error: BaseException) -> int:
    """The server's or client's error number; 0 for a socket that is closed, -1 where there is none."""
    if isinstance(error, pymysql.err.InterfaceError):
        return 0
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) and isinstance(error, pymysql.err.Error) else -1


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, and with it the transaction unless it was being committed."""
    return error_code(error) in LOST or (isinstance(error, OSError) and not isinstance(error, TimeoutError))


def is_denied(error: BaseException) -> bool:
    """Whether a privilege is missing. A connection keeps those of its schema: a new one may see more."""
    return error_code(error) in _ACCESS


def is_answered(error: BaseException) -> bool:
    """Whether the server itself refused a statement, so that its connection stays of use."""
    code = error_code(error)
    return code >= 1000 and not 2000 <= code < 3000 and code not in LOST  # 2000 to 2999 are the client's own


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again at once.

    Not after the client gave up waiting: the server may still be at work on the statement.
    """
    timed_out = error_code(error) == 2013 and "timed out" in str(error.args[-1])
    return error_code(error) in BUSY or (is_lost(error) and not timed_out)


def explain(error: BaseException, address: Address) -> JobsError:
    """Turn a driver's error into one that says what to do."""
    code = error_code(error)
    text = (str(error.args[-1]) if error.args else type(error).__name__)[:_LONGEST_TEXT]
    if code in _ACCESS:
        return AccessDenied(f"{address}: {text}; check the credentials and the account's privileges")
    if code in BUSY:
        return DatabaseBusy(f"{address}: {text}; it was retried in vain, try again later")
    if code in _READ_ONLY or (code == 1290 and "read" in text and "only" in text):
        return DatabaseReadOnly(f"{address}: {text}; make the server writable, or name one that is")
    if code in _FULL or (code in _STORAGE and re.search(r"\b28\b", text)):
        return DatabaseFull(f"{address}: {text}; make room on the server's disk")
    if code in _CROWDED:
        return DatabaseUnreachable(f"{address}: {text}; close connections, or raise the limit of them")
    if code == 1049:
        return NoSuchSchema(f"{address}: {text}; create the schema, or correct its name")
    if code == 1146:
        return NoSuchTable(f"{address}: {text}; declare the table, or correct its name")
    # The driver's own complaints about what it read carry no number.
    if code in _UNREACHABLE or code == -1:
        return DatabaseUnreachable(
            f"{address}: {text}; check host, port, TLS mode, network policy and that the server is up"
        )
    return StatementRefused(f"{address}: the server refused a statement: {text} ({code})", code)
