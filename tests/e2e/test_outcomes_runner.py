"""What the runner tells of DataJoint classes, as `Table.jobs` of DataJoint itself shows it.

- make raised: `Class: message` and the traceback, long ones and those beyond ASCII too; nothing was inserted
- a traceback beyond 4 KiB keeps its end in the row; the pod's log has all of it
- make inserted nothing: an error
- the class cannot be imported: the queue backs off, says so, and recovers when the class is mended
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.e2e.lab.classes import declare, run_python, template_of
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.workplace import Workplace

GOOD, VOLTAGE, LONG, DEEP, LATE, EMPTY = KEYS = range(1, 7)
READ_ERRORS = """
import json, fates
errors = {row["session"]: row for row in fates.Spikes().jobs.errors.to_dicts()}
print(json.dumps({key: [row["error_message"], row["error_stack"]] for key, row in errors.items()}))
"""


@dataclass(frozen=True)
class Ended:
    """A queue all of whose jobs have ended, and the errors as DataJoint reads them."""

    place: Workplace
    queue: Queue
    errors: dict[str, tuple[str, str]]

    def log(self, session: int) -> str:
        key = json.dumps({"session": session}, separators=(",", ":"))
        pods = {pod["metadata"]["annotations"]["populate.datajoint.io/key"]: pod for pod in self.queue.pods()}
        return self.queue.kubectl("logs", pods[key]["metadata"]["name"])


@pytest.fixture(scope="module")
def ended(make_lasting_workplace: Callable[[str], Workplace], watched: tuple[str, str]) -> Ended:
    place = make_lasting_workplace(watched[0])
    declare(place, keys=len(KEYS), module="fates")
    spec = place.spec("Spikes", template_of(place), runner={"class": "fates:Spikes"})
    queue = place.queue().apply(spec)
    errors = "SELECT COUNT(*) FROM `~~spikes` WHERE status = 'error'"
    eventually("ended", lambda: place.sql(errors) == [(len(KEYS) - 1,)], queue=queue)
    eventually("populated", lambda: place.sql("SELECT session FROM __spikes") == [(GOOD,)], queue=queue)
    return Ended(place, queue, json.loads(run_python(place, READ_ERRORS).splitlines()[-1]))


def test_an_exception_of_make_is_told_with_its_traceback(ended: Ended) -> None:
    message, stack = ended.errors[str(VOLTAGE)]
    assert message == "ValueError: bad voltage"
    assert stack.startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError("bad voltage")' in stack
    assert stack.endswith("\nValueError: bad voltage\n")


def test_a_long_message_beyond_ascii_is_cut_as_datajoint_cuts_it(ended: Ended) -> None:
    message, stack = ended.errors[str(LONG)]
    assert message.startswith("ValueError: 電圧 電圧 ")
    assert message.endswith("...truncated")
    assert len(stack.encode()) > 1000
    assert stack.rstrip().endswith("電圧")


def test_a_traceback_beyond_4_kib_keeps_its_end(ended: Ended) -> None:
    message, stack = ended.errors[str(DEEP)]
    assert message == "ZeroDivisionError: at the bottom"
    assert stack.startswith("...truncated\n")
    assert stack.endswith("\nZeroDivisionError: at the bottom\n")
    log = ended.log(DEEP)
    assert len(log.encode()) > 4096
    assert "Traceback (most recent call last):\n" in log


def test_what_make_inserted_before_it_raised_is_rolled_back(ended: Ended) -> None:
    message, _ = ended.errors[str(LATE)]
    assert message == "KeyError: 'after the insert'"


def test_make_that_inserts_nothing_is_an_error(ended: Ended) -> None:
    message, _ = ended.errors[str(EMPTY)]
    assert message == "exit 0, but Spikes has no row for this key"


def test_a_class_that_cannot_be_imported_burns_no_job(workplace: Workplace) -> None:
    declare(workplace, keys=3)
    spec = workplace.spec("Spikes", template_of(workplace), runner={"class": "absent:Spikes"})
    queue = workplace.queue().apply(spec)
    eventually(
        "told", lambda: queue.condition("Degraded").get("reason") == "RunnerConfiguration", queue=queue
    )
    told = queue.condition("Ready")
    assert told["status"] == "False"
    assert "cannot import absent: ModuleNotFoundError: No module named 'absent'" in told["message"]
    states = "SELECT status, pid, error_message FROM `~~spikes`"
    eventually("released", lambda: workplace.sql(states) == [("pending", 0, "")] * 3, queue=queue)

    queue.patch(runner={"class": "pipeline:Spikes"})
    eventually("populated", lambda: workplace.sql("SELECT COUNT(*) FROM __spikes") == [(3,)], queue=queue)
    eventually("ready", lambda: queue.condition("Ready").get("reason") == "UpToDate", queue=queue)
