"""The database or the API server is away: no pod is killed, outcomes wait, and all goes on by itself.

Side by side, each with a way to the database of its own:
- nobody listens; not a byte comes through, on old connections and new ones
- the password is changed; the grant on the schema is revoked
Then the server itself: read-only, no connection left, crashed and started again. Then the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import pymysql
import pytest

from dev.cluster import Cluster
from tests.e2e.lab.gate import known_to_run
from tests.e2e.lab.outage import Case, Lab, outage_lab
from tests.e2e.lab.queues import eventually


def change_password(case: Case) -> None:
    case.place.sql(f"ALTER USER '{case.account}'@'%%' IDENTIFIED BY 'another'")
    case.drop_connections()


def rotate_secret(case: Case) -> None:
    case.place.add_secret(case.account, "another", case.account.replace("_", "-"))


def revoke(case: Case) -> None:
    """All but the right to read, at once."""
    rights = "INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, LOCK TABLES, REFERENCES, INDEX"
    case.place.sql(f"REVOKE {rights} ON `{case.place.schema}`.* FROM '{case.account}'@'%%'")
    case.drop_connections()


@dataclass(frozen=True)
class Outage:
    """How the database goes and comes back, and what the queue says meanwhile."""

    begin: Callable[[Case], object]
    end: Callable[[Case], object]
    reason: str
    told: str


OUTAGES = {
    "refused": Outage(
        lambda case: case.way.refuse(),
        lambda case: case.way.mend(),
        "DatabaseUnreachable",
        "that the server is up",
    ),
    "silent": Outage(
        lambda case: case.way.silence(),
        lambda case: case.way.mend(),
        "DatabaseUnreachable",
        "that the server is up",
    ),
    "password": Outage(change_password, rotate_secret, "AccessDenied", "check the credentials"),
    "grant": Outage(revoke, lambda case: case.grant(), "AccessDenied", "privileges"),
}


@pytest.fixture(scope="module")
def lab(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with outage_lab(cluster, "outage", tmp_path_factory.mktemp("outage")) as lab:
        yield lab


@pytest.fixture(scope="module")
def broken(lab: Lab) -> dict[str, Case]:
    """A queue for each outage, with two pods that work; then the outages begin, and the pods end."""
    cases = {name: lab.case() for name in OUTAGES}
    for case in cases.values():
        case.begin()
    for name, case in cases.items():
        eventually("two pods work", partial(has_two_at_work, case), queue=case.queue)
        OUTAGES[name].begin(case)
    return cases


def has_two_at_work(case: Case) -> bool:
    return len(case.at_the_gate()) == 2


@pytest.mark.parametrize("name", OUTAGES)
def test_outcomes_wait_while_the_database_is_away(broken: dict[str, Case], name: str) -> None:
    case, outage = broken[name], OUTAGES[name]
    eventually("told", lambda: case.is_told(outage.reason, outage.told), queue=case.queue)
    assert case.queue.condition("Ready")["reason"] == outage.reason
    pods = case.at_the_gate()
    case.let_end(pods)
    assert case.pods().keys() == set(pods)  # none was begun
    assert case.event_counts("DatabaseUnreachable") == [1]

    outage.end(case)
    eventually("third pod", lambda: len(case.at_the_gate()) == 3, queue=case.queue)
    let_all_end(case)
    assert case.queue.condition("DatabaseReachable")["status"] == "True"
    assert case.event_counts("DatabaseUnreachable") == [1]


def let_all_end(case: Case) -> None:
    case.gate.let_through(*case.at_the_gate())
    eventually("each key has its end", case.is_done, queue=case.queue)


def read_only(lab: Lab, setting: str) -> None:
    with lab.instance.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET GLOBAL super_read_only = {setting}")
        cursor.execute(f"SET GLOBAL read_only = {setting}")


@contextmanager
def taken_connections(lab: Lab, case: Case) -> Iterator[None]:
    """All connections that the server grants are in use."""
    with ExitStack() as stack:
        control = stack.enter_context(lab.instance.server.connect()).cursor()
        control.execute("SELECT @@max_connections")
        ((before,),) = control.fetchall()
        for _ in range(20):
            stack.enter_context(lab.instance.server.connect())
        control.execute("SET GLOBAL max_connections = 20")
        control.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE USER LIKE 'door%'")
        for (number,) in control.fetchall():
            with suppress(pymysql.err.OperationalError):  # it has gone by itself
                control.execute(f"KILL {number}")
        yield
        control.execute(f"SET GLOBAL max_connections = {before}")


@contextmanager
def written_by_nobody(lab: Lab, case: Case) -> Iterator[None]:
    read_only(lab, "ON")
    yield
    read_only(lab, "OFF")


@contextmanager
def crashed(lab: Lab, case: Case) -> Iterator[None]:
    lab.instance.kill()
    yield
    lab.instance.start()


SERVER_OUTAGES = (
    (written_by_nobody, "DatabaseReadOnly", "make the server writable"),
    (taken_connections, "DatabaseUnreachable", "raise the limit"),
    (crashed, "DatabaseUnreachable", "that the server is up"),
)


def test_outcomes_wait_while_the_server_takes_no_writes_or_nobody_or_crashed(lab: Lab) -> None:
    case = lab.case()
    case.begin(parallelism=3)
    eventually("three pods work", lambda: len(case.at_the_gate()) == 3, queue=case.queue)
    known_to_run(case.queue, 3)
    for (outage, reason, told), name in zip(SERVER_OUTAGES, case.at_the_gate(), strict=True):
        with outage(lab, case):
            case.let_end([name])
            eventually(reason, partial(case.is_told, reason, told), queue=case.queue)
            assert len(case.queue.running()) == 2 - SERVER_OUTAGES.index((outage, reason, told))
        eventually("settled", partial(is_settled, case, name), queue=case.queue)
    eventually("each key has its end", case.is_done, queue=case.queue)
    assert len(case.pods()) == 3  # no job was run again


def is_settled(case: Case, name: str) -> bool:
    return not case.pods()[name]["metadata"].get("finalizers")


def test_an_operator_without_api_server_starts_nothing_anew_and_goes_on_when_it_is_back(lab: Lab) -> None:
    case = lab.case()
    case.begin()
    eventually("two pods work", partial(has_two_at_work, case), queue=case.queue)
    lab.api.refuse()
    assert not lab.operator.died()  # its lease is lost, which it ends for by itself
    lab.operator.start()
    case.let_end(case.at_the_gate())
    assert {status for status, _ in case.jobs().values()} == {"reserved", "pending"}
    lab.api.mend()
    eventually("third pod", lambda: len(case.at_the_gate()) == 3, queue=case.queue)
    let_all_end(case)
