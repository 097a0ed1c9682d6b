"""Queues beside others that touch the same server, tables and rows.

- a DataJoint worker on the same queue: each key once
- two queues of two tables in a namespace; queues of one name in two namespaces
- a rotated Secret: followed without a restart, running pods keep their connection
- a jobs table dropped in mid-run: running pods take their jobs back
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.lab.classes import declare, run_python, template_of
from tests.e2e.lab.door import Door, door_of
from tests.e2e.lab.gate import (
    AT_ONCE,
    AT_THE_GATE,
    is_at_rest,
    jobs,
    known_to_run,
    make_gated_tables,
    open_gate,
    populated,
    runs,
)
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import eventually
from tests.e2e.lab.workplace import Workplace

WORKER = """
import pipeline
print(pipeline.Spikes.populate(reserve_jobs=True)["success_count"])
"""


@pytest.fixture
def door(workplace: Workplace) -> Iterator[Door]:
    with door_of(workplace) as door:
        door.add_secret()
        door.open()
        yield door


def test_datajoint_worker_and_queue_share_the_keys(workplace: Workplace) -> None:
    declare(workplace, keys=24)
    queue = workplace.queue()
    spec = workplace.spec("Spikes", template_of(workplace), parallelism=2)
    queue.apply(spec | {"runner": {"class": "pipeline:Spikes"}, "podRetention": {"succeeded": 100}})
    eventually("the first row", lambda: populated(workplace), queue=queue)
    by_worker = int(run_python(workplace, WORKER).splitlines()[-1])  # DataJoint greets on the first
    eventually("all done", lambda: len(populated(workplace)) == 24, queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)

    makers = dict(workplace.sql("SELECT session, maker FROM __spikes"))
    names = {pod["metadata"]["name"] for pod in queue.pods()}
    assert {maker for maker in makers.values() if maker != "worker"} == names
    assert list(makers.values()).count("worker") == by_worker > 0
    assert len(names) + by_worker == 24
    assert jobs(workplace) == {}
    assert {pod["status"]["phase"] for pod in queue.pods()} == {"Succeeded"}


def test_queues_of_one_name_in_two_namespaces_and_two_tables_in_one(
    make_workplace: Callable[[str], Workplace], watched: tuple[str, str]
) -> None:
    here, there = (make_workplace(namespace) for namespace in watched)
    for place, keys in ((here, 3), (there, 2)):
        make_gated_tables(place, keys=keys)
    here.sql(
        "CREATE TABLE _traces (session int PRIMARY KEY, FOREIGN KEY (session) REFERENCES session (session))"
    )
    spikes_here = here.queue("same").apply(here.spec("__spikes", here.template(AT_ONCE)))
    spikes_there = there.queue("same").apply(there.spec("__spikes", there.template(AT_ONCE)))
    traces = here.queue("traces").apply(here.spec("_traces", here.template(AT_ONCE)))

    eventually("here", lambda: populated(here) == [1, 2, 3], queue=spikes_here)
    eventually("there", lambda: populated(there) == [1, 2], queue=spikes_there)
    eventually("traces", lambda: populated(here, "_traces") == [1, 2, 3], queue=traces)
    eventually("at rest here", lambda: is_at_rest(here, spikes_here), queue=spikes_here)
    eventually("at rest there", lambda: is_at_rest(there, spikes_there), queue=spikes_there)
    eventually("traces at rest", lambda: is_at_rest(here, traces, "~~traces"), queue=traces)
    assert sorted(runs(here)) == [1, 1, 2, 2, 3, 3]
    assert sorted(runs(there)) == [1, 2]
    assert spikes_here.status()["target"]["done"] == traces.status()["target"]["done"] == "3/3"
    assert spikes_there.status()["target"]["done"] == "2/2"


def test_rotated_secret_is_followed(workplace: Workplace, door: Door, operator: Operator) -> None:
    restarts = operator.restarts()
    make_gated_tables(workplace, keys=3)
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=1, database=door.database)
    queue.apply(spec)
    eventually("one at the gate", lambda: len(runs(workplace)) == 1, queue=queue)
    addresses = tuple(pod["status"]["podIP"] for pod in known_to_run(queue, 1))

    door.change_password("changed")

    def denied() -> bool:
        door.drop_connections(but_of=addresses)  # also one that was let in while the others were dropped
        return queue.condition("DatabaseReachable").get("reason") == "AccessDenied"

    eventually("refused", denied, queue=queue)
    assert door.name in queue.condition("Ready")["message"]
    assert "changed" not in queue.describe()

    door.add_secret("changed")
    open_gate(workplace)
    eventually("all done", lambda: populated(workplace) == [1, 2, 3], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert sorted(runs(workplace)) == [1, 2, 3]
    assert operator.restarts() == restarts


def test_running_pod_takes_its_job_back_from_a_dropped_jobs_table(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=2)
    queue = workplace.queue()
    queue.apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=2))
    eventually("two at the gate", lambda: len(runs(workplace)) == 2, queue=queue)
    before = {pod["metadata"]["uid"] for pod in known_to_run(queue, 2)}

    workplace.sql("DROP TABLE `~~spikes`")
    taken = {1: "reserved", 2: "reserved"}
    eventually("taken back", lambda: jobs(workplace) == taken, queue=queue)
    hosts = {host for (host,) in workplace.sql("SELECT host FROM `~~spikes`")}
    assert hosts == {pod["metadata"]["name"] for pod in queue.running()}
    assert {pod["metadata"]["uid"] for pod in queue.running()} == before

    open_gate(workplace)
    eventually("all done", lambda: populated(workplace) == [1, 2], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert sorted(runs(workplace)) == [1, 2]
    assert jobs(workplace) == {}
