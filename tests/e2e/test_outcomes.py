"""What a pod's end makes of its job's row: real pods with commands of their own, one queue for each policy.

- the row is there: complete, with its duration; also where the pod failed after that, with a warning
- exit 0 without a row: an error
- an exit code: tried again up to retry.limit, then an error with the end of the log
- out of memory: tried again with more memory; an error that names the container and its limit
- failureRules: the first that matches decides; Retry goes beyond the limit
- activeDeadlineSeconds: the pod is stopped and the error says so
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from populate_operator.jobs import Job
from tests.e2e.lab.queues import Json, Queue, eventually
from tests.e2e.lab.tables import CONNECT, make_tables
from tests.e2e.lab.workplace import Workplace

# What each session's pod does; the keys are numbered in this order from 1.
RETRIED = {
    "row": "insert()",
    "no row": "print('nothing to do')",
    "row, then exit 3": "insert(); sys.exit(3)",
    "exit 3": "print('電圧: loading'); print('no voltage in channel 7'); sys.exit(3)",
    "third time lucky": "sys.exit(5) if attempt < 3 else insert()",
    "more memory": "held = bytearray(150 << 20); insert()",
}
RULED = {
    "error by rule": "sys.exit(42)",
    "ignored by rule": "sys.exit(43)",
    "retried by rule": "sys.exit(44) if attempt < 3 else insert()",
    "no rule": "sys.exit(5)",
    "out of memory": "held = bytearray(150 << 20)",
}
LATE = {"endless": "print('begun', flush=True); time.sleep(600)"}

RULES = [
    {"exitCodes": [42], "action": "Error"},
    {"exitCodes": [41, 42, 43], "action": "Ignore"},
    {"exitCodes": [44], "action": "Retry"},
    {"reasons": ["OOMKilled"], "action": "Error"},
]
ALL_KEPT = {"podRetention": {"succeeded": 100}}
POLICIES: dict[str, tuple[Mapping[str, str], dict[str, Any]]] = {
    "late": (LATE, {"activeDeadlineSeconds": 30}),  # first: the kubelet counts before the program begins
    "retried": (RETRIED, {"retry": {"limit": 2, "backoffSeconds": 1, "memoryFactor": 4}, **ALL_KEPT}),
    "ruled": (RULED, {"retry": {"limit": 1, "backoffSeconds": 1}, "failureRules": RULES}),
}


@dataclass(frozen=True)
class Ended:
    """A queue all of whose jobs have ended."""

    place: Workplace
    queue: Queue
    keys: dict[str, int]

    def job(self, fate: str) -> Job:
        """The row of the jobs table."""
        return self.place.job("Spikes", session=self.keys[fate])

    def key(self, fate: str) -> str:
        """The key as texts show it."""
        return json.dumps({"session": self.keys[fate]}, separators=(",", ":"))

    def attempts(self, fate: str) -> list[int]:
        """POPULATE_ATTEMPT as its pods saw it."""
        query = "SELECT attempt FROM tried WHERE session = %s ORDER BY id"
        return [attempt for (attempt,) in self.place.sql(query, self.keys[fate])]


@pytest.fixture(scope="module")
def ended(make_lasting_workplace: Callable[[str], Workplace], watched: tuple[str, str]) -> dict[str, Ended]:
    """The queues by the name of their policy; they run side by side."""
    begun = {name: begin(make_lasting_workplace(watched[0]), *POLICIES[name]) for name in POLICIES}
    for one in begun.values():
        eventually("every job has ended", partial(has_ended, one), seconds=240, queue=one.queue)
    return begun


def begin(place: Workplace, fates: Mapping[str, str], policy: dict[str, Any]) -> Ended:
    make_tables(place, keys=len(fates))
    place.sql("CREATE TABLE tried (id int AUTO_INCREMENT PRIMARY KEY, session int, attempt int)")
    keys = {fate: number for number, fate in enumerate(fates, start=1)}
    programs = {keys[fate]: code for fate, code in fates.items()}
    code = CONNECT + (
        'attempt = int(os.environ["POPULATE_ATTEMPT"])\n'
        'execute("INSERT INTO tried (session, attempt) VALUES (%s, %s)", key["session"], attempt)\n'
        f'exec({programs!r}[key["session"]])\n'
    )
    memory = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    template = place.template(code, resources=memory)
    queue = place.queue().apply(place.spec("Spikes", template, keepCompleted=True, **policy))
    return Ended(place, queue, keys)


def has_ended(one: Ended) -> bool:
    counts = one.queue.status().get("jobs") or {}
    left = sum(counts.get(state, 0) for state in ("pending", "scheduled", "reserved"))
    return counts.get("total") == len(one.keys) and left == 0


def annotation(pod: Json, name: str) -> str:
    return str(pod["metadata"]["annotations"][f"populate.datajoint.io/{name}"])


def main_container(pod: Json) -> Json:
    found: Json = pod["spec"]["containers"][0]
    return found


# --- the row decides ------------------------------------------------------------------------------


def test_a_row_completes_the_job(ended: dict[str, Ended]) -> None:
    job = ended["retried"].job("row")
    assert (job.status, job.error_message, job.attempt) == ("success", "", 1)
    assert job.duration is not None
    assert job.completed_time is not None


def test_exit_0_without_a_row_is_an_error(ended: dict[str, Ended]) -> None:
    job = ended["retried"].job("no row")
    assert job.status == "error"
    assert job.error_message == "exit 0, but Spikes has no row for this key"
    assert job.error_stack == "nothing to do\n"
    assert ended["retried"].attempts("no row") == [1]


def test_a_row_completes_the_job_though_its_pod_failed(ended: dict[str, Ended]) -> None:
    one = ended["retried"]
    assert one.job("row, then exit 3").status == "success"
    eventually("told of", lambda: "CompletedByFailedPod" in one.queue.events(), queue=one.queue)
    warning = one.queue.events()["CompletedByFailedPod"]
    assert warning.startswith(f"{one.key('row, then exit 3')} in pod {one.queue.name}-")
    assert (
        "the row was made before the pod ended: Error: container populate ended with exit code 3" in warning
    )


# --- attempts -------------------------------------------------------------------------------------


def test_an_exit_code_is_an_error_with_the_end_of_the_log(ended: dict[str, Ended]) -> None:
    one = ended["retried"]
    job = one.job("exit 3")
    assert job.status == "error"
    assert job.error_message == (
        "Error: container populate ended with exit code 3:\n電圧: loading\nno voltage in channel 7"
    )
    assert job.error_stack == "電圧: loading\nno voltage in channel 7\n"
    assert (one.attempts("exit 3"), job.attempt) == ([1, 2, 3], 3)


def test_a_job_is_tried_again_until_it_succeeds(ended: dict[str, Ended]) -> None:
    one = ended["retried"]
    assert one.job("third time lucky").status == "success"
    assert one.attempts("third time lucky") == [1, 2, 3]


def test_memory_grows_after_an_oom_kill(ended: dict[str, Ended]) -> None:
    one = ended["retried"]
    assert one.job("more memory").status == "success"
    assert one.attempts("more memory") == [1, 2]
    pods = [pod for pod in one.queue.pods() if annotation(pod, "key") == one.key("more memory")]
    pods.sort(key=lambda pod: annotation(pod, "attempt"))
    assert [main_container(pod)["resources"]["limits"]["memory"] for pod in pods] == ["64Mi", "256Mi"]
    assert [main_container(pod)["resources"]["requests"]["memory"] for pod in pods] == ["32Mi", "128Mi"]


def test_events_tell_of_failures_and_retries(ended: dict[str, Ended]) -> None:
    queue = ended["retried"].queue
    eventually("told of", lambda: {"JobFailed", "JobRetried"} <= queue.events().keys(), queue=queue)
    events = queue.events()
    assert "session" in events["JobFailed"]
    assert "again in" in events["JobRetried"]


def test_status_tells_of_the_newest_errors(ended: dict[str, Ended]) -> None:
    one = ended["retried"]
    errors = {error["key"]: error["message"] for error in one.queue.status()["recentErrors"]}
    assert errors[one.key("exit 3")] == (
        "Error: container populate ended with exit code 3: 電圧: loading no voltage in channel 7"
    )


# --- rules ----------------------------------------------------------------------------------------


def test_the_first_rule_that_matches_decides(ended: dict[str, Ended]) -> None:
    one = ended["ruled"]
    assert one.job("error by rule").status == "error"
    assert one.job("ignored by rule").status == "ignore"
    assert [one.attempts(fate) for fate in ("error by rule", "ignored by rule")] == [[1], [1]]


def test_a_retry_rule_goes_beyond_the_limit(ended: dict[str, Ended]) -> None:
    one = ended["ruled"]
    assert one.job("retried by rule").status == "success"
    assert one.attempts("retried by rule") == [1, 2, 3]


def test_no_rule_leaves_it_to_the_limit(ended: dict[str, Ended]) -> None:
    one = ended["ruled"]
    assert one.job("no rule").status == "error"
    assert one.attempts("no rule") == [1, 2]


def test_an_oom_kill_names_container_and_limit(ended: dict[str, Ended]) -> None:
    one = ended["ruled"]
    job = one.job("out of memory")
    assert job.status == "error"
    assert job.error_message == "OOMKilled: container populate exceeded its memory limit 64Mi"
    assert one.attempts("out of memory") == [1]


# --- time -----------------------------------------------------------------------------------------


def test_a_pod_beyond_its_deadline_is_an_error(ended: dict[str, Ended]) -> None:
    one = ended["late"]
    job = one.job("endless")
    assert job.status == "error"
    assert job.error_message == "DeadlineExceeded: the pod ran longer than activeDeadlineSeconds, 30"
    assert job.error_stack == "begun\n"
    assert one.attempts("endless") == [1]
