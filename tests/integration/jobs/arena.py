"""Where the two job queues meet: accounts for both, and tables that the proofs populate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import datajoint as dj
from pymysql.connections import Connection

from dev import databases
from dev.databases import Server
from populate_operator.jobs import Database, JobTable, RetryPolicy, Timeouts, Tls

Tables = dict[str, Any]  # DataJoint classes by name


def account(
    server: Server,
    *,
    port: int | None = None,
    tls: Tls | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
) -> Database:
    """Our account on a server, or on a proxy in front of it at `port`."""
    return Database(
        host=server.host,
        port=port or server.port,
        user=server.user,
        password=server.password,
        tls=tls,
        timeouts=timeouts,
        retry=retry,
    )


def datajoint(server: Server, **settings: Any) -> dj.Instance:
    """DataJoint on the same server, with its own connection and settings (`jobs__keep_completed=True`)."""
    return dj.Instance(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        safemode=False,
        **settings,
    )


def declare(schema: Any, tables: Tables, tier: type, name: str, definition: str, **members: Any) -> None:
    """Declare one DataJoint class in `schema`; `tables` are those that it may refer to, and it joins them."""
    made = type(name, (tier,), {"definition": definition, **members})
    tables[name] = schema(made, context=tables)


def rows(connection: Connection[Any], query: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query, or none of a statement that returns none."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(parameters))
        return list(cursor.fetchall())


def create_work(database: databases.Database, count: int) -> JobTable:
    """A `Work` table whose parent has keys 0 to `count` - 1, made by SQL alone; its queue, not refreshed."""
    with database.connect(autocommit=False) as connection:
        rows(connection, "CREATE TABLE item (item_id INT PRIMARY KEY) ENGINE=InnoDB")
        rows(
            connection,
            "CREATE TABLE __work (item_id INT PRIMARY KEY, FOREIGN KEY (item_id) REFERENCES item (item_id)) "
            "ENGINE=InnoDB",
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO item VALUES (%s)", [(number,) for number in range(count)])
        connection.commit()
    return JobTable(account(database.server), schema=database.name, table="Work")
