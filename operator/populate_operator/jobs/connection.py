"""One connection: how it is opened, what it must be able to do, and what its failures mean."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Mapping
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
_NOT_READY = frozenset({1047})  # a Galera node that is outside its cluster; it still answers pings
_UNREACHABLE = frozenset({1129, 1130, 2002, 2003, 2005, 2026, 2027, 2059, 2061, 3159}) | LOST | _NOT_READY
_CROWDED = frozenset({1040, 1203, 1226})  # a limit of connections is reached, the server's or the account's
_READ_ONLY = frozenset({1792, 1836, 1874, 3989})  # and 1290, which stands for many an option
_FULL = frozenset({1021, 1114, 3675})
_STORAGE = frozenset({1026, 1030})  # an error of the file system, told by its number
# A peer that is gone without a word is noticed within about ten seconds, also in the middle of a statement,
# however long that may take: its kernel answers in its stead while it lives.
_DEAD_PEER = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
_LONGEST_TEXT = 1000  # servers use 512 bytes; it goes into a condition, which the API server has to keep
_MINIMUM = {"MySQL": (8, 0), "MariaDB": (10, 6)}
_WHO = "SELECT CONNECTION_ID(), @@hostname, @@port, @@server_id"


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


@dataclass(frozen=True, slots=True)
class Identity:
    """A session and its server as the server itself has them, which may be asked through a proxy.

    `greeted` is the number that the other side greeted with. Proxies greet with numbers of their own.
    """

    number: int
    greeted: int
    server: tuple[Any, ...]

    @property
    def is_direct(self) -> bool:
        """Whether nobody with numbers of its own stands between."""
        return self.number == self.greeted


def connect(address: Address) -> Connection[Any]:
    """Open a connection: READ COMMITTED, strict, utf8mb4, autocommit until a transaction begins.

    The session's time zone stays the server's own, as in a DataJoint session: the queue's times are
    the database clock in that zone.

    Raises DatabaseUnreachable, AccessDenied or UnsupportedServer.
    """
    arguments = build_connect_arguments(address.tls)
    try:
        with driver_errors():
            connection = _log_in(address, arguments)
            connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection._identity = identify(connection)  # type: ignore[attr-defined]  # kept for `identity_of`
    except (pymysql.err.Error, OSError) as error:
        raise explain(error, address) from error
    try:
        check_server_version(str(connection.get_server_info()))  # type: ignore[no-untyped-call]
    except UnsupportedServer:
        connection.close()
        raise
    connection._read_timeout = address.timeouts.read  # type: ignore[attr-defined]  # it has no public name
    _notice_dead_peer(connection._sock)  # type: ignore[attr-defined]  # nor has this
    return connection


def _log_in(address: Address, arguments: Mapping[str, Any]) -> Connection[Any]:
    timeouts = address.timeouts
    return pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password.encode(),  # as MySQL's own clients send it; text would become latin-1
        charset="utf8mb4",
        autocommit=True,
        init_command=f"SET SESSION sql_mode = '{_SQL_MODE}', SESSION wait_timeout = {timeouts.idle:d}",
        connect_timeout=timeouts.connect,
        # What listens there may be no database, and wait for us to speak first.
        read_timeout=min(timeouts.connect, timeouts.read),
        write_timeout=timeouts.write,
        program_name="populate-operator",
        **arguments,
    )


def identify(connection: Connection[Any]) -> Identity:
    """Ask who is at the other end. Within a transaction this is the session that does the transaction."""
    with driver_errors(), connection.cursor() as cursor:
        cursor.execute(_WHO)
        [(number, *server)] = cursor.fetchall()
    return Identity(number, connection.thread_id(), tuple(server))  # type: ignore[no-untyped-call]


def identity_of(connection: Connection[Any]) -> Identity:
    """Who was at the other end when the connection was opened; nothing is asked."""
    identity: Identity = connection._identity  # type: ignore[attr-defined]
    return identity


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
    return error_code(error) in LOST or (isinstance(error, OSError) and not _is_our_timeout(error))


def is_stale(error: BaseException) -> bool:
    """Whether a new connection may fare better, although the server answers on this one.

    A connection keeps the privileges of its schema. After a switchover it stays with the server that takes no
    writes any more, while the same address leads a new one to the server that does.
    """
    code = error_code(error)
    return code in _ACCESS or code in _NOT_READY or _is_read_only(code, _text(error))


def _is_read_only(code: int, text: str) -> bool:
    return code in _READ_ONLY or (code == 1290 and "read" in text and "only" in text)


def is_answered(error: BaseException) -> bool:
    """Whether the server itself refused a statement, so that its connection stays of use."""
    code = error_code(error)
    return code >= 1000 and not 2000 <= code < 3000 and code not in LOST  # 2000 to 2999 are the client's own


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again at once.

    Not after the client gave up waiting: the server may still be at work on the statement.
    """
    return error_code(error) in BUSY or (is_lost(error) and not _is_our_timeout(error))


def _is_our_timeout(error: BaseException) -> bool:
    """Whether we gave up waiting. The kernel's word that a peer is dead, ETIMEDOUT, has an error number."""
    if isinstance(error, TimeoutError):
        return error.errno is None
    text = _text(error)
    return error_code(error) == CR.CR_SERVER_LOST and "timed out" in text and "[Errno" not in text


def _text(error: BaseException) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__


def explain(error: BaseException, address: Address) -> JobsError:
    """Turn a driver's error into one that says what to do."""
    code = error_code(error)
    text = _text(error)[:_LONGEST_TEXT]
    if code in _ACCESS:
        return AccessDenied(f"{address}: {text}; check the credentials and the account's privileges")
    if code in BUSY:
        return DatabaseBusy(f"{address}: {text}; it was retried in vain, try again later")
    if _is_read_only(code, text):
        return DatabaseReadOnly(f"{address}: {text}; make the server writable, or name one that is")
    if code in _FULL or (code in _STORAGE and re.search(r"\b28\b", text)):
        return DatabaseFull(f"{address}: {text}; make room on the server's disk")
    if code in _CROWDED:
        return DatabaseUnreachable(f"{address}: {text}; close connections, or raise the limit")
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
