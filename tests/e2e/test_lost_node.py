"""Nodes that stop answering while jobs run on them, and what becomes of the jobs.

- without lostPodTimeoutSeconds nothing runs twice: the queue is Degraded and names pod and node, and once the
  node is back the outcome that the pod had meanwhile is settled
- with it the job runs once more elsewhere; the pod that was given up on changes nothing when its node is back
- a Node object that is deleted takes its pods along: their jobs are pending again, no attempt counted
- where no node will have a pod the queue quotes the scheduler at once

One loss for all of them: the queues run side by side, and their nodes are cut off at the same time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dev.cluster import Cluster, nodes
from dev.cluster.nodes import ExtraNode
from dev.images.catalogue import OPERATOR
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
from tests.e2e.lab.operator import installed
from tests.e2e.lab.playground import host_database
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.workplace import Workplace, opened

Json = dict[str, Any]
MakePlace = Callable[[], Workplace]

# Ends well, but only where nobody can see it.
UNSEEN = (
    AT_ONCE
    + """
import socket
def is_cut_off():
    try:
        socket.create_connection((os.environ["DJ_HOST"], int(os.environ["DJ_PORT"])), 10).close()
    except OSError:
        return True
while not is_cut_off():
    time.sleep(0.2)
"""
)
LOST = "node.kubernetes.io/unreachable"


@dataclass(frozen=True)
class Loss:
    """A queue with one job whose pod runs on a node that is going to be lost."""

    place: Workplace
    queue: Queue

    @property
    def executions(self) -> list[str]:
        """The pods that began the job, in that order."""
        return [pod for (pod,) in self.place.sql("SELECT pod FROM runs ORDER BY n")]

    def see_start(self) -> None:
        """Its job runs."""
        eventually("it runs", lambda: len(self.executions) == 1, queue=self.queue)

    def pod(self, name: str) -> Json:
        """The pod as the API server has it; empty when it has none."""
        return next((pod for pod in self.queue.pods() if pod["metadata"]["name"] == name), {})

    def row(self) -> tuple[Any, ...]:
        """Who settled the job, and how."""
        (row,) = self.place.sql("SELECT status, host, error_message FROM `~~spikes`")
        return row


@pytest.fixture(scope="module")
def served(small_cluster: Cluster) -> Iterator[str]:
    """A namespace of the small cluster with an operator of its own, on the node that stays."""
    name = f"lost-{secrets.token_hex(3)}"
    first = small_cluster.state.layout().node(1).name
    small_cluster.kubectl("create", "namespace", name)
    with installed(small_cluster, (name,), rf"nodeSelector.kubernetes\.io/hostname={first}"):
        yield name
    small_cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def make_place(small_cluster: Cluster, served: str) -> Iterator[MakePlace]:
    with host_database(small_cluster) as database, ExitStack() as stack:
        yield lambda: stack.enter_context(opened(small_cluster, database, served))


@contextmanager
def closed(cluster: Cluster, node: str) -> Iterator[None]:
    """No pod is scheduled to `node` meanwhile."""
    cluster.kubectl("cordon", node)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", node)


def begin(place: Workplace, code: str, *homes: str, **changes: Any) -> Loss:
    """A queue of one job that may run on `homes`, and leaves a node that does not answer after a second."""
    make_gated_tables(place, keys=1)
    template = place.template(code, image=OPERATOR)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(homes)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [here]}]}
    template["spec"] |= {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "tolerations": [{"key": LOST, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
    }
    spec = place.spec("__spikes", template, keepCompleted=True, **changes)
    spec["database"]["port"] = place.database.port
    return Loss(place, place.queue().apply(spec))


def test_scheduler_is_quoted(make_place: MakePlace) -> None:
    queue = begin(make_place(), AT_ONCE, "nowhere").queue
    eventually("told", lambda: queue.condition("Progressing").get("reason") == "Unschedulable", queue=queue)
    message = queue.condition("Ready")["message"]
    assert message.startswith("1 pod(s) cannot be scheduled yet: 0/")
    assert "node affinity" in message


def test_lost_nodes(small_cluster: Cluster, second_node: ExtraNode, make_place: MakePlace) -> None:
    first = small_cluster.state.layout().node(1).name
    gone = nodes.add(small_cluster)
    with closed(small_cluster, first):
        patient = begin(make_place(), UNSEEN, second_node.name)
        hasty = begin(make_place(), AT_THE_GATE, first, second_node.name, lostPodTimeoutSeconds=1)
        orphaned = begin(make_place(), AT_THE_GATE, first, gone.name)
        losses = (patient, hasty, orphaned)
        for loss in losses:
            loss.see_start()
    eventually("its result is there", lambda: populated(patient.place) == [1], queue=patient.queue)
    (kept,), (late,), (orphan,) = (loss.executions for loss in losses)
    second_node.cut()
    ExtraNode(small_cluster, gone).cut()
    try:
        _see_job_given_up(hasty, late, second_node)
        nodes.remove(small_cluster, gone.number)
        _see_waiting(patient, kept, second_node)
        _see_orphan_replaced(orphaned, orphan)
    finally:
        second_node.heal()
    _see_outcome_settled(patient, kept)
    assert len(hasty.executions) == 2
    assert hasty.row() == ("success", hasty.executions[1], "")
    assert is_at_rest(hasty.place, hasty.queue)
    assert hasty.queue.status()["recentErrors"] == []


def _see_job_given_up(loss: Loss, late: str, node: ExtraNode) -> None:
    eventually("run elsewhere", lambda: len(loss.executions) == 2, queue=loss.queue)
    second = loss.executions[1]
    assert second != late
    assert loss.pod(second)["spec"]["nodeName"] != node.name
    open_gate(loss.place)
    eventually("done elsewhere", lambda: jobs(loss.place) == {1: "success"}, queue=loss.queue)
    eventually("the late pod is let go", lambda: not loss.pod(late), queue=loss.queue)
    assert loss.row()[:2] == ("success", second)


def _see_waiting(loss: Loss, name: str, node: ExtraNode) -> None:
    def degraded() -> Json:
        return loss.queue.condition("Degraded")

    eventually("told", lambda: degraded().get("reason") == "PodsStuck", queue=loss.queue)
    assert f"{name} on node {node.name}" in degraded()["message"]
    pod = loss.pod(name)
    assert pod["metadata"]["deletionTimestamp"]
    assert pod["metadata"]["finalizers"]
    assert jobs(loss.place) == {1: "reserved"}
    assert loss.executions == [name]


def _see_orphan_replaced(loss: Loss, orphan: str) -> None:
    eventually("run elsewhere", lambda: len(loss.executions) == 2, queue=loss.queue)
    replacement = loss.pod(loss.executions[1])
    assert replacement["metadata"]["annotations"]["populate.datajoint.io/attempt"] == "1"
    eventually("let go", lambda: not loss.pod(orphan).get("metadata", {}).get("finalizers"))
    open_gate(loss.place)
    eventually("at rest", lambda: is_at_rest(loss.place, loss.queue), queue=loss.queue)
    assert (populated(loss.place), runs(loss.place)) == ([1], [1, 1])


def _see_outcome_settled(loss: Loss, name: str) -> None:
    eventually("settled", lambda: jobs(loss.place) == {1: "success"}, queue=loss.queue)
    eventually("let go", lambda: not loss.pod(name), queue=loss.queue)
    eventually("at rest", lambda: is_at_rest(loss.place, loss.queue), queue=loss.queue)
    assert loss.row()[:2] == ("success", name)
    assert loss.executions == [name]
    eventually("told", lambda: loss.queue.condition("Degraded")["status"] == "False", queue=loss.queue)
