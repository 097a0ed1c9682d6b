"""One run: faults when the plan says so, an observer beside, quiet afterwards, and the evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pymysql

from dev.console import SetupError, say
from tests.chaos.arena import Arena
from tests.chaos.faults import NoVictim
from tests.chaos.schedule import Fault, Inflicted, plan
from tests.chaos.verdict import Evidence
from tests.e2e.lab.gate import jobs

QUIET = 1200.0  # seconds: a hang, not a measure of speed
SETTLED = """
SELECT (SELECT COUNT(*) FROM __spikes LEFT JOIN `~~spikes` AS job USING (session)
        WHERE job.session IS NULL AND maker <> 'worker')
     + (SELECT COUNT(*) FROM `~~spikes` WHERE status = 'error' AND user LIKE 'populatequeue/%%')
"""


def fight(here: Arena, seed: int, seconds: float, keys: int) -> Evidence:
    """Inflict the plan's faults, wait until all is quiet, and tell what is left."""
    inflicted, missed = list[Inflicted](), list[Fault]()
    began = time.monotonic()

    def inflict(fault: Fault) -> None:
        time.sleep(max(0.0, began + fault.at - time.monotonic()))
        try:
            done = here.breaker.inflict(fault)
        except NoVictim as error:
            missed.append(fault)
            say(f"{fault.kind.value}, not done: {error}")
        else:
            inflicted.append(done)
            note(here.folder, done)

    faults = plan(seed, seconds)
    with observed(here) as settled, ThreadPoolExecutor(max(1, len(faults))) as pool:
        list(pool.map(inflict, faults))
        is_quiet = wait_until_quiet(here)
    found = here.place.sql("SELECT session, status, error_message FROM `~~spikes`")
    return Evidence(
        seed=seed,
        keys=range(1, keys + 1),
        runs=list(here.witness.runs),
        rows=dict(here.place.sql("SELECT session, maker FROM __spikes")),
        jobs={key: (status, message) for key, status, message in found},
        held=here.queue.pods_with_finalizer(),
        disrupted=here.breaker.disrupted,
        inflicted=inflicted,
        settled=settled,
        missed=missed,
        stuck="" if is_quiet else here.queue.describe(),
    )


def note(folder: Path, done: Inflicted) -> None:
    """Tell of a fault in the log, which is read beside those of the operators."""
    with (folder / "faults.log").open("a") as log:
        print(_clock(done.began), _clock(done.ended), done.fault.kind.value, done.victim, file=log)


def _clock(moment: float) -> str:
    """A moment of the monotonic clock as the operators' logs have it."""
    return f"{datetime.fromtimestamp(time.time() - time.monotonic() + moment, UTC):%H:%M:%S.%f}"


def wait_until_quiet(here: Arena) -> bool:
    """Whether the queue came to rest before it must be taken for stuck."""
    deadline = time.monotonic() + QUIET
    while time.monotonic() < deadline:
        if _is_quiet(here):
            return True
        time.sleep(0.5)
    return False


def _is_quiet(here: Arena) -> bool:
    try:
        return (
            set(jobs(here.place).values()) <= {"error"}
            and here.queue.condition("Ready").get("reason") == "UpToDate"
            and not here.queue.pods_with_finalizer()
        )
    except SetupError:  # the API server is slow to answer
        return False


@contextmanager
def observed(here: Arena) -> Iterator[list[float]]:
    """The moments at which more jobs were seen to be settled by the operator than before."""
    moments, over = list[float](), threading.Event()

    def watch() -> None:
        most = 0
        while not over.wait(0.2):
            try:
                ((settled,),) = here.place.sql(SETTLED)
            except pymysql.Error:  # the database is down
                continue
            if settled > most:
                most = settled
                moments.append(time.monotonic())
                print(_clock(moments[-1]), settled, file=log, flush=True)

    with (here.folder / "settled.log").open("w") as log:
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield moments
        finally:
            over.set()
            thread.join()
