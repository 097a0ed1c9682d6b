"""A peer that vanished, and a server without room.

- the kernel notices a dead peer within seconds, also in the middle of a long statement
- what is full is told as such (a table in memory, whose limit is small), and works again with room
"""

from __future__ import annotations

import socket

import pytest

from dev.databases import Database
from populate_operator.jobs import DatabaseFull
from populate_operator.jobs.connection import connect
from populate_operator.jobs.database import Statement
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
