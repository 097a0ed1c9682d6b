"""How queues begin, idle and end.

- applied before its Secret, server, schema and table exist: says what is missing, goes on by itself
- idle: nothing is written but the time of the last refresh
- annotated twice in a row: refreshed twice, at once
- finished pods: as many as podRetention says, logs readable
- deleted in mid-run: pods deleted, rows pending, nothing of it left
- deleted while the database is down: gone all the same, and its rows are picked up by another queue
- deleted when its Secret is gone: settled all the same, a row that is in the target above all
- deleted with a key source that the server refuses: settled likewise
- deleted while its table refuses to be written, or its job is locked: gone all the same
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.lab.door import Door, door_of
from tests.e2e.lab.gate import (
    AT_ONCE,
    AT_THE_GATE,
    FOR_EVER,
    INSERT,
    is_at_rest,
    jobs,
    make_gated_tables,
    open_gate,
    populated,
    runs,
)
from tests.e2e.lab.queues import RESOURCE, Queue, eventually
from tests.e2e.lab.tables import add_keys
from tests.e2e.lab.workplace import Workplace

Json = dict[str, Any]

# The pod of the first key makes its row, and waits like the others.
MAKES_ROW_ONE = AT_THE_GATE.replace("while not", f"session == 1 and {INSERT.strip()}\nwhile not")


@pytest.fixture
def door(workplace: Workplace) -> Iterator[Door]:
    with door_of(workplace) as door:
        yield door


def says(queue: Queue, kind: str, reason: str, *words: str) -> bool:
    """Whether the condition is false for that reason, with all `words` in its message."""
    found = queue.condition(kind)
    return (found.get("status"), found.get("reason")) == ("False", reason) and all(
        word in found["message"] for word in words
    )


def test_queue_applied_before_all_else_waits_and_recovers(workplace: Workplace, door: Door) -> None:
    schema = workplace.schema
    workplace.sql(f"DROP DATABASE `{schema}`")
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(AT_ONCE), database=door.database)
    queue.apply(spec)
    secret = ("Secret", door.name, workplace.namespace, "create it")
    eventually("no Secret", lambda: says(queue, "Ready", "SecretNotFound", *secret), queue=queue)
    assert queue.condition("DatabaseReachable")["status"] == "Unknown"

    door.add_secret()
    host = f"{door.name}.{workplace.database.namespace}.svc"
    eventually("no server", lambda: says(queue, "Ready", "DatabaseUnreachable", host), queue=queue)
    assert says(queue, "DatabaseReachable", "DatabaseUnreachable", host)
    eventually("told", lambda: host in queue.events().get("DatabaseUnreachable", ""), queue=queue)

    door.open()
    eventually("no schema", lambda: says(queue, "Ready", "NoSuchSchema", schema), queue=queue)
    assert queue.condition("DatabaseReachable")["status"] == "True"

    workplace.database.execute(f"CREATE DATABASE `{schema}`")
    eventually("no table", lambda: says(queue, "Ready", "NoSuchTable", "__spikes", schema), queue=queue)
    assert "declare it, correct the name" in queue.kubectl("get", "pq", queue.name, "-o", "wide")

    make_gated_tables(workplace, keys=2)
    queue.kubectl("wait", "--for=condition=Ready", f"pq/{queue.name}", "--timeout=60s")
    eventually("all done", lambda: populated(workplace) == [1, 2], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)


def test_idle_queue_is_not_written_but_for_its_refreshes(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=1)
    workplace.sql("INSERT INTO __spikes VALUES (1)")
    queue = workplace.queue()
    template = workplace.template(AT_ONCE)
    queue.apply(workplace.spec("__spikes", template, refresh={"intervalSeconds": 2}))
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)

    seen = list(follow(queue, refreshes=3))
    assert len(seen) == len({one["status"]["lastRefresh"]["time"] for one in seen})
    for one in seen:
        del one["status"]["lastRefresh"], one["metadata"]["resourceVersion"], one["metadata"]["managedFields"]
    assert all(one == seen[0] for one in seen)
    assert seen[0]["metadata"].get("annotations", {}).keys() <= {
        "kubectl.kubernetes.io/last-applied-configuration"
    }


def follow(queue: Queue, *, refreshes: int) -> Iterator[Json]:
    """Every version of the queue from now on until it was refreshed that many times."""
    version = [
        "get",
        RESOURCE,
        queue.name,
        "-n",
        queue.namespace,
        "-o",
        "json",
        "--watch",
        "--show-managed-fields",
    ]
    with subprocess.Popen(
        [*queue.cluster.kubectl_command(), *version], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        times: set[str] = set()
        text = ""
        try:
            for line in process.stdout:
                text += line
                if line == "}\n":
                    one: Json = json.loads(text)
                    text = ""
                    times.add(one["status"]["lastRefresh"]["time"])
                    if len(times) > refreshes:
                        return
                    yield one
        finally:
            process.terminate()


def test_annotation_refreshes_at_once_as_often_as_it_is_set(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=0)
    queue = workplace.queue()
    queue.apply(
        workplace.spec(
            "__spikes", workplace.template(AT_ONCE), refresh={"intervalSeconds": 3600}, suspend=True
        )
    )
    eventually("refreshed", lambda: queue.status().get("lastRefresh"), queue=queue)
    for number in (1, 2):
        add_keys(workplace, range(number, number + 1))
        queue.kubectl("annotate", f"pq/{queue.name}", "populate.datajoint.io/refresh=now")
        wanted = dict.fromkeys(range(1, number + 1), "pending")
        eventually("its job is there", partial(has_jobs, workplace, wanted), queue=queue)
        eventually("the request is taken away", lambda: not is_refresh_asked(queue), queue=queue)
    eventually("told", lambda: queue.events().get("Refreshed", "").startswith("1 added"), queue=queue)


def is_refresh_asked(queue: Queue) -> bool:
    return "populate.datajoint.io/refresh" in queue.get()["metadata"].get("annotations", {})


def has_jobs(place: Workplace, wanted: dict[int, str]) -> bool:
    return jobs(place) == wanted


def test_finished_pods_are_kept_for_their_logs_up_to_a_limit(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=6)
    fails_from_four = AT_ONCE.replace("cursor.execute(f", "assert session < 4; cursor.execute(f")
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(fails_from_four), parallelism=3)
    queue.apply(spec | {"podRetention": {"succeeded": 1, "failed": 2}})
    failed = dict.fromkeys((4, 5, 6), "error")
    eventually("all ended", lambda: jobs(workplace) == failed, queue=queue)

    def kept() -> list[str]:
        return sorted(pod["status"]["phase"] for pod in queue.pods())

    eventually("the rest deleted", lambda: kept() == ["Failed", "Failed", "Succeeded"], queue=queue)
    sessions = dict(workplace.sql("SELECT pod, session FROM runs"))
    for pod in queue.pods():
        name = pod["metadata"]["name"]
        assert f"session {sessions[name]}" in queue.kubectl("logs", name)
        assert not pod["metadata"].get("finalizers")

    queue.patch(podRetention={"succeeded": 0, "failed": 0})
    eventually("none kept", lambda: kept() == [], queue=queue)


def test_queue_deleted_in_mid_run_leaves_nothing_behind(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=3)
    queue = workplace.queue()
    queue.apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=2, priority=3))
    eventually("two at the gate", lambda: len(runs(workplace)) == 2, queue=queue)

    queue.delete()
    assert not queue.exists()
    assert jobs(workplace) == dict.fromkeys((1, 2, 3), "pending")
    rows = workplace.sql("SELECT DISTINCT priority, pid, reserved_time FROM `~~spikes`")
    assert rows == [(3, 0, None)]
    eventually("no pod left", lambda: queue.pods() == [])

    open_gate(workplace)
    again = workplace.queue().apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE)))
    eventually("all done", lambda: populated(workplace) == [1, 2, 3], queue=again)
    eventually("at rest", lambda: is_at_rest(workplace, again), queue=again)


def test_queue_is_deleted_while_the_database_is_down(workplace: Workplace, door: Door) -> None:
    make_gated_tables(workplace, keys=2)
    door.add_secret()
    door.open()
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(FOR_EVER), parallelism=1, database=door.database)
    queue.apply(spec)
    eventually("one runs", lambda: len(runs(workplace)) == 1, queue=queue)
    door.shut()
    eventually(
        "lost", lambda: says(queue, "DatabaseReachable", "DatabaseUnreachable", door.name), queue=queue
    )
    assert len(queue.running()) == 1

    queue.delete()
    assert not queue.exists()
    eventually("no pod left", lambda: queue.pods() == [])
    assert sorted(jobs(workplace).values()) == ["pending", "reserved"]

    door.open()
    other = workplace.queue().apply(
        workplace.spec("__spikes", workplace.template(AT_ONCE), database=door.database)
    )
    eventually("all done", lambda: populated(workplace) == [1, 2], queue=other)
    eventually("at rest", lambda: is_at_rest(workplace, other), queue=other)


def two_at_work(place: Workplace, **fields: Any) -> Queue:
    """A queue with two pods at work, of which one has made its row."""
    make_gated_tables(place, keys=2)
    queue = place.queue()
    queue.apply(place.spec("__spikes", place.template(MAKES_ROW_ONE), parallelism=2, **fields))
    eventually("two at the gate", lambda: len(runs(place)) == 2, queue=queue)
    eventually("one has made its row", lambda: populated(place) == [1], queue=queue)
    return queue


def one_at_work(place: Workplace) -> Queue:
    """A queue whose one pod never ends by itself."""
    make_gated_tables(place, keys=1)
    queue = place.queue().apply(place.spec("__spikes", place.template(FOR_EVER)))
    eventually("it runs", lambda: runs(place) == [1], queue=queue)
    return queue


def test_queue_that_is_deleted_after_its_secret_is_settled(workplace: Workplace, door: Door) -> None:
    """`kubectl delete -f folder/` deletes both; the operator reads the Secret again every 30 s."""
    door.add_secret()
    door.open()
    queue = two_at_work(workplace, database=door.database)
    queue.kubectl("delete", "secret", door.name)
    eventually("missed", lambda: says(queue, "Ready", "SecretNotFound", door.name), queue=queue)
    queue.delete()
    assert jobs(workplace) == {2: "pending"}
    eventually("no pod left", lambda: queue.pods() == [])


def test_queue_that_is_deleted_with_a_bad_key_source_is_settled(workplace: Workplace) -> None:
    queue = two_at_work(workplace)
    queue.patch(keySource={"query": "SELECT session FROM nowhere"})
    eventually("told", lambda: says(queue, "Ready", "BadKeySource", "nowhere"), queue=queue)
    queue.delete()
    assert jobs(workplace) == {2: "pending"}
    eventually("no pod left", lambda: queue.pods() == [])


def test_queue_is_deleted_while_its_table_refuses_to_be_written(workplace: Workplace) -> None:
    queue = one_at_work(workplace)
    workplace.sql(
        "CREATE TRIGGER closed BEFORE UPDATE ON `~~spikes` FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed for repairs'"
    )
    queue.delete()
    assert jobs(workplace) == {1: "reserved"}
    eventually("no pod left", lambda: queue.pods() == [])


def test_queue_is_deleted_while_somebody_has_locked_its_job(workplace: Workplace) -> None:
    queue = one_at_work(workplace)
    with workplace.database.connect(database=workplace.schema) as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute("UPDATE `~~spikes` SET priority = 1 WHERE session = 1")
        queue.delete()
    assert jobs(workplace) == {1: "reserved"}
