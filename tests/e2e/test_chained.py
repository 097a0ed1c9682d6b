"""Pipelines: where keys come from, and that they flow.

- chained queues with an interval of an hour: each completion wakes the queue downstream
- keySource.query: only its keys run
- keySource.fromClass: the class is asked, by one pod, once; an image that cannot be pulled is told of, and
  the pod that waited for it goes
"""

from __future__ import annotations

from functools import partial

from tests.e2e.lab.classes import declare, template_of
from tests.e2e.lab.gate import (
    AT_ONCE,
    is_at_rest,
    jobs,
    make_gated_tables,
    populated,
    runs,
)
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.tables import add_keys
from tests.e2e.lab.workplace import Workplace

HOURLY = {"intervalSeconds": 3600}
ABSENT = "localhost:1/absent:1"


def test_chained_queues_flow_without_waiting_for_their_interval(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=2)
    workplace.sql(
        "CREATE TABLE __units (session int PRIMARY KEY, FOREIGN KEY (session) REFERENCES __spikes (session))"
    )
    workplace.sql(
        "CREATE TABLE __tuning (session int PRIMARY KEY, FOREIGN KEY (session) REFERENCES __units (session))"
    )
    template = workplace.template(AT_ONCE)
    last, middle, first = (
        workplace.queue().apply(workplace.spec(table, template, refresh=HOURLY))
        for table in ("__tuning", "__units", "__spikes")
    )
    eventually("through", lambda: populated(workplace, "__tuning") == [1, 2], queue=last)
    add_keys(workplace, range(3, 5))
    first.kubectl("annotate", f"pq/{first.name}", "populate.datajoint.io/refresh=now")
    eventually("through again", lambda: populated(workplace, "__tuning") == [1, 2, 3, 4], queue=last)
    for queue, table in ((first, "~~spikes"), (middle, "~~units"), (last, "~~tuning")):
        eventually("at rest", partial(is_at_rest, workplace, queue, table), queue=queue)
    assert len(runs(workplace)) == 12


def test_keys_of_a_query(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=5)
    queue = workplace.queue()
    query = "SELECT session FROM session WHERE session % 2 = 1"
    spec = workplace.spec("__spikes", workplace.template(AT_ONCE), keySource={"query": query})
    queue.apply(spec | {"refresh": HOURLY})
    eventually("odd ones", lambda: populated(workplace) == [1, 3, 5], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert queue.status()["target"]["done"] == "3/3"
    assert sorted(runs(workplace)) == [1, 3, 5]


def test_keys_of_the_class(workplace: Workplace) -> None:
    declare(workplace, keys=4)
    queue = workplace.queue()
    spec = workplace.spec("Even", template_of(workplace), keySource={"fromClass": True})
    queue.apply(spec | {"runner": {"class": "pipeline:Even"}})
    eventually("even ones", lambda: populated(workplace, "__even") == [2, 4], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue, "~~even"), queue=queue)
    assert queue.status()["target"]["done"] == "2/2"
    assert jobs(workplace, "~~even") == {}
    assert len(probes(queue)) == 1


def test_a_class_whose_image_cannot_be_pulled(workplace: Workplace) -> None:
    declare(workplace, keys=4)
    queue = workplace.queue()
    template = template_of(workplace)
    (container,) = template["spec"]["containers"]
    absent = {"spec": template["spec"] | {"containers": [container | {"image": ABSENT}]}}
    spec = workplace.spec("Even", absent, keySource={"fromClass": True}, runner={"class": "pipeline:Even"})
    queue.apply(spec)
    eventually("told of", lambda: names_image(queue.condition("Ready")), queue=queue)
    assert "target" not in queue.status()  # the parents' keys would be another class's
    eventually("the pod is gone", lambda: not probes(queue), queue=queue)

    queue.apply(spec | {"template": template})
    eventually("even ones", lambda: populated(workplace, "__even") == [2, 4], queue=queue)
    eventually("one pod has asked", lambda: len(probes(queue)) == 1, queue=queue)


def names_image(condition: dict[str, str]) -> bool:
    """Whether it says that the class cannot be asked, and why."""
    told = all(word in condition.get("message", "") for word in ("ImagePullBackOff", ABSENT))
    return told and condition["reason"] == "KeySourceUnknown"


def probes(queue: Queue) -> list[str]:
    """The pods that asked the class."""
    names = queue.kubectl("get", "pods", "-o", "name").split()
    return [name for name in names if name.startswith(f"pod/{queue.name}-keys-")]
