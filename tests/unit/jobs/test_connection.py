"""Versions, error numbers and TLS modes: what each means. Real connections are tested on real servers."""

from __future__ import annotations

import random
import ssl

import pymysql
import pytest

from populate_operator.jobs import (
    AccessDenied,
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    JobsError,
    NoSuchSchema,
    NoSuchTable,
    RetryPolicy,
    StatementRefused,
    Timeouts,
    Tls,
    UnsupportedServer,
)
from populate_operator.jobs.connection import (
    Address,
    check_server_version,
    explain,
    is_stale,
    is_worth_another_try,
)
from populate_operator.jobs.tls import build_connect_arguments

ADDRESS = Address("db.example", 3306, "ada", "secret", Tls(), Timeouts())


@pytest.mark.parametrize(
    "version",
    ["8.0.11", "8.4.3", "9.7.0-2", "10.6.1-MariaDB", "5.5.5-10.11.6-MariaDB-0+deb12u1", "11.8.2-MariaDB"],
)
def test_servers_that_are_new_enough(version: str) -> None:
    check_server_version(version)


@pytest.mark.parametrize(
    "version", ["5.7.44", "5.5.5-10.5.9-MariaDB", "10.3.39-MariaDB-log", "7.9", "nonsense"]
)
def test_servers_that_are_too_old(version: str) -> None:
    with pytest.raises(UnsupportedServer, match=r"MySQL 8\.0 or MariaDB 10\.6.*upgrade"):
        check_server_version(version)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pymysql.err.OperationalError(1045, "Access denied for user"), AccessDenied),
        (pymysql.err.OperationalError(1142, "INSERT command denied"), AccessDenied),
        (pymysql.err.OperationalError(1213, "Deadlock found"), DatabaseBusy),
        (pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), DatabaseBusy),
        (pymysql.err.OperationalError(1040, "Too many connections"), DatabaseUnreachable),
        (pymysql.err.OperationalError(1226, "exceeded 'max_user_connections'"), DatabaseUnreachable),
        (pymysql.err.OperationalError(3159, "require_secure_transport=ON"), DatabaseUnreachable),
        (pymysql.err.OperationalError(1047, "WSREP has not yet prepared node"), DatabaseUnreachable),
        (pymysql.err.OperationalError(1290, "running with the --super-read-only option"), DatabaseReadOnly),
        (pymysql.err.OperationalError(1290, "--secure-file-priv option"), StatementRefused),
        (pymysql.err.OperationalError(1836, "Running in read-only mode"), DatabaseReadOnly),
        (pymysql.err.OperationalError(1792, "in a READ ONLY transaction"), DatabaseReadOnly),
        (pymysql.err.OperationalError(1114, "The table '~~x' is full"), DatabaseFull),
        (pymysql.err.InternalError(1030, "Got error 28 from storage engine"), DatabaseFull),
        (pymysql.err.InternalError(1030, "Got error 168 from storage engine"), StatementRefused),
        (pymysql.err.OperationalError(1049, "Unknown database 'x'"), NoSuchSchema),
        (pymysql.err.ProgrammingError(1146, "Table 'x.y' doesn't exist"), NoSuchTable),
        (pymysql.err.OperationalError(2003, "Can't connect"), DatabaseUnreachable),
        (pymysql.err.OperationalError(2013, "Lost connection"), DatabaseUnreachable),
        (
            pymysql.err.OperationalError(2026, "SSL is required but the server doesn't support it"),
            DatabaseUnreachable,
        ),
        (pymysql.err.InterfaceError(0, ""), DatabaseUnreachable),
        (ssl.SSLCertVerificationError("self-signed"), DatabaseUnreachable),
        (ConnectionResetError("reset"), DatabaseUnreachable),
        (pymysql.err.ProgrammingError(1064, "You have an error in your SQL syntax"), StatementRefused),
    ],
)
def test_what_errors_become(error: Exception, kind: type[JobsError]) -> None:
    explained = explain(error, ADDRESS)
    assert type(explained) is kind
    assert "ada@db.example:3306" in str(explained)
    assert "secret" not in str(explained) + repr(ADDRESS)


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        *[
            (pymysql.err.OperationalError(code, "x"), True)
            for code in (1213, 1205, 1020, 2006, 2013, 1927, 4031)
        ],
        (pymysql.err.InterfaceError(0, ""), True),
        (BrokenPipeError(), True),
        (
            pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query (timed out)"),
            False,
        ),
        (pymysql.err.OperationalError(2013, "Lost connection (The read operation timed out)"), False),
        (pymysql.err.OperationalError(2013, "Lost connection ([Errno 110] Connection timed out)"), True),
        (TimeoutError("timed out"), False),
        (TimeoutError(110, "Connection timed out"), True),
        (pymysql.err.OperationalError(1045, "x"), False),
        (pymysql.err.IntegrityError(1062, "x"), False),
        (pymysql.err.ProgrammingError(1064, "x"), False),
    ],
)
def test_what_is_tried_again(error: Exception, worth: bool) -> None:
    assert is_worth_another_try(error) == worth


@pytest.mark.parametrize(
    ("error", "stale"),
    [
        (pymysql.err.OperationalError(1142, "INSERT command denied"), True),
        (pymysql.err.OperationalError(1290, "running with the --read-only option"), True),
        (pymysql.err.OperationalError(1792, "in a READ ONLY transaction"), True),
        (pymysql.err.OperationalError(1836, "Running in read-only mode"), True),
        (pymysql.err.OperationalError(1047, "WSREP has not yet prepared node"), True),
        (pymysql.err.OperationalError(1290, "--secure-file-priv option"), False),
        (pymysql.err.ProgrammingError(1146, "Table 'x.y' doesn't exist"), False),
        (pymysql.err.OperationalError(1213, "Deadlock found"), False),
        (GeneratorExit(), False),
    ],
)
def test_when_a_new_connection_may_fare_better(error: BaseException, stale: bool) -> None:
    assert is_stale(error) == stale


def test_delays_grow_and_are_capped() -> None:
    policy, chance = RetryPolicy(base_seconds=0.1, cap_seconds=1.0), random.Random(1)  # noqa: S311
    longest = [max(policy.delay(attempt, chance) for _ in range(500)) for attempt in (1, 2, 3, 9)]
    assert longest[0] < 0.2 < longest[1] < 0.4 < longest[2] < 0.8 < longest[3] <= 1.0


def test_tls_modes() -> None:
    assert build_connect_arguments(Tls("Disabled")) == {"ssl_disabled": True}
    assert build_connect_arguments(Tls("Preferred")) == {}
    modes = {
        mode: build_connect_arguments(Tls(mode))["ssl"] for mode in ("Required", "VerifyCA", "VerifyIdentity")
    }
    assert {mode: (c.verify_mode, c.check_hostname) for mode, c in modes.items()} == {
        "Required": (ssl.CERT_NONE, False),
        "VerifyCA": (ssl.CERT_REQUIRED, False),
        "VerifyIdentity": (ssl.CERT_REQUIRED, True),
    }


def test_a_ca_that_is_no_pem_is_refused() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"not PEM text.*BEGIN CERTIFICATE"):
        build_connect_arguments(Tls("VerifyCA", ca="nonsense"))
