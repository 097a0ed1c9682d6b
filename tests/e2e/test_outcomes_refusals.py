"""Pods that cannot start, or that the API server refuses: no job is burned, the queue says why, and recovers.

- an image that cannot be pulled, or is not there with imagePullPolicy Never
- a Secret that the template names and nobody made
- no node to run on, until startDeadlineSeconds
- Pod Security forbids the template; the template has a field that does not exist
- a ResourceQuota is used up
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.e2e.lab.queues import Json, Queue, eventually
from tests.e2e.lab.tables import CONNECT, INSERT_ROW, make_tables
from tests.e2e.lab.workplace import Workplace

KEYS = 3
ONE_RUNS = ["pending", "pending", "reserved"]


def unschedulable(template: Json) -> None:
    template["spec"]["nodeSelector"] = {"populate.test/node": "none"}


def in_container(**fields: object) -> Callable[[Json], None]:
    """Change the template's container."""
    return lambda template: template["spec"]["containers"][0].update(fields)


def in_pod(**fields: object) -> Callable[[Json], None]:
    """Change the template's pod."""
    return lambda template: template["spec"].update(fields)


@dataclass(frozen=True)
class Fault:
    """What breaks a template, the reason of the queue's conditions, and what their message names."""

    put: Callable[[Json], None]
    reason: str
    told: tuple[str, ...]


NO_SECRET = {"name": "LICENCE", "valueFrom": {"secretKeyRef": {"name": "licence", "key": "text"}}}
FAULTS = {
    "image that cannot be pulled": Fault(
        in_container(image="localhost:1/absent:1"), "ImagePullBackOff", ("localhost:1/absent:1",)
    ),
    "image that is never pulled": Fault(
        in_container(image="localhost/populate/absent:dev", imagePullPolicy="Never"),
        "ErrImageNeverPull",
        ("localhost/populate/absent:dev",),
    ),
    "no such Secret": Fault(
        in_container(env=[NO_SECRET]), "CreateContainerConfigError", ('"licence"', "spec.template")
    ),
    "no node": Fault(
        unschedulable, "StartDeadlineExceeded", ("startDeadlineSeconds", "Unschedulable", "node")
    ),
    "host network": Fault(
        in_pod(hostNetwork=True), "TemplateRejected", ("spec.template", "PodSecurity", "hostNetwork=true")
    ),
    "unknown field": Fault(
        in_container(comand=["true"]), "TemplateRejected", ("spec.template", 'unknown field "', "comand")
    ),
}


@dataclass(frozen=True)
class Broken:
    """A queue whose template has a fault."""

    place: Workplace
    queue: Queue


@pytest.fixture(scope="module")
def broken(make_lasting_workplace: Callable[[str], Workplace], watched: tuple[str, str]) -> dict[str, Broken]:
    """A queue for each fault; they fail side by side."""
    queues = {}
    for name, fault in FAULTS.items():
        place = make_lasting_workplace(watched[0])
        make_tables(place, keys=KEYS)
        template = place.template(INSERT_ROW)
        fault.put(template)
        spec = place.spec("Spikes", template, startDeadlineSeconds=5 if fault.put is unschedulable else 600)
        queues[name] = Broken(place, place.queue().apply(spec))
    return queues


@pytest.mark.parametrize("name", FAULTS)
def test_queue_backs_off_and_recovers_when_the_template_is_mended(
    broken: dict[str, Broken], name: str
) -> None:
    place, queue, fault = broken[name].place, broken[name].queue, FAULTS[name]
    eventually("told", lambda: is_told(queue.condition("Degraded"), fault), queue=queue)
    eventually("not ready", lambda: is_told(queue.condition("Ready"), fault), queue=queue)
    assert queue.condition("Ready")["status"] == "False"
    if fault.reason != "TemplateRejected":
        eventually("event", lambda: fault.reason in queue.events().get("PodCannotStart", ""), queue=queue)
    eventually("released", lambda: states(place) == [("pending", 0, "")] * KEYS, queue=queue)

    # A pod of the old template that was begun just before has its time to start first.
    queue.apply(place.spec("Spikes", place.template(INSERT_ROW), startDeadlineSeconds=30))
    eventually("populated", lambda: populated(place) == KEYS, queue=queue)
    eventually("ready", lambda: queue.condition("Ready").get("reason") == "UpToDate", queue=queue)
    assert queue.condition("Degraded")["status"] == "False"


def is_told(condition: Json, fault: Fault) -> bool:
    """Whether it names the fault: the kubelet's first word may be another one."""
    message = condition.get("message", "")
    return condition.get("reason") == fault.reason and all(part in message for part in fault.told)


def states(place: Workplace) -> list[tuple[str, int, str]]:
    """Status, attempts and error of every job."""
    return place.sql("SELECT status, pid, error_message FROM `~~spikes`")


def populated(place: Workplace) -> int:
    return int(place.sql("SELECT COUNT(*) FROM __spikes")[0][0])


UNTIL_OPEN = CONNECT + "while not execute('SELECT 1 FROM opened'): time.sleep(0.2)\ninsert()\n"


def test_a_quota_that_is_used_up_is_told_of_until_it_is_raised(
    make_workplace: Callable[[str], Workplace], watched: tuple[str, str]
) -> None:
    place = make_workplace(watched[1])
    make_tables(place, keys=KEYS)
    place.sql("CREATE TABLE opened (one int PRIMARY KEY)")
    set_quota(place, pods=1)
    queue = place.queue().apply(place.spec("Spikes", place.template(UNTIL_OPEN)))
    eventually("told", lambda: queue.condition("Degraded").get("reason") == "QuotaExceeded", queue=queue)
    told = queue.condition("Ready")
    assert told["reason"] == "QuotaExceeded"
    assert "exceeded quota: e2e, requested: pods=1, used: pods=1, limited: pods=1" in told["message"]
    eventually("one runs", lambda: sorted(state for state, *_ in states(place)) == ONE_RUNS, queue=queue)
    assert len(queue.pods()) == 1

    set_quota(place, pods=10)
    place.sql("INSERT INTO opened VALUES (1)")
    # The pause of that moment runs to its end: nothing tells the operator of a quota.
    eventually("populated", lambda: populated(place) == KEYS, queue=queue)
    eventually("ready", lambda: queue.condition("Ready").get("reason") == "UpToDate", queue=queue)


def set_quota(place: Workplace, *, pods: int) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "e2e", "namespace": place.namespace},
        "spec": {"hard": {"pods": str(pods)}},
    }
    place.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    limit = f"--for=jsonpath={{.status.hard.pods}}={pods}"  # until then it limits nothing
    place.cluster.kubectl("wait", limit, "resourcequota/e2e", "-n", place.namespace, "--timeout=30s")
