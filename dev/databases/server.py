"""A database server as its clients see it: where it listens and one account with every privilege."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote, urlsplit

import pymysql

from dev.console import SetupError

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

Kind = Literal["mysql", "mariadb"]
KINDS: tuple[Kind, ...] = ("mysql", "mariadb")


@dataclass(frozen=True)
class Server:
    """A running server; `version` is its own answer to SELECT VERSION(), empty when never asked."""

    kind: Kind
    host: str
    port: int
    user: str
    password: str
    version: str = ""

    @property
    def url(self) -> str:
        """`mysql://user:password@host:port`, for both kinds, as the environment variables hold it."""
        return f"mysql://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{self.host}:{self.port}"

    @classmethod
    def from_url(cls, kind: Kind, url: str) -> Server:
        """The server at `url`, asked for its version; raises SetupError when it does not answer as `kind`."""
        parts = urlsplit(url)
        if parts.scheme != "mysql" or not parts.hostname or not parts.username:
            raise SetupError(f"the address of {kind} must look like mysql://user:password@host:port")
        server = cls(
            kind,
            parts.hostname,
            parts.port or 3306,
            unquote(parts.username),
            unquote(parts.password or ""),
        )
        try:
            server = server.identified()
        except pymysql.Error as error:
            raise SetupError(
                f"{kind} at {server.host}:{server.port} does not answer: {error.args[-1]}"
            ) from error
        if ("MariaDB" in server.version) != (kind == "mariadb"):
            raise SetupError(
                f"{server.host}:{server.port} is {server.version} and not {kind}: correct its URL"
            )
        return server

    def connect(self, **options: Any) -> Connection[Cursor]:
        """A new pymysql connection, autocommit unless `options` say otherwise; raises pymysql.Error."""
        account = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        chosen: dict[str, Any] = account | {"autocommit": True, "connect_timeout": 10} | options
        connection: Connection[Cursor] = pymysql.connect(**chosen)
        return connection

    def identified(self) -> Server:
        """The same server with its version filled in; raises pymysql.Error when it does not answer."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
        return replace(self, version=str(row[0]) if row else "")


@dataclass(frozen=True)
class Database:
    """One database (DataJoint: schema) on a server."""

    server: Server
    name: str

    def connect(self, **options: Any) -> Connection[Cursor]:
        """A new connection with this database selected; like Server.connect otherwise."""
        return self.server.connect(database=self.name, **options)

    def create(self) -> Database:
        """Create it, empty; raises pymysql.Error when it exists."""
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{self.name}`")
        return self

    def drop(self) -> None:
        """Drop it after ending every connection into it, whose locks would otherwise block the drop."""
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (self.name,))
            for (thread,) in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # it ended by itself meanwhile
                    cursor.execute("KILL %s", (thread,))
            cursor.execute("SET SESSION lock_wait_timeout = 30")
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.name}`")
