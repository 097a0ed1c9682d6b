"""The data are away: no pod is killed, nothing runs twice at once, and all goes on by itself.

Side by side:
- the schema is dropped under two pods, and declared again
- the jobs table is restored from an old dump, whose rows are wrong in every way that a row can be
- the disk of the server is full: it refuses to let a table grow
- the same where the server keeps a binary log: it says nothing, and tries again once a minute
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pymysql
import pytest

from dev.cluster import Cluster
from dev.databases import Instance
from tests.e2e.lab.outage import FAILS, WAIT, Case, Lab, outage_lab
from tests.e2e.lab.playground import add_lab_account
from tests.e2e.lab.queues import eventually
from tests.e2e.lab.tables import make_tables
from tests.e2e.lab.workplace import Workplace

WORK = f"""{WAIT}
wait()
if execute("SELECT 1 FROM failing WHERE session = %s", key["session"]):
    sys.exit(3)
insert()
"""
# The error is long: there is no room for it in the page where the job's row is.
WORK_NOISILY = f"""{WAIT}
if key["session"] != {FAILS}:
    insert()
wait()
if key["session"] == {FAILS}:
    print(os.urandom(1500).hex())
    sys.exit(3)
"""
KEYS = 7  # of the restored table


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """An empty disk of 256 MiB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def lab(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with outage_lab(cluster, "data", tmp_path_factory.mktemp("data")) as lab:
        yield lab


@dataclass(frozen=True)
class CaseOnDisk:
    """A queue whose server has a small disk of its own, and the file that fills it."""

    case: Case
    full: Path

    def fill(self) -> None:
        """Write until there is no room left."""
        with suppress(OSError), self.full.open("wb", buffering=0) as full:
            while full.write(bytes(4096)):
                pass


def on_disk(lab: Lab, folder: Path, *options: str) -> CaseOnDisk:
    """A queue with three pods that will wait at the gate; their rows are there by then."""
    disk = lab.stack.enter_context(small_disk(folder / "disk"))
    instance = lab.stack.enter_context(Instance("mysql", parent=disk, options=options))
    add_lab_account(instance)
    case = lab.case(instance)
    case.begin(program=WORK_NOISILY, parallelism=3)
    full = disk / "full"
    lab.stack.callback(full.unlink, missing_ok=True)  # or the schema could not be dropped
    return CaseOnDisk(case, full)


@dataclass(frozen=True)
class Cases:
    """The queues of this module."""

    schema: Case
    restored: Case
    crowded: CaseOnDisk
    silent: CaseOnDisk


@pytest.fixture(scope="module")
def cases(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """The pods come to the gate side by side. The outage that lasts longest begins at once."""
    crowded = on_disk(lab, tmp_path_factory.mktemp("crowded"))
    silent = on_disk(lab, tmp_path_factory.mktemp("silent"), "--log-bin=bin")
    cases = Cases(lab.case(), lab.case(), crowded, silent)
    cases.schema.begin(program=WORK)
    cases.restored.begin(program=WORK, parallelism=4, keys=KEYS, podRetention={"succeeded": 50})
    eventually("three pods work", lambda: len(running(silent.case)) == 3, queue=silent.case.queue)
    with pytest.raises(pymysql.err.OperationalError, match="timed out"):
        clog(silent)
    silent.case.let_end(list(running(silent.case)))
    return cases


def clog(silent: CaseOnDisk) -> None:
    """Write until the server waits for room."""
    place = silent.case.place
    place.sql("CREATE TABLE filler (n int AUTO_INCREMENT PRIMARY KEY)")
    silent.fill()
    with place.database.connect(database=place.schema, read_timeout=10) as connection:
        while True:
            connection.query("INSERT INTO filler VALUES ()")


def running(case: Case) -> dict[str, int]:
    """Its pods that wait at the gate now, and their keys."""
    phases = {name: pod["status"]["phase"] for name, pod in case.pods().items()}
    keys = sessions(case)
    return {name: keys[name] for name in case.at_the_gate() if phases.get(name) == "Running"}


def sessions(case: Case) -> dict[str, int]:
    """The key of each of its pods."""
    annotation = "populate.datajoint.io/key"
    pods = case.pods().items()
    return {name: json.loads(pod["metadata"]["annotations"][annotation])["session"] for name, pod in pods}


def rows(case: Case) -> set[int]:
    return {session for (session,) in case.place.sql("SELECT session FROM __spikes")}


def note_failing(case: Case, *keys: int) -> None:
    """The pods of these keys end with exit code 3."""
    case.place.sql("CREATE TABLE IF NOT EXISTS failing (session int PRIMARY KEY)")
    for key in keys:
        case.place.sql("INSERT INTO failing VALUES (%s)", key)


def test_outcomes_wait_while_the_server_waits_for_room_for_its_log(cases: Cases) -> None:
    case = cases.silent.case
    eventually("told", partial(case.is_told, "DatabaseUnreachable", "no answer for 20 s"), queue=case.queue)
    eventually("event", lambda: case.event_counts("DatabaseUnreachable") == [1], queue=case.queue)
    assert {status for status, _ in case.jobs().values()} == {"reserved"}
    cases.silent.full.unlink()  # it sees so within a minute: the last test of this module


def test_a_dropped_schema_is_told_of_and_its_pods_take_their_jobs_back_once_it_is_declared(
    cases: Cases,
) -> None:
    case, place = cases.schema, cases.schema.place
    eventually("two pods work", lambda: len(running(case)) == 2, queue=case.queue)
    before = running(case)
    place.sql(f"DROP DATABASE `{place.schema}`")
    eventually("told", lambda: case.queue.condition("Ready")["reason"] == "NoSuchSchema", queue=case.queue)
    told = case.queue.condition("Ready")
    assert told["status"] == "False"
    assert [word for word in (place.schema, "create the schema") if word not in told["message"]] == []
    assert case.queue.condition("DatabaseReachable")["status"] == "True"
    eventually("event", lambda: case.event_counts("NoSuchSchema") == [1], queue=case.queue)

    place.database.execute(f"CREATE DATABASE `{place.schema}`")
    make_tables(place, keys=3)
    note_failing(case, FAILS)
    eventually("taken back", lambda: held(case) == before, queue=case.queue)
    assert running(case) == before
    assert case.event_counts("NoSuchSchema") == [1]
    eventually("each key has its end", partial(all_end, case), queue=case.queue)
    assert sorted(sessions(case).values()) == [1, 2, 3]  # each ran once
    eventually("ready", lambda: case.queue.condition("Ready")["reason"] == "UpToDate", queue=case.queue)


def held(case: Case) -> dict[str, int]:
    """The pods that hold a reservation, and their keys."""
    return dict(case.place.sql("SELECT host, session FROM `~~spikes` WHERE status = 'reserved'"))


def all_end(case: Case) -> bool:
    case.gate.let_through(*running(case))
    return case.is_done()


def test_a_jobs_table_restored_from_an_old_dump_costs_no_pod_and_no_job(cases: Cases) -> None:
    case, place = cases.restored, cases.restored.place
    note_failing(case)
    failed, gone, moved, kept = four_at_work(case)
    note_failing(case, failed[1])
    case.gate.let_through(failed[0])
    eventually("an error", lambda: case.jobs()[failed[1]][0] == "error", queue=case.queue)
    four_at_work(case)
    place.sql("CREATE TABLE dump LIKE `~~spikes`")
    place.sql("INSERT INTO dump SELECT * FROM `~~spikes`")
    states = dict(place.sql("SELECT session, status FROM dump"))
    assert sorted(states.values()) == [
        "error",
        "pending",
        "pending",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
    ]

    late = next(key for key, state in states.items() if state == "pending")
    at_work = {failed[1], moved[1], kept[1], late}
    place.sql("DELETE FROM failing")
    place.sql("DELETE FROM `~~spikes` WHERE status = 'error'")  # as a user does to have it tried again
    eventually("the others are done", partial(are_left, case, at_work), queue=case.queue)
    case.queue.kubectl(
        "delete", "pod", gone[0], moved[0]
    )  # the one has ended; the other one's key runs again
    eventually("runs again", partial(are_left, case, at_work), queue=case.queue)
    before, uids = running(case), uids_of(case)
    assert moved[0] not in before

    place.sql("RENAME TABLE `~~spikes` TO lost, dump TO `~~spikes`")
    eventually("taken back", lambda: are_left(case, at_work) and held(case) == before, queue=case.queue)
    assert {name: uids_of(case)[name] for name in before} == {name: uids[name] for name in before}
    assert case.event_counts("PodDeleted") == []
    note_failing(case, kept[1])
    case.gate.let_through(*before)
    eventually("each key has its end", partial(ended_but, case, kept[1]), queue=case.queue)
    pods = sessions(case)
    del pods[failed[0]]  # whose error was in the dump, and whose job had begun anew
    assert {name: key for name, key in pods.items() if key in at_work} == before  # no second pod was made


def four_at_work(case: Case) -> list[tuple[str, int]]:
    eventually("four pods work", lambda: len(running(case)) == 4, queue=case.queue)
    return list(running(case).items())


def are_left(case: Case, keys: set[int]) -> bool:
    """Let the pods of all other keys through; whether these alone are at work, and those have rows alone."""
    found = running(case)
    case.gate.let_through(*(name for name, key in found.items() if key not in keys))
    are_at_work = sorted(found.values()) == sorted(held(case).values()) == sorted(keys)
    return are_at_work and case.jobs().keys() == keys and rows(case) == set(range(1, KEYS + 1)) - keys


def uids_of(case: Case) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in case.pods().items()}


def ended_but(case: Case, failing: int) -> bool:
    """Whether all keys have their rows but one, which has its true error, and no pod is held."""
    jobs = case.jobs()
    return (
        rows(case) == set(range(1, KEYS + 1)) - {failing}
        and jobs.keys() == {failing}
        and jobs[failing][0] == "error"
        and "exit code 3" in jobs[failing][1]
        and not case.queue.pods_with_finalizer()
    )


def test_outcomes_wait_while_the_disk_of_the_server_is_full(cases: Cases) -> None:
    case = cases.crowded.case
    eventually("three pods work", lambda: len(running(case)) == 3, queue=case.queue)
    keys = {key: name for name, key in running(case).items()}
    cases.crowded.fill()
    with pytest.raises(pymysql.err.OperationalError, match="is full"):
        crowd(case.place)
    case.let_end([keys.pop(FAILS)])
    eventually(
        "told", partial(case.is_told, "DatabaseFull", "make room on the server's disk"), queue=case.queue
    )
    assert case.queue.condition("Ready")["reason"] == "DatabaseFull"
    case.let_end(list(keys.values()))
    assert {status for status, _ in case.jobs().values()} == {"reserved", "ignore"}
    assert case.event_counts("DatabaseUnreachable") == [1]

    cases.crowded.full.unlink()
    eventually("settled", lambda: case.jobs()[FAILS][0] == "error", queue=case.queue)
    case.place.sql("DELETE FROM `~~spikes` WHERE status = 'ignore'")
    eventually("each key has its end", case.is_done, queue=case.queue)
    assert len(case.pods()) == 3  # no job was run again
    eventually(
        "told so", lambda: case.queue.condition("DatabaseReachable")["status"] == "True", queue=case.queue
    )


def crowd(place: Workplace) -> None:
    """Use up what room the jobs table itself has left, with jobs that nobody is to run, until it is full."""
    for session in itertools.count(1000):
        place.sql("INSERT INTO `~~spikes` (session, status, priority) VALUES (%s, 'ignore', 5)", session)


def test_outcomes_that_waited_for_room_for_the_log_are_settled(cases: Cases) -> None:
    case = cases.silent.case
    eventually("each key has its end", case.is_done, queue=case.queue)
    assert len(case.pods()) == 3  # no job was run again
