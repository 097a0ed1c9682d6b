"""One queue while its user changes his mind.

- suspend: what runs finishes, nothing starts; resume goes on
- parallelism: up starts more at once, down kills nothing and then holds
- a changed template leaves running pods alone and is used from then on
- restrictions: only their keys run and count
- the order of starts is (priority, scheduled_time), whoever set it; delayed jobs wait and are told of
- keepCompleted keeps rows; a row that left the target is made again
- restarted operator: what happened meanwhile is settled or pending again
"""

from __future__ import annotations

from functools import partial

from tests.e2e.lab.gate import (
    AT_ONCE,
    AT_THE_GATE,
    is_at_rest,
    jobs,
    make_gated_tables,
    open_gate,
    populated,
    runs,
)
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.tables import add_keys
from tests.e2e.lab.workplace import Workplace


def uids(pods: list[dict[str, dict[str, str]]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def ready_reason(queue: Queue) -> object:
    return queue.condition("Ready").get("reason")


def see_change(queue: Queue) -> None:
    """The operator goes by the spec as it is now."""
    generation = queue.get()["metadata"]["generation"]
    eventually("seen", lambda: queue.status()["observedGeneration"] == generation, queue=queue)


def see_refreshes(queue: Queue) -> None:
    """It refreshes by the spec as it is now: one that was under way when that changed went by the old."""
    see_change(queue)
    for _ in range(2):
        last = queue.status()["lastRefresh"]["time"]
        eventually("again", partial(is_refreshed_since, last, queue), queue=queue)


def is_refreshed_since(last: object, queue: Queue) -> bool:
    return bool(queue.status()["lastRefresh"]["time"] != last)


def test_suspended_queue_lets_pods_finish_and_starts_none(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=4)
    queue = workplace.queue()
    queue.apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=2))
    eventually("two at the gate", lambda: len(runs(workplace)) == 2, queue=queue)
    begun = sorted(runs(workplace))

    queue.patch(suspend=True)
    eventually("suspended", lambda: queue.condition("Suspended").get("status") == "True", queue=queue)
    open_gate(workplace)
    eventually("both done", lambda: populated(workplace) == begun, queue=queue)
    eventually("no pod is active", lambda: queue.status()["pods"]["active"] == 0, queue=queue)
    left = ["pending", "pending"]
    eventually("both are settled", lambda: sorted(jobs(workplace).values()) == left, queue=queue)
    ready = queue.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Suspended")
    assert "set spec.suspend to false to go on" in queue.kubectl("get", "pq", queue.name, "-o", "wide")
    assert sorted(runs(workplace)) == begun

    queue.patch(suspend=False)
    eventually("all done", lambda: populated(workplace) == [1, 2, 3, 4], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert queue.condition("Suspended")["status"] == "False"
    assert sorted(runs(workplace)) == [1, 2, 3, 4]


def test_scaling_up_starts_more_and_scaling_down_kills_nothing(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=5)
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=1)
    queue.apply(spec | {"podRetention": {"succeeded": 10}})
    eventually("one at the gate", lambda: len(runs(workplace)) == 1, queue=queue)

    queue.kubectl("scale", f"pq/{queue.name}", "--replicas=3")
    eventually("three at the gate", lambda: len(runs(workplace)) == 3, queue=queue)
    eventually("status says three", lambda: queue.status()["pods"]["active"] == 3, queue=queue)
    begun, three = runs(workplace), uids(queue.pods())
    assert queue.kubectl(
        "get", f"pq/{queue.name}", "--subresource=scale", "-o", "jsonpath={.status.replicas}"
    )

    queue.kubectl("scale", f"pq/{queue.name}", "--replicas=1")
    see_change(queue)
    open_gate(workplace, *begun[:2])
    eventually("two done", lambda: populated(workplace) == sorted(begun[:2]), queue=queue)
    eventually("one is active", lambda: queue.status()["pods"]["active"] == 1, queue=queue)
    assert uids(queue.pods()) == three
    assert len(runs(workplace)) == 3

    open_gate(workplace)
    eventually("all done", lambda: len(populated(workplace)) == 5, queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert {pod["status"]["phase"] for pod in queue.pods()} == {"Succeeded"}
    assert len(queue.pods()) == len(runs(workplace)) == 5
    assert set(queue.events()) == {"Refreshed"}


def test_changed_template_is_for_new_pods_only(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=2)
    queue = workplace.queue()
    old = workplace.template(AT_THE_GATE, env=[{"name": "MARK", "value": "old"}])
    new = workplace.template(AT_ONCE, env=[{"name": "MARK", "value": "new"}])
    queue.apply(workplace.spec("__spikes", old, parallelism=1))
    eventually("one at the gate", lambda: len(runs(workplace)) == 1, queue=queue)
    before = uids(queue.pods())

    queue.patch(template=new)
    see_change(queue)
    eventually("proved", lambda: queue.condition("Ready").get("status") == "True", queue=queue)
    eventually("the old one runs", lambda: uids(queue.running()) == before, queue=queue)

    open_gate(workplace)
    eventually("both done", lambda: populated(workplace) == [1, 2], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    marks = {
        pod["metadata"]["uid"]: variable["value"]
        for pod in queue.pods()
        for variable in pod["spec"]["containers"][0]["env"]
        if variable["name"] == "MARK"
    }
    assert [marks.pop(uid) for uid in before] == ["old"]
    assert list(marks.values()) == ["new"]


def test_only_restricted_keys_run(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=6)
    queue = workplace.queue()
    restrictions = ["session > 2", "session < 5"]
    queue.apply(workplace.spec("__spikes", workplace.template(AT_ONCE), restrictions=restrictions))
    eventually("both done", lambda: populated(workplace) == [3, 4], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert queue.status()["target"]["done"] == "2/2"
    assert jobs(workplace) == {}

    queue.patch(restrictions=["session < 5"])
    eventually("the rest too", lambda: populated(workplace) == [1, 2, 3, 4], queue=queue)
    eventually("counted", lambda: queue.status()["target"]["done"] == "4/4", queue=queue)
    assert sorted(runs(workplace)) == [1, 2, 3, 4]


def test_urgent_jobs_start_first_and_delayed_ones_wait(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=2)
    queue = workplace.queue()
    spec = workplace.spec("__spikes", workplace.template(AT_ONCE), parallelism=1, suspend=True)
    queue.apply(spec | {"refresh": {"intervalSeconds": 1}})
    eventually("queued", lambda: jobs(workplace) == dict.fromkeys((1, 2), "pending"), queue=queue)
    queue.patch(priority=1)
    see_refreshes(queue)
    add_keys(workplace, range(3, 4))
    eventually("a more urgent one", lambda: 3 in jobs(workplace), queue=queue)
    queue.patch(refresh={"delaySeconds": 3600})
    see_refreshes(queue)
    add_keys(workplace, range(4, 5))
    eventually("a delayed one", lambda: 4 in jobs(workplace), queue=queue)
    workplace.sql("UPDATE `~~spikes` SET priority = 0 WHERE session = 2")
    priorities = dict(workplace.sql("SELECT session, priority FROM `~~spikes`"))
    assert priorities == {1: 5, 2: 0, 3: 1, 4: 1}

    queue.patch(suspend=False)
    eventually("what is due is done", lambda: populated(workplace) == [1, 2, 3], queue=queue)
    assert runs(workplace) == [2, 3, 1]
    eventually("waits for the delayed one", lambda: ready_reason(queue) == "Waiting", queue=queue)
    eventually("and counts it", lambda: queue.status()["jobs"]["scheduled"] == 1, queue=queue)
    assert jobs(workplace) == {4: "pending"}

    workplace.sql("UPDATE `~~spikes` SET scheduled_time = CURRENT_TIMESTAMP(3)")
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert runs(workplace) == [2, 3, 1, 4]


def test_row_that_left_the_target_is_made_again(workplace: Workplace) -> None:
    make_gated_tables(workplace, keys=3)
    queue = workplace.queue()
    queue.apply(workplace.spec("__spikes", workplace.template(AT_ONCE), keepCompleted=True))
    kept = dict.fromkeys((1, 2, 3), "success")
    eventually("all kept", lambda: jobs(workplace) == kept, queue=queue)
    eventually("counted", lambda: queue.status()["jobs"]["success"] == 3, queue=queue)
    assert workplace.sql("SELECT COUNT(*) FROM `~~spikes` WHERE duration >= 0 AND completed_time > 0") == [
        (3,)
    ]

    workplace.sql("DELETE FROM __spikes WHERE session = 2")
    eventually("made again", lambda: populated(workplace) == [1, 2, 3], queue=queue)
    eventually("kept again", lambda: jobs(workplace) == kept, queue=queue)
    assert sorted(runs(workplace)) == [1, 2, 2, 3]
    eventually("told", lambda: "1 pending again" in queue.events().get("Refreshed", ""), queue=queue)


def test_restarted_operator_loses_no_job(workplace: Workplace, operator: Operator) -> None:
    make_gated_tables(workplace, keys=4)
    queue = workplace.queue()
    queue.apply(workplace.spec("__spikes", workplace.template(AT_THE_GATE), parallelism=3))
    eventually("three at the gate", lambda: len(runs(workplace)) == 3, queue=queue)
    begun = runs(workplace)
    pods = {pod: session for session, pod in workplace.sql("SELECT session, pod FROM runs")}
    (goes_on,) = (pod for pod, session in pods.items() if session == begun[2])
    (deleted,) = (pod for pod, session in pods.items() if session == begun[1])

    operator.scale(0)
    open_gate(workplace, begun[0])
    queue.kubectl("delete", "pod", deleted, "--force", "--wait=false")
    eventually("one done meanwhile", lambda: populated(workplace) == [begun[0]])
    operator.scale(1)

    eventually("the deleted one again", lambda: len(runs(workplace)) == 5, queue=queue)
    assert sorted(runs(workplace)) == sorted([1, 2, 3, 4, begun[1]])
    assert goes_on in {pod["metadata"]["name"] for pod in queue.running()}
    open_gate(workplace)
    eventually("all done", lambda: populated(workplace) == [1, 2, 3, 4], queue=queue)
    eventually("at rest", lambda: is_at_rest(workplace, queue), queue=queue)
    assert jobs(workplace) == {}
