"""A peer that vanished, and a server without room.

- the kernel notices a dead peer within seconds, also in the middle of a long statement
- a connection that a proxy forgot in the middle of a transaction is broken off, and its locks with it
- a statement that merely takes long is let be
- what is full is told as such (a table in memory, whose limit is small), and works again with room
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dev.databases import Database
from populate_operator.jobs import DatabaseFull, Timeouts
from populate_operator.jobs.connection import connect
from populate_operator.jobs.database import Session, Statement
from tests.e2e.lab.gateway import gateway
from tests.integration.jobs.arena import account, rows


def test_the_kernel_asks_after_the_peer(database: Database) -> None:
    with connect(account(database.server).address) as connection:
        connected = connection._sock  # type: ignore[attr-defined]
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        idle, interval, count = (
            connected.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    assert idle + interval * count <= 15


def test_a_forgotten_transaction_is_run_again(database: Database) -> None:
    with database.connect() as connection:
        rows(connection, "CREATE TABLE tally (n INT) ENGINE=InnoDB")
        rows(connection, "INSERT INTO tally VALUES (0)")
    server, forgotten = database.server, threading.Event()
    count = Statement(f"UPDATE `{database.name}`.tally SET n = n + 1")
    with gateway("127.0.0.1", (server.host, server.port)) as way, ThreadPoolExecutor(1) as threads:
        # Its locks would outlast the test if its session were not ended on the server.
        ours = account(server, port=way.port, timeouts=Timeouts(idle=3600))

        def work(session: Session) -> None:
            session.execute(count)
            if not forgotten.is_set():
                way.forget()
                forgotten.set()
            session.execute(count)

        call = threads.submit(ours.transaction, work)
        forgotten.wait()
        while not (ended := ours.break_off_forgotten(after=0)):
            pass  # the server has answered, and is not through with the statement yet
        assert ended == 1
        call.result(30)
    with database.connect() as connection:
        assert rows(connection, "SELECT n FROM tally") == [(2,)]


def test_a_slow_statement_is_let_be(database: Database) -> None:
    ours, until = account(database.server), Statement("SELECT GET_LOCK(%s, 600), 'at work'", (database.name,))
    with ThreadPoolExecutor(1) as threads, database.connect() as watcher:
        rows(watcher, "SELECT GET_LOCK(%s, 0)", (database.name,))
        slow = threads.submit(ours.fetch, until)
        while not any("at work" in str(row[7]) for row in rows(watcher, "SHOW PROCESSLIST")):
            time.sleep(0.01)
        assert ours.break_off_forgotten(after=0) == 0
        rows(watcher, "SELECT RELEASE_LOCK(%s)", (database.name,))
        assert slow.result() == [(1, "at work")]


def test_no_room_is_told(database: Database) -> None:
    with database.connect() as connection:
        rows(connection, "SET SESSION max_heap_table_size = 65536")
        rows(connection, "CREATE TABLE lots (text CHAR(255)) ENGINE=MEMORY")
    ours = account(database.server)
    row = Statement(f"INSERT INTO `{database.name}`.lots VALUES ('x')")

    def fill() -> None:
        for _ in range(1000):
            ours.execute(row)

    with pytest.raises(DatabaseFull, match=r"lots.*make room"):
        fill()
    ours.execute(Statement(f"DELETE FROM `{database.name}`.lots"))
    assert ours.execute(row) == 1
