"""Pods that the cluster or a person ended: the job is pending again, counts no attempt, and runs again.

- deleted while it runs: as it is, with a program that ends on SIGTERM with exit 0, and by force
- deleted before it was bound to a node
- evicted through the eviction API
- preempted by a pod of a higher priority
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster
from tests.e2e.lab.queues import Json, Queue, eventually
from tests.e2e.lab.tables import CONNECT, make_tables
from tests.e2e.lab.workplace import Workplace

# Each job's first pod works for ever, the next one makes the row.
FIRST_ENDLESS = (
    CONNECT
    + """
import signal
if key["session"] == 2:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
values = key["session"], os.environ["POPULATE_POD"], os.environ["POPULATE_ATTEMPT"]
execute("INSERT INTO tried (session, pod, attempt) VALUES (%s, %s, %s)", *values)
(tries,), = execute("SELECT COUNT(*) FROM tried WHERE session = %s", key["session"])
insert() if tries > 1 else time.sleep(600)
"""
)


def begin(place: Workplace, template: Json, *, keys: int) -> Queue:
    """A queue without retries: whatever counts as an attempt ends in an error."""
    make_tables(place, keys=keys)
    place.sql(
        "CREATE TABLE tried (id int AUTO_INCREMENT PRIMARY KEY, session int, pod varchar(64), attempt int)"
    )
    return place.queue().apply(place.spec("Spikes", template, keepCompleted=True))


def pods_at_work(place: Workplace, queue: Queue, *, keys: int) -> dict[int, str]:
    """The pod of each session, once all of them work."""
    eventually("all pods work", lambda: len(place.sql("SELECT session FROM tried")) == keys, queue=queue)
    return dict(place.sql("SELECT session, pod FROM tried"))


def attempts(place: Workplace) -> dict[int, list[int]]:
    """POPULATE_ATTEMPT of each session's pods."""
    found: dict[int, list[int]] = {}
    for session, attempt in place.sql("SELECT session, attempt FROM tried ORDER BY id"):
        found.setdefault(session, []).append(attempt)
    return found


def evict(queue: Queue, pod: str) -> None:
    """Evict as `kubectl drain` does."""
    path = f"/api/v1/namespaces/{queue.namespace}/pods/{pod}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    queue.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(body))


def test_disrupted_jobs_run_again_and_count_no_attempt(workplace: Workplace) -> None:
    queue = begin(workplace, workplace.template(FIRST_ENDLESS), keys=4)
    pods = pods_at_work(workplace, queue, keys=4)
    for session in (1, 2):
        queue.kubectl("delete", "pod", pods[session], "--wait=false")
    queue.kubectl("delete", "pod", pods[3], "--wait=false", "--force", "--grace-period=0")
    evict(queue, pods[4])
    rows = "SELECT COUNT(*) FROM __spikes"
    eventually("every job is done", lambda: workplace.sql(rows) == [(4,)], queue=queue)
    eventually("settled", lambda: queue.status()["jobs"]["success"] == 4, queue=queue)
    assert attempts(workplace) == {session: [1, 1] for session in (1, 2, 3, 4)}
    events = queue.events()
    assert "JobFailed" not in events
    assert "JobRetried" not in events
    assert "EvictionByEvictionAPI" in events["PodDisrupted"] or "Deleted" in events["PodDisrupted"]


def test_a_pod_deleted_before_it_started_is_made_again(workplace: Workplace) -> None:
    make_tables(workplace, keys=1)
    template = workplace.template("insert()")
    template["spec"]["nodeSelector"] = {"populate.test/node": "none"}
    queue = workplace.queue().apply(workplace.spec("Spikes", template))
    eventually("its pod waits", lambda: len(queue.pods()) == 1, queue=queue)
    (first,) = (pod["metadata"]["name"] for pod in queue.pods())
    queue.kubectl("delete", "pod", first, "--timeout=30s")
    eventually("another waits", lambda: {first} != {pod["metadata"]["name"] for pod in queue.pods()} != set())
    eventually("at work", lambda: queue.condition("Ready").get("reason") == "Populating", queue=queue)
    assert workplace.job("Spikes", session=1).attempt == 1


@pytest.fixture
def slot(cluster: Cluster) -> Iterator[str]:
    """An extended resource of which one node has one: who has it can be preempted, nobody else."""
    name = f"populate.test/slot-{secrets.token_hex(3)}"
    pointer = name.replace("/", "~1")
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    node = next(one["metadata"]["name"] for one in nodes if not one["spec"].get("taints"))

    def patch(**change: str) -> None:
        changes = [{**change, "path": f"/status/{what}/{pointer}"} for what in ("capacity", "allocatable")]
        patch = f"--patch={json.dumps(changes)}"
        cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", patch)

    patch(op="add", value="1")
    yield name
    patch(op="remove")


@pytest.fixture
def urgent(cluster: Cluster) -> Iterator[str]:
    """A priority class that preempts."""
    name = f"urgent-{secrets.token_hex(3)}"
    cluster.kubectl("create", "priorityclass", name, "--value=1000")
    yield name
    cluster.kubectl("delete", "priorityclass", name)


def test_a_preempted_job_runs_again_when_there_is_room(workplace: Workplace, slot: str, urgent: str) -> None:
    demand = {"requests": {slot: "1"}, "limits": {slot: "1"}}
    queue = begin(workplace, workplace.template(FIRST_ENDLESS, resources=demand), keys=1)
    pods_at_work(workplace, queue, keys=1)
    other = workplace.template("print('urgent')", resources=demand)["spec"]
    other |= {"priorityClassName": urgent, "restartPolicy": "Never"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": urgent}, "spec": other}
    queue.cluster.kubectl("apply", "-n", queue.namespace, "-f", "-", input=json.dumps(manifest))
    rows = "SELECT COUNT(*) FROM __spikes"
    eventually("the job is done", lambda: workplace.sql(rows) == [(1,)], queue=queue)
    eventually("settled", lambda: queue.status()["jobs"]["success"] == 1, queue=queue)
    assert attempts(workplace) == {1: [1, 1]}
    assert "PreemptionByScheduler: default-scheduler: preempting" in queue.events()["PodDisrupted"]
