"""The servers that every other test stands on.

- each kind answers as what it says it is; MySQL offers TLS and caching_sha2_password
- a URL leads to the same server, and is refused when another kind answers or nobody does
- a database is empty, the test's own, and gone afterwards even with a transaction left open in it
- a committed row survives a restart and a crash, an uncommitted one does not; port and account stay
- a server and its data go with the process that started it, killed or interrupted
- servers for development outlive the command that starts them, with address and data, until they are stopped
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from dev.cache import REPOSITORY, cache_dir
from dev.console import SetupError
from dev.databases import KINDS, Database, Instance, Kind, Server

# Starts a server, says its process id, folder and port, then waits for a signal that ends it.
OWNER = """
import sys, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background inherits "ignore"
from dev.databases import Instance
with Instance(sys.argv[1]) as instance:
    print(instance.pid, instance.folder, instance.server.port, flush=True)
    signal.pause()
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}


def rows(connection: pymysql.Connection[pymysql.cursors.Cursor], query: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def test_a_server_is_of_the_kind_it_says(server: Server) -> None:
    assert ("MariaDB" in server.version) == (server.kind == "mariadb")
    with server.connect() as connection:
        assert rows(connection, "SELECT @@character_set_server") == [("utf8mb4",)]


def test_mysql_has_tls_and_caching_sha2(mysql: Server) -> None:
    with mysql.connect(ssl={"check_hostname": False}) as connection:
        [(_, cipher)] = rows(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
        assert cipher
        query = f"SELECT plugin FROM mysql.user WHERE user = '{mysql.user}'"
        assert ("caching_sha2_password",) in rows(connection, query)


def test_a_url_leads_to_the_same_server(server: Server) -> None:
    assert Server.from_url(server.kind, server.url) == server


def test_a_url_of_the_other_kind_is_refused(mysql: Server) -> None:
    with pytest.raises(SetupError, match="and not mariadb: correct its URL"):
        Server.from_url("mariadb", mysql.url)


def test_a_url_that_nobody_answers_is_refused() -> None:
    with pytest.raises(SetupError, match=r"mysql at 127\.0\.0\.1:1 does not answer"):
        Server.from_url("mysql", "mysql://someone:secret@127.0.0.1:1")


@pytest.mark.parametrize("url", ["127.0.0.1:3306", "postgresql://a:b@h", "mysql://h:3306"])
def test_a_url_without_its_parts_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="must look like mysql://user:password@host:port"):
        Server.from_url("mysql", url)


def test_a_password_with_delimiters_survives_the_url(mysql: Server, database: Database) -> None:
    account, password = f"user_{database.name[-12:]}", "p@ss:w/rd?#%"
    with mysql.connect() as connection:
        rows(connection, f"CREATE USER '{account}'@'%' IDENTIFIED BY '{password}'")
        try:
            other = Server("mysql", mysql.host, mysql.port, account, password, mysql.version)
            assert Server.from_url("mysql", other.url) == other
        finally:
            rows(connection, f"DROP USER '{account}'@'%'")


def test_a_database_is_empty_and_goes_even_when_it_is_in_use(
    create_database: Callable[[], Database], server: Server
) -> None:
    database = create_database()
    left_open = database.connect(autocommit=False)
    assert rows(left_open, "SHOW TABLES") == []
    rows(left_open, "CREATE TABLE t (i INT PRIMARY KEY) ENGINE=InnoDB")
    rows(left_open, "INSERT INTO t VALUES (1)")
    database.drop()
    with server.connect() as connection:
        assert (database.name,) not in rows(connection, "SHOW DATABASES")


@pytest.mark.parametrize("outage", [Instance.stop, Instance.kill])
def test_commits_survive_an_outage(
    private_server: Callable[[Kind], Instance], kind: Kind, outage: Callable[[Instance], None]
) -> None:
    instance = private_server(kind)
    before = instance.server
    database = Database(instance.server, "outage").create()
    with database.connect() as connection:
        rows(connection, "CREATE TABLE t (i INT PRIMARY KEY) ENGINE=InnoDB")
        rows(connection, "INSERT INTO t VALUES (1)")
    unfinished = database.connect(autocommit=False)
    rows(unfinished, "INSERT INTO t VALUES (2)")

    outage(instance)
    with pytest.raises(pymysql.err.OperationalError):
        instance.server.connect()
    instance.start()

    assert instance.server == before
    with pytest.raises(pymysql.err.OperationalError):
        unfinished.commit()
    with database.connect() as connection:
        assert rows(connection, "SELECT i FROM t") == [(1,)]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_goes_with_its_owner(kind: Kind, sign: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, kind],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid, folder, _ = owner.stdout.readline().split()
    server = os.pidfd_open(int(pid))
    removed = Path(folder)

    owner.send_signal(sign)
    owner.communicate()

    assert select.select([server], [], [], 30)[0], "the server outlived its owner"
    os.close(server)
    assert not removed.exists()


def databases(cache: Path, command: str) -> str:
    """What `python -m dev.databases COMMAND` prints, with its state in a cache of the test's own."""
    if not (cache / "rootfs").exists():
        (cache / "rootfs").symlink_to(cache_dir("rootfs"))
    done = subprocess.run(
        [sys.executable, "-m", "dev.databases", command],
        cwd=REPOSITORY,
        env=ENVIRONMENT | {"POPULATE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_servers_for_development_outlive_the_command_and_keep_their_data(tmp_path: Path) -> None:
    assert databases(tmp_path, "status").startswith("no server runs")
    exports = databases(tmp_path, "start")
    try:
        urls = [line.partition("='")[2].rstrip("'") for line in exports.splitlines()]
        servers = [Server.from_url(kind, url) for kind, url in zip(KINDS, urls, strict=True)]
        kept = [Database(server, "kept").create() for server in servers]
        assert databases(tmp_path, "start") == databases(tmp_path, "env") == exports
        assert databases(tmp_path, "status").splitlines()[0].startswith(f"mysql {servers[0].version} on")

        databases(tmp_path, "stop")
        for server in servers:
            with pytest.raises(pymysql.err.OperationalError):
                server.connect()
        assert databases(tmp_path, "start") == exports
        for database in kept:
            database.connect().close()
    finally:
        databases(tmp_path, "stop")
