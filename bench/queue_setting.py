"""What the benchmarks of the job queue share: a server, a table to populate, and the set-up they ran on."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import datajoint as dj
from pymysql.connections import Connection

from dev.databases import Database, Instance, Kind, Server
from populate_operator.jobs import Database as Account
from populate_operator.jobs import JobTable

DURABLE = ("--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync")
JOBS, TARGET, SOURCE = "`~~work`", "`__work`", "`item`"


logging.getLogger("datajoint").disabled = True  # it logs to where --json prints


@dataclass(frozen=True)
class Work:
    """`Work`, computed from `Item`: the one queue as DataJoint sees it and as we do."""

    database: Database
    connection: Connection[Any]
    theirs: Any  # datajoint's Work.jobs
    ours: JobTable

    def run(self, statement: str) -> float:
        """Run a statement to its end; seconds."""
        started = time.perf_counter()
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.fetchall()
        return time.perf_counter() - started

    def fill(self, rows: int) -> None:
        """Give `Item` the keys 0 to `rows` - 1, and the server what it needs to know of them."""
        self.run(f"INSERT INTO {SOURCE} VALUES (0)")
        done = 1
        while done < rows:
            self.run(
                f"INSERT INTO {SOURCE} SELECT item_id + {done} FROM {SOURCE} WHERE item_id < {rows - done}"
            )
            done *= 2
        self.analyze()

    def analyze(self) -> None:
        self.run(f"ANALYZE TABLE {SOURCE}, {TARGET}, {JOBS}")


@contextlib.contextmanager
def running_server(kind: Kind) -> Iterator[Server]:
    """The server that POPULATE_TEST_<KIND>_URL names, else one of our own while the benchmark runs.

    Ours commits durably, as a server does whose data matter and unlike those of the tests.
    """
    if url := os.environ.get(f"POPULATE_TEST_{kind.upper()}_URL"):
        yield Server.from_url(kind, url)
        return
    with Instance(kind, options=DURABLE) as instance:
        yield instance.server


@contextlib.contextmanager
def work(server: Server) -> Iterator[Work]:
    """An empty pipeline in a database of its own, declared by DataJoint; it is dropped afterwards."""
    database = Database(server, f"populate_bench_{secrets.token_hex(6)}").create()
    instance = dj.Instance(
        host=server.host, port=server.port, user=server.user, password=server.password, safemode=False
    )
    try:
        schema, tables = instance.Schema(database.name), dict[str, Any]()
        for tier, name, definition in (
            (dj.Manual, "Item", "item_id: int32"),
            (dj.Computed, "Work", "-> Item"),
        ):
            tables[name] = schema(type(name, (tier,), {"definition": definition}), context=tables)
        ours = JobTable(account(server), schema=database.name, table="Work")
        connection = database.connect(init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        yield Work(database, connection, tables["Work"]().jobs, ours)
    finally:
        instance.connection.close()
        database.drop()


def account(server: Server) -> Account:
    return Account(host=server.host, port=server.port, user=server.user, password=server.password)


def setup(server: Server) -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("datajoint", "pymysql", "populate-operator")
    return {
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "server": {"kind": server.kind, "version": server.version} | _durability(server),
        "packages": {name: _version(name) for name in packages},
    }


def _durability(server: Server) -> dict[str, Any]:
    """What a commit waits for: the peer commits every key, so its rate hangs on it."""
    names = "'innodb_flush_log_at_trx_commit', 'innodb_flush_method'"
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})")
        return dict(cursor.fetchall())


def _version(package: str) -> str:
    if package == "populate-operator":  # run from the checkout, not installed
        from populate_operator import __version__

        return __version__
    return version(package)
