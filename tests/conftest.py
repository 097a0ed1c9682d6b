"""Real database servers for every tier, started when first asked for, and one table of results at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

from dev.databases import KINDS, Database, Instance, Kind, Server

TIERS = ("unit", "integration", "e2e")
COUNTED = ("passed", "failed", "error", "skipped")

# A busy machine makes no example wrong, and an example that is new need not be the fault of what changed.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=not os.environ.get("POPULATE_FRESH_SEEDS"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


@contextlib.contextmanager
def running_server(kind: Kind) -> Iterator[Server]:
    """The server that POPULATE_TEST_<KIND>_URL names, else one of our own that lasts for the session."""
    if url := os.environ.get(f"POPULATE_TEST_{kind.upper()}_URL"):
        yield Server.from_url(kind, url)
        return
    with Instance(kind) as instance:
        yield instance.server


@pytest.fixture(scope="session")
def mysql() -> Iterator[Server]:
    """MySQL with TLS and a caching_sha2_password account that may do everything."""
    with running_server("mysql") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """MariaDB with an account that may do everything."""
    with running_server("mariadb") as server:
        yield server


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Runs a test once for each kind of server, without starting one."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture(scope="session")
def server(kind: Kind, request: pytest.FixtureRequest) -> Server:
    """Runs a test once on each kind of server, shared by the session."""
    shared: Server = request.getfixturevalue(kind)
    return shared


@pytest.fixture
def create_database(server: Server) -> Iterator[Callable[[], Database]]:
    """Creates as many databases of the test's own as it asks for; they go with the test."""
    made: list[Database] = []

    def create() -> Database:
        made.append(Database(server, f"populate_test_{secrets.token_hex(6)}"))
        return made[-1].create()

    yield create
    for database in made:
        database.drop()


@pytest.fixture
def database(create_database: Callable[[], Database]) -> Database:
    """An empty database of the test's own, once on each kind of server."""
    return create_database()


@pytest.fixture
def schema(database: Database) -> str:
    """The name of the test's own database."""
    return database.name


@pytest.fixture
def private_server() -> Iterator[Callable[[Kind], Instance]]:
    """Starts servers of the test's own, which it may stop, kill and restart."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: stack.enter_context(Instance(kind))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tier by tier, and in each those that are marked `last` at its end."""
    items.sort(
        key=lambda item: (("", *TIERS).index(tier_of(item.nodeid)), bool(item.get_closest_marker("last")))
    )


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """One line per tier that ran: how many passed, failed, ended in an error or were skipped, and seconds."""
    rows = {tier: dict.fromkeys((*COUNTED, "seconds"), 0.0) for tier in TIERS}
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if isinstance(report, pytest.TestReport | pytest.CollectReport):
                row = rows.get(tier_of(report.nodeid))
                if row is not None:
                    row["seconds"] += getattr(report, "duration", 0.0)
                    row[outcome] = row.get(outcome, 0) + 1
    terminalreporter.section("tiers")
    terminalreporter.write_line(f"{'tier':12}" + "".join(f"{name:>9}" for name in (*COUNTED, "seconds")))
    for tier, row in rows.items():
        if any(row.values()):
            counts = "".join(f"{row[name]:>9.0f}" for name in COUNTED)
            terminalreporter.write_line(f"{tier:12}{counts}{row['seconds']:>9.1f}")


def tier_of(nodeid: str) -> str:
    """`integration` of `tests/integration/test_databases.py::test_restart`."""
    return next((part for part in nodeid.split("::")[0].split("/") if part in TIERS), "")
