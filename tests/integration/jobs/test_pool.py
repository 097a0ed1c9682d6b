"""The pool of connections: who waits for one, and what is kept.

- to wait for a connection is no fault of the database, and is told so
- where the network is gone one connection is asked in vain, not each of those that are kept
"""

from __future__ import annotations

from typing import Any

import pytest
from pymysql.connections import Connection

from dev.databases import Server
from populate_operator.jobs import DatabaseUnreachable, Timeouts, pool
from populate_operator.jobs.connection import is_alive
from populate_operator.jobs.pool import Pool
from tests.e2e.lab.gateway import gateway
from tests.integration.jobs.arena import account


def test_waiting_for_a_connection_is_no_fault_of_the_database(server: Server) -> None:
    small = Pool(account(server, timeouts=Timeouts(read=2.0)).address, size=1)
    taken = small.acquire()
    with pytest.raises(DatabaseUnreachable, match=r"1 connections became free.*no fault of the database"):
        small.acquire()
    small.release(taken)
    assert small.acquire() is taken
    small.discard(taken)


def test_one_connection_is_asked_in_vain(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(connection: Connection[Any], seconds: float) -> bool:
        asked.append(connection)
        return is_alive(connection, seconds)

    monkeypatch.setattr(pool, "is_alive", ask)
    monkeypatch.setattr(pool, "_IDLE_SECONDS", 0.0)
    with gateway("127.0.0.1", (server.host, server.port)) as way:
        kept = Pool(account(server, port=way.port, timeouts=Timeouts(connect=3)).address)
        idle = [kept.acquire() for _ in range(4)]
        for connection in idle:
            kept.release(connection)
        way.forget()
        new = kept.acquire()
        assert (len(asked), new in idle) == (1, False)
        assert not any(connection.open for connection in idle)
        kept.discard(new)
