"""An address that comes to mean another server, and a proxy that numbers sessions itself.

- after a switchover the connections to the server that became read-only are given up: the next call works
- a slow statement is let be where the server that is asked after it is another one
- it is let be behind a proxy, too, and whose number the proxy gave it is not ended in its stead
- a reservation through a proxy is known as ours when its commit was in doubt
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from dev.databases import Database, Instance, Kind, Server
from populate_operator import jobs
from populate_operator.jobs import DatabaseReadOnly, JobTable, RetryPolicy, Tls
from populate_operator.jobs.database import Statement
from tests.e2e.lab.gateway import gateway
from tests.integration.jobs.arena import account, create_work, rows
from tests.integration.jobs.commit_breaker import commit_breaker
from tests.integration.jobs.proxies import numbering_proxy

USER, PASSWORD = f"moves_{secrets.token_hex(6)}", "secret"  # its schema is named like it


@contextmanager
def moving_account(*servers: Server) -> Iterator[None]:
    """An account with no rights but to its own schema, the same on all servers."""
    with ExitStack() as stack:
        for server in servers:
            connection = stack.enter_context(server.connect())
            for made in (f"DATABASE {USER}", f"USER {USER}"):
                stack.callback(rows, connection, f"DROP {made}")
                rows(connection, f"CREATE {made}")
            rows(connection, f"ALTER USER {USER} IDENTIFIED BY '{PASSWORD}'")
            rows(connection, f"GRANT ALL ON {USER}.* TO {USER}")
            rows(connection, f"CREATE TABLE {USER}.tally (n INT) ENGINE=InnoDB")
        yield


def test_a_switchover_is_followed(server: Server, private_server: Callable[[Kind], Instance]) -> None:
    demoted, count = private_server(server.kind).server, Statement(f"INSERT INTO {USER}.tally VALUES (1)")
    with moving_account(server, demoted), gateway("127.0.0.1", (demoted.host, demoted.port)) as address:
        ours = jobs.Database(host=address.address, port=address.port, user=USER, password=PASSWORD)
        together = threading.Barrier(3)
        with ThreadPoolExecutor(3) as threads:  # so that three connections are kept
            list(threads.map(lambda _: ours.transaction(lambda _: together.wait()), range(3)))
        assert ours.execute(count) == 1

        address.lead_to((server.host, server.port))
        with demoted.connect() as connection:
            rows(connection, "SET GLOBAL read_only = ON")
        with pytest.raises(DatabaseReadOnly, match="make the server writable"):
            ours.execute(count)
        assert ours.execute(count) == 1
        with server.connect() as connection:
            assert rows(connection, f"SELECT n FROM {USER}.tally") == [(1,)]


@contextmanager
def at_work(server: Server, ours: jobs.Database) -> Iterator[None]:
    """A statement of `ours` takes as long as the block, and has its answer then."""
    until = Statement("SELECT GET_LOCK('at work', 600)")
    with ThreadPoolExecutor(1) as threads, server.connect() as watcher:
        rows(watcher, "SELECT GET_LOCK('at work', 0)")
        slow = threads.submit(ours.fetch, until)
        while not any("'at work', 600" in str(row[7]) for row in rows(watcher, "SHOW PROCESSLIST")):
            pass  # each look is a round trip; pytest's timeout ends it
        yield
        rows(watcher, "SELECT RELEASE_LOCK('at work')")
        assert slow.result() == [(1,)]


def test_a_statement_on_another_server_is_let_be(mysql: Server, mariadb: Server) -> None:
    with moving_account(mysql, mariadb), gateway("127.0.0.1", (mysql.host, mysql.port)) as address:
        ours = jobs.Database(host=address.address, port=address.port, user=USER, password=PASSWORD)
        with at_work(mysql, ours):
            address.lead_to((mariadb.host, mariadb.port))
            assert ours.break_off_forgotten(after=0) == 0


def test_a_statement_behind_a_proxy_is_let_be(server: Server) -> None:
    with server.connect() as bystander:
        [(number,)] = rows(bystander, "SELECT CONNECTION_ID()")
        with numbering_proxy(server, number) as proxy:
            ours = account(server, port=proxy.port)
            with at_work(server, ours):
                assert ours.break_off_forgotten(after=0) == 0
        assert rows(bystander, "SELECT CONNECTION_ID()") == [(number,)]


def test_a_reservation_behind_a_proxy_is_known_as_ours(database: Database) -> None:
    table, server = create_work(database, 1), database.server
    table.refresh()
    with (
        numbering_proxy(server, 4_000_000_000) as proxy,
        commit_breaker(replace(server, port=proxy.port)) as breaker,
    ):
        quick = RetryPolicy(attempts=5, base_seconds=0.01, cap_seconds=0.05)
        through = account(server, port=breaker.port, tls=Tls("Disabled"), retry=quick)
        ours = JobTable(through, schema=table.schema, table="Work")
        assert ours.pending.count() == 1
        breaker.break_next, breaker.lets_pass = 1, True
        assert ours.reserve({"item_id": 0})
        assert breaker.broken == 1
