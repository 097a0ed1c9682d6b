"""Accounts that are not like others.

- a password that is not ASCII is sent as MySQL's own clients send it
- an account that may have no more connections, and a server that insists on TLS, are told as what they are
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from dev.databases import Instance, Kind, Server
from populate_operator.jobs import Database, DatabaseUnreachable, Tls
from populate_operator.jobs.connection import connect
from tests.integration.jobs.arena import account, rows

USER, PASSWORD = f"odd_{secrets.token_hex(6)}", "pała-ü"


@pytest.fixture
def odd(server: Server) -> Iterator[Database]:
    """An account whose password is not ASCII; without TLS, so that it is hashed or sealed on its way."""
    with server.connect() as connection:
        rows(connection, f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'")
    yield Database(host=server.host, port=server.port, user=USER, password=PASSWORD, tls=Tls("Disabled"))
    with server.connect() as connection:
        rows(connection, f"DROP USER {USER}")


def test_a_password_that_is_not_ascii(server: Server, odd: Database) -> None:
    """MySQL compares it the first time with the account, later with what it has cached."""
    for _ in range(2):
        with connect(odd.address) as connection:
            assert rows(connection, "SELECT 1") == [(1,)]
    with server.connect() as connection:
        rows(connection, "FLUSH PRIVILEGES")  # and the cache
    encrypted = Database(host=server.host, port=server.port, user=USER, password=PASSWORD)
    assert encrypted.check() == server.version


def test_an_account_without_a_connection_left(server: Server, odd: Database) -> None:
    with server.connect() as connection:
        rows(connection, f"ALTER USER {USER} WITH MAX_USER_CONNECTIONS 1")
    with connect(odd.address), pytest.raises(DatabaseUnreachable, match=r"max_user_connections.*raise the"):
        odd.check()


def test_a_server_that_insists_on_tls(private_server: Callable[[Kind], Instance]) -> None:
    server = private_server("mysql").server
    with server.connect() as connection:
        rows(connection, "SET GLOBAL require_secure_transport = ON")
    with pytest.raises(DatabaseUnreachable, match=r"require_secure_transport.*TLS mode"):
        account(server, tls=Tls("Disabled")).check()
    assert account(server).check() == server.version
