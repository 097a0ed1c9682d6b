"""What becomes of pooled connections.

- a statement that the server refuses costs no connection: the queue may be asked before it is declared
- a connection that died while it was idle is not noticed by whoever is given it next
- a client that was frozen in the middle of a transaction keeps its locks for a limited time
- the connections of an account that nobody holds any more are closed
- a program that ends with open connections ends in silence
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pymysql
import pytest

from dev.cache import REPOSITORY
from dev.databases import Database, Server
from populate_operator.jobs import StatementRefused, Timeouts
from populate_operator.jobs.connection import connect
from populate_operator.jobs.database import Statement
from tests.integration.jobs.arena import account, create_work, rows


def test_a_refused_statement_keeps_its_connection(database: Database) -> None:
    ours = account(database.server)
    table = create_work(database, 1)
    before = ours.fetch(Statement("SELECT CONNECTION_ID()"))

    assert table.progress()["total"] == 0  # its jobs table is not there: error 1146
    assert list(table.pending) == []
    with pytest.raises(StatementRefused):
        ours.execute(Statement("SELECT no_such_column FROM DUAL"))

    assert ours.fetch(Statement("SELECT CONNECTION_ID()")) == before


def test_a_connection_that_died_idle_is_not_noticed(database: Database) -> None:
    table = create_work(database, 3)
    table.refresh()

    def kill_idle() -> None:
        [(number,)] = table.database.fetch(Statement("SELECT CONNECTION_ID()"))
        with database.server.connect() as connection:
            rows(connection, "KILL %s", (number,))

    kill_idle()
    assert len(list(table.pending)) == 3
    kill_idle()
    assert table.pending.count() == 3
    kill_idle()
    assert table.reserve({"item_id": 1})
    kill_idle()
    assert len(table.reserve_many(3, owner="owner", hosts=["a", "b", "c"])) == 2


def test_a_frozen_client_keeps_no_locks(database: Database) -> None:
    table = create_work(database, 1)
    table.refresh()
    change = f"UPDATE `{database.name}`.`~~work` SET priority = %s"
    frozen = connect(account(database.server, timeouts=Timeouts(idle=5)).address)
    frozen.begin()
    rows(frozen, change, (1,))
    with database.connect() as other:
        rows(other, "SET SESSION innodb_lock_wait_timeout = 600")
        rows(other, change, (2,))  # waits for the lock; pytest's timeout ends it
    assert [job.priority for job in table.pending] == [2]
    with pytest.raises(pymysql.err.OperationalError):
        frozen.commit()


def test_connections_go_with_their_account(server: Server, database: Database) -> None:
    user, password = f"user_{database.name[-12:]}", "secret"
    with server.connect() as watcher:
        rows(watcher, f"CREATE USER '{user}'@'%%' IDENTIFIED BY '{password}'")
        try:
            held = account(Server(server.kind, server.host, server.port, user, password))
            held.check()
            count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
            assert rows(watcher, count, (user,)) == [(1,)]
            del held
            gc.collect()
            while rows(watcher, count, (user,)) != [
                (0,)
            ]:  # until the server noticed; pytest's timeout ends it
                pass
        finally:
            rows(watcher, f"DROP USER '{user}'@'%%'")


def test_a_program_ends_in_silence(server: Server) -> None:
    program = (
        "import sys; from populate_operator.jobs import Database; "
        "host, port, user, password = sys.argv[1:]; "
        "print(Database(host=host, port=int(port), user=user, password=password).check())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, server.host, str(server.port), server.user, server.password],
        env=os.environ | {"PYTHONPATH": str(Path(REPOSITORY, "operator"))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == (server.version, "")
