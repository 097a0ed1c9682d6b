"""Pods that write garbage, keys that mean something to every layer, and users who edit pods.

- termination log: binary, megabytes, nesting, false reports; a log of one endless line; the operator lives on
- keys with quotes, backticks, percent signs, NULs, emoji, `$(...)`: each row is made once
- a running pod is relabelled, given to another queue, has its key, attempt, finalizer, owner edited: its row
  decides; nothing runs twice
- a pod of another namespace that claims to be one of the queue's changes nothing
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from dev.cluster import Cluster
from tests.e2e.lab.gate import AT_THE_GATE, is_at_rest, jobs, make_gated_tables, open_gate, populated, runs
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import Json, Queue, eventually
from tests.e2e.lab.tables import CONNECT, make_tables
from tests.e2e.lab.workplace import Workplace

# What each session's pod leaves behind before it fails; the keys are numbered in this order from 1.
_WRITE = "open('/dev/termination-log', 'wb').write("
GARBAGE = {
    "binary": _WRITE + "bytes(range(256)) * 8192)",
    "half a character": _WRITE + "b'\\xf0\\x9f\\x98' * 1000)",
    "nesting": _WRITE + "b'[' * 4096)",
    "a report of half characters": _WRITE + r"""b'{"error_message": "\\ud800", "error_stack": "\\u0000"}')""",
    "a report of other types": _WRITE + """b'{"error_message": [1], "error_stack": {}}')""",
    "a false key source": _WRITE + """b'{"key_source": "SELECT 1; DROP TABLE session"}')""",
    "megabytes on one line": "sys.stdout.write('x' * (5 << 20))",
    "a traceback of megabytes": "raise ValueError('voltage' * 700_000)",
    "NULs in the log": "print('\\0' * 1000 + 'the end')",
}
KEYS = [
    "it's \"quoted\"", "`tick`", "100% %s %%", "nul\0inside", "\N{SLEEPING SYMBOL} 電圧", "back\\slash\\'",
    "$(DJ_PASS) $$ `id`", "new\nline", '{"json": [1]}', "'; DROP TABLE origin; -- ", "x" * 255,
]  # fmt: skip
COPY_KEY = """
import json, os, pymysql
with pymysql.connect(host=os.environ["DJ_HOST"], port=int(os.environ["DJ_PORT"]), user=os.environ["DJ_USER"],
    password=os.environ["DJ_PASS"], database=os.environ["POPULATE_SCHEMA"], autocommit=True) as connection:
    key = json.loads(os.environ["POPULATE_KEY"])
    connection.cursor().execute("INSERT INTO __derived VALUES (%s)", (key["attr"],))
"""
EDITS: dict[str, Json] = {
    "label removed": {"labels": {"app.kubernetes.io/managed-by": None}},
    "queue-uid removed": {"labels": {"populate.datajoint.io/queue-uid": None}},
    "queue-uid of another": {
        "labels": {"populate.datajoint.io/queue-uid": "another"},
        "ownerReferences": None,
    },
    "owner removed": {"ownerReferences": None},
    "key of another": {"annotations": {"populate.datajoint.io/key": '{"session":1}'}},
    "no key": {"annotations": {"populate.datajoint.io/key": "[" * 5000}},
    "attempt": {"annotations": {"populate.datajoint.io/attempt": "-99999999999999999999"}},
    "finalizer removed": {"finalizers": None},
}


@pytest.fixture(scope="module")
def begun(
    make_lasting_workplace: Callable[[str], Workplace], watched: tuple[str, str]
) -> dict[str, tuple[Workplace, Queue]]:
    """The queues of this module, side by side."""
    return {name: begin(make_lasting_workplace(watched[0])) for name, begin in BEGIN.items()}


def begin_garbage(place: Workplace) -> tuple[Workplace, Queue]:
    make_tables(place, keys=len(GARBAGE))
    programs = dict(enumerate(GARBAGE.values(), start=1))
    code = CONNECT + f'exec({programs!r}[key["session"]])\nsys.stdout.flush()\nsys.exit(7)\n'
    return place, place.queue().apply(place.spec("Spikes", place.template(code)))


def begin_keys(place: Workplace) -> tuple[Workplace, Queue]:
    column = "attr varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, PRIMARY KEY (attr)"
    place.sql(f"CREATE TABLE origin ({column})")
    place.sql(f"CREATE TABLE __derived ({column}, FOREIGN KEY (attr) REFERENCES origin (attr))")
    for value in KEYS:
        place.sql("INSERT INTO origin VALUES (%s)", value)
    return place, place.queue().apply(place.spec("Derived", place.template(COPY_KEY)))


def begin_edits(place: Workplace) -> tuple[Workplace, Queue]:
    make_gated_tables(place, keys=len(EDITS))
    return place, place.queue().apply(place.spec("__spikes", place.template(AT_THE_GATE)))


BEGIN = {"garbage": begin_garbage, "keys": begin_keys, "edits": begin_edits}


@pytest.fixture
def restarts(operator: Operator) -> Iterator[None]:
    """The operator's process outlives the test."""
    before = operator.restarts()
    yield
    assert operator.restarts() == before
    assert "Traceback" not in operator.logs(tail=2000)


@pytest.mark.usefixtures("restarts")
def test_garbage_becomes_an_error_of_its_own_job(begun: dict[str, tuple[Workplace, Queue]]) -> None:
    place, queue = begun["garbage"]
    errors = "SELECT session, error_message, LENGTH(error_stack) FROM `~~spikes` WHERE status = 'error'"
    eventually("ended", lambda: len(place.sql(errors)) == len(GARBAGE), queue=queue)
    found = {session: (message, size) for session, message, size in place.sql(errors)}
    messages = {name: found[number][0] for number, name in enumerate(GARBAGE, start=1)}
    assert max(len(message) for message in messages.values()) <= 2047
    assert max(size or 0 for _, size in found.values()) < 20_000
    exit_7 = "Error: container populate ended with exit code 7"
    for name in ("binary", "half a character", "nesting", "a false key source", "a report of other types"):
        assert messages[name].startswith(exit_7), name
    assert messages["a report of half characters"] in ("?", "\ufffd")
    assert "voltage" in messages["a traceback of megabytes"]
    assert "the end" in messages["NULs in the log"]
    eventually("told", lambda: queue.status()["jobs"]["error"] == len(GARBAGE), queue=queue)


@pytest.mark.usefixtures("restarts")
def test_every_key_makes_one_row(begun: dict[str, tuple[Workplace, Queue]]) -> None:
    place, queue = begun["keys"]
    made = "SELECT attr FROM __derived"
    eventually("made", lambda: len(place.sql(made)) == len(KEYS), queue=queue)
    assert {value for (value,) in place.sql(made)} == set(KEYS)
    eventually("settled", lambda: place.sql("SELECT * FROM `~~derived`") == [], queue=queue)
    assert "error" not in {reason.lower() for reason in queue.events()}


@pytest.mark.usefixtures("restarts")
def test_pods_that_users_edit_run_once_and_their_rows_decide(
    begun: dict[str, tuple[Workplace, Queue]],
) -> None:
    place, queue = begun["edits"]
    keys = list(range(1, len(EDITS) + 1))
    eventually("running", lambda: sorted(runs(place)) == keys, queue=queue)
    pods = dict(place.sql("SELECT session, pod FROM runs"))
    for session, edit in zip(keys, EDITS.values(), strict=True):
        patch = json.dumps({"metadata": edit})
        queue.kubectl("patch", "pod", pods[session], "--type=merge", f"--patch={patch}")
    eventually("relabelled", partial(are_its_own, queue, set(pods.values())), queue=queue)
    open_gate(place)
    eventually("populated", lambda: populated(place) == keys, queue=queue)
    eventually("at rest", lambda: jobs(place) == {} and is_at_rest(place, queue), queue=queue)
    assert sorted(runs(place)) == keys, "each ran once"


def are_its_own(queue: Queue, names: set[str]) -> bool:
    """Whether the pods that had lost their labels have them again."""
    return names <= {pod["metadata"]["name"] for pod in queue.pods()}


def forge(place: Workplace, namespace: str, model: Json) -> None:
    """A pod of another namespace that fails, with the labels, key and name of one of the queue's."""
    metadata = {part: model["metadata"][part] for part in ("name", "labels", "annotations")}
    spec = place.template("raise SystemExit(9)")["spec"] | {"restartPolicy": "Never"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    place.cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(pod))


def has_failed(cluster: Cluster, namespace: str, name: str) -> bool:
    phase = cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.phase}")
    return phase == "Failed"


@pytest.mark.usefixtures("restarts")
def test_a_pod_of_another_namespace_settles_nothing(workplace: Workplace, watched: tuple[str, str]) -> None:
    make_gated_tables(workplace, keys=1)
    queue = workplace.queue(f"q-{secrets.token_hex(4)}")
    queue.apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE)))
    eventually("running", lambda: runs(workplace) == [1], queue=queue)
    (own,) = queue.pods()
    cluster, name = workplace.cluster, own["metadata"]["name"]
    forge(workplace, watched[1], own)
    try:
        eventually("failed", lambda: has_failed(cluster, watched[1], name), queue=queue)
        queue.patch(priority=6)  # a pass that has seen all this
        eventually("seen", lambda: is_observed(queue), queue=queue)
        assert jobs(workplace) == {1: "reserved"}
        open_gate(workplace)
        eventually("at rest", lambda: jobs(workplace) == {} and is_at_rest(workplace, queue), queue=queue)
        assert (runs(workplace), populated(workplace)) == ([1], [1])
    finally:
        cluster.kubectl("delete", "pod", name, "-n", watched[1], "--now")


def is_observed(queue: Queue) -> bool:
    found = queue.get()
    return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])
