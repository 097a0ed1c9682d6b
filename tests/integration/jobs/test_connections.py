"""Connections: accounts, TLS, pools, retries, and commits whose answer is lost.

- wrong password, missing privileges, nobody there: each says what to do
- TLS modes against a server with a certificate of a CA of its own, and one without TLS
- sessions are READ COMMITTED, strict and utf8mb4
- deadlocks, killed connections, a server that does not answer in time
- a commit that was done, one that was not, one that nobody can tell of; for claims and for settlements
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dev.databases import Instance, Kind, Server
from populate_operator.jobs import (
    AccessDenied,
    CommitInDoubt,
    Complete,
    Database,
    DatabaseUnreachable,
    Error,
    JobTable,
    NoSuchTable,
    RetryPolicy,
    Timeouts,
    Tls,
)
from populate_operator.jobs.database import Session, Statement
from tests.certificates import Authority
from tests.integration.jobs.arena import account, rows
from tests.integration.jobs.commit_breaker import CommitBreaker, commit_breaker
from tests.integration.jobs.pipelines import Pipeline, build_imaging

QUICK = RetryPolicy(attempts=5, base_seconds=0.01, cap_seconds=0.05)


def test_the_session(server: Server) -> None:
    database = account(server)
    assert database.check() == server.version
    name = "transaction_isolation" if server.kind == "mysql" else "tx_isolation"
    [row] = database.fetch(
        Statement(f"SELECT @@{name}, @@character_set_client, @@sql_mode, @@autocommit, @@time_zone")
    )
    assert row[:2] == ("READ-COMMITTED", "utf8mb4")
    assert "STRICT_ALL_TABLES" in row[2]
    assert row[3:] == (1, "SYSTEM")


def test_a_wrong_password(server: Server) -> None:
    database = Database(host=server.host, port=server.port, user=server.user, password="wrong")
    with pytest.raises(AccessDenied, match=r"Access denied.*check the credentials") as refusal:
        database.check()
    assert "wrong" not in str(refusal.value)


def test_nobody_there() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"ada@127\.0\.0\.1:1: .*check host, port, TLS mode"):
        Database(host="127.0.0.1", port=1, user="ada", password="x").check()


@pytest.fixture
def reader(imaging: Pipeline) -> Iterator[Database]:
    """An account that may read the pipeline and nothing else."""
    user, server = f"reader_{imaging.name[-12:]}", imaging.server
    imaging.query(f"CREATE USER {user} IDENTIFIED BY 'secret'")
    imaging.query(f"GRANT SELECT ON `{imaging.name}`.* TO {user}")
    yield Database(host=server.host, port=server.port, user=user, password="secret")
    imaging.query(f"DROP USER {user}")


def test_missing_privileges(imaging: Pipeline, reader: Database) -> None:
    build_imaging(imaging)
    imaging.query(f"DROP TABLE IF EXISTS `{imaging.name}`.`~~segmentation`")
    jobs = JobTable(reader, schema=imaging.name, table="Segmentation")
    with pytest.raises(AccessDenied, match=r"~~segmentation cannot be created; grant CREATE on it"):
        jobs.refresh()
    imaging.jobs("Segmentation").refresh()
    assert jobs.pending.count() == 4
    with pytest.raises(AccessDenied, match=r"INSERT.* command denied"):
        jobs.refresh()
    with pytest.raises(NoSuchTable, match="that this account can see"):
        JobTable(reader, schema=imaging.name, table="Absent").refresh()


# TLS -------------------------------------------------------------------------------------------------


def cipher(database: Database) -> str:
    return str(database.fetch(Statement("SHOW STATUS LIKE 'Ssl_cipher'"))[0][1])


def test_modes_without_a_ca(mysql: Server, mariadb: Server) -> None:
    assert cipher(account(mysql, tls=Tls("Preferred")))
    assert cipher(account(mysql, tls=Tls("Required")))
    assert not cipher(account(mysql, tls=Tls("Disabled")))
    assert not cipher(account(mariadb, tls=Tls("Preferred")))
    with pytest.raises(DatabaseUnreachable, match="SSL is required but the server doesn't support it"):
        account(mariadb, tls=Tls("Required")).check()


@pytest.mark.parametrize("mode", ["VerifyCA", "VerifyIdentity"])
def test_a_certificate_of_an_unknown_ca_is_refused(mysql: Server, mode: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="certificate verify failed"):
        account(mysql, tls=Tls(mode)).check()  # type: ignore[arg-type]


def test_a_certificate_of_a_ca_that_is_known(private_server: Callable[[Kind], Instance]) -> None:
    """Issued for 127.0.0.1; `localhost` is the same server under a name that the certificate lacks."""
    instance, authority = private_server("mysql"), Authority()
    ca, certificate, key = authority.issue_files(instance.folder, "127.0.0.1")
    with instance.server.connect() as connection:
        rows(connection, f"SET GLOBAL ssl_ca = '{ca}', ssl_cert = '{certificate}', ssl_key = '{key}'")
        rows(connection, "ALTER INSTANCE RELOAD TLS")
    elsewhere = replace(instance.server, host="localhost")
    for mode in ("VerifyCA", "VerifyIdentity"):
        assert cipher(account(instance.server, tls=Tls(mode, authority.pem)))
    assert cipher(account(elsewhere, tls=Tls("VerifyCA", authority.pem)))
    with pytest.raises(DatabaseUnreachable, match="Hostname mismatch"):
        account(elsewhere, tls=Tls("VerifyIdentity", authority.pem)).check()
    with pytest.raises(DatabaseUnreachable, match="certificate verify failed"):
        account(instance.server, tls=Tls("VerifyCA", Authority().pem)).check()


# Retries ---------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(imaging: Pipeline) -> JobTable:
    build_imaging(imaging)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh()
    return jobs


def test_a_deadlock_is_tried_again(jobs: JobTable, imaging: Pipeline) -> None:
    """Two transactions lock two rows crosswise; one is undone by the server and then runs again."""
    both_hold_one, runs = threading.Barrier(2), [0, 0]

    def work(number: int) -> Callable[[Session], None]:
        def lock(session: Session, subject: int) -> None:
            session.execute(
                Statement(
                    f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = priority + 1 "
                    "WHERE subject = %s",
                    (subject,),
                )
            )

        def cross(session: Session) -> None:
            runs[number] += 1
            lock(session, number)
            if runs[number] == 1:
                both_hold_one.wait()
            lock(session, 1 - number)

        return cross

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: jobs.database.transaction(work(number)), range(2)))
    assert sorted(runs) == [1, 2]
    assert sorted(job.priority for job in jobs.pending) == [5, 5, 7, 7]


def test_connections_killed_while_idle(jobs: JobTable, imaging: Pipeline) -> None:
    [[connection]] = jobs.database.fetch(Statement("SELECT CONNECTION_ID()"))
    imaging.query(f"KILL {connection}")
    assert jobs.pending.count() == 4
    assert jobs.database.fetch(Statement("SELECT CONNECTION_ID()")) != [(connection,)]


def test_a_connection_killed_in_mid_transaction(jobs: JobTable, imaging: Pipeline) -> None:
    runs = []

    def work(session: Session) -> int:
        session.execute(Statement(f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = priority + 1"))
        runs.append(session.ask_id())
        if len(runs) == 1:
            imaging.query(f"KILL {runs[0]}")
        return session.execute(Statement("DO 0"))

    jobs.database.transaction(work)
    assert len(set(runs)) == 2
    assert {job.priority for job in jobs.pending} == {6}


def test_a_server_that_does_not_answer_in_time(server: Server) -> None:
    """It is not asked again: it may still be at work on the statement."""
    database = account(server, timeouts=Timeouts(read=0.5))
    with pytest.raises(DatabaseUnreachable, match="timed out"):
        database.fetch(Statement("SELECT SLEEP(20)"))
    assert account(server).fetch(
        Statement(
            "SELECT COUNT(*) FROM information_schema.processlist "
            "WHERE info LIKE 'SELECT SLEEP(20)%%' AND command = 'Query'"
        )
    ) <= [(1,)]


def test_more_threads_than_connections(jobs: JobTable) -> None:
    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(lambda _: jobs.pending.count(), range(120))) == {4}


# Commits in doubt ------------------------------------------------------------------------------------


@pytest.fixture
def breaker(server: Server) -> Iterator[CommitBreaker]:
    with commit_breaker(server) as breaker:
        yield breaker


@pytest.fixture
def doubtful(jobs: JobTable, breaker: CommitBreaker) -> JobTable:
    """The same queue through the breaker."""
    database = account(breaker.server, port=breaker.port, tls=Tls("Disabled"), retry=QUICK)
    doubtful = JobTable(database, schema=jobs.schema, table="Segmentation")
    assert doubtful.pending.count() == 4
    return doubtful


@pytest.mark.parametrize("lets_pass", [True, False], ids=["done", "not done"])
def test_a_claim_whose_commit_is_in_doubt(
    doubtful: JobTable, breaker: CommitBreaker, lets_pass: bool
) -> None:
    breaker.break_next, breaker.lets_pass = 1, lets_pass
    claimed = doubtful.reserve_many(2, owner="o", hosts=["a", "b"])
    assert breaker.broken == 1
    assert {(job.key, job.fence, job.pid) for job in claimed} == {
        (job.key, job.fence, job.pid) for job in doubtful.reserved
    }
    assert [job.pid for job in claimed] == [1, 1]
    assert doubtful.pending.count() == 2


@pytest.mark.parametrize("lets_pass", [True, False], ids=["done", "not done"])
def test_a_single_reservation_whose_commit_is_in_doubt(
    doubtful: JobTable, breaker: CommitBreaker, lets_pass: bool
) -> None:
    key = doubtful.key({"subject": 1, "method": "otsu"})
    breaker.break_next, breaker.lets_pass = 1, lets_pass
    assert doubtful.reserve(key)
    assert (breaker.broken, doubtful.reserved.keys()) == (1, [key])
    breaker.break_next = 1
    assert not doubtful.reserve(key)


@pytest.mark.parametrize("lets_pass", [True, False], ids=["done", "not done"])
def test_a_settlement_whose_commit_is_in_doubt(
    doubtful: JobTable, breaker: CommitBreaker, lets_pass: bool
) -> None:
    first, second, third = doubtful.reserve_many(3, owner="o", hosts=["a", "b", "c"])
    doubtful.settle([Complete(third.key, third.fence)])
    breaker.break_next, breaker.lets_pass = 1, lets_pass
    effects = doubtful.settle(
        [
            Complete(first.key, first.fence),
            Error(second.key, second.fence, "bad"),
            Complete(third.key, third.fence),
        ]
    )
    assert breaker.broken == 1
    assert effects == [True, True, False]
    assert (doubtful.errors.count(), doubtful.progress()["total"]) == (1, 2)


def test_a_commit_that_nobody_can_tell_of(doubtful: JobTable, breaker: CommitBreaker) -> None:
    breaker.break_next, breaker.lets_pass, breaker.refuses_after = 1, True, True
    with pytest.raises(CommitInDoubt, match="read the queue again"):
        doubtful.reserve_many(2, owner="o", hosts=["a", "b"])


def test_a_commit_that_breaks_more_often_than_is_borne(doubtful: JobTable, breaker: CommitBreaker) -> None:
    breaker.break_next = 1000
    with pytest.raises(DatabaseUnreachable):
        doubtful.reserve_many(2, owner="o", hosts=["a", "b"])
    breaker.break_next = 0
    assert doubtful.reserved.count() == 0
