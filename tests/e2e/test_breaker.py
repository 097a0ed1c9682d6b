"""The API server refuses pods: jobs stay pending, the queue says why, asks ever less, and recovers by itself.

- an admission policy forbids them; an admission webhook does not answer
- a storm of 429 for creations, each with a word when to come again
- there is no such ServiceAccount
- a LimitRange allows no pod as large as the template; to the other queues' pods it gives a limit
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.console import SetupError
from tests.e2e.lab.outage import Case, Lab, outage_lab
from tests.e2e.lab.queues import eventually
from tests.e2e.lab.tables import INSERT_ROW, make_tables
from tests.e2e.lab.webhook import ALLOWED, Verdict, Webhook, webhook

Json = dict[str, Any]
KEYS = 3
PARALLELISM = 2
TRIES = 6  # of one request, when the API server does not answer or says 429


@dataclass(frozen=True)
class Trouble:
    """What stands in the way of a queue's pods, and what the queue says of it."""

    reason: str
    told: tuple[str, ...]
    in_pod: Json
    object: Callable[[str, Case], Json] | None = None  # made before, removed as the remedy
    remedy: Callable[[Case], Json] | None = None  # an object that is made as the remedy
    verdict: Verdict | None = None  # of the webhook until then
    resources: Json = field(default_factory=lambda: {"requests": {"memory": "32Mi"}})  # of the container


def pods_of(case: Case) -> Json:
    return {"matchLabels": {"populate.datajoint.io/queue": case.queue.name}}


def policy(name: str, case: Case) -> Json:
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    namespaces = {"matchLabels": {"kubernetes.io/metadata.name": case.place.namespace}}
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule], "objectSelector": pods_of(case)},
            "validations": [{"expression": "false", "message": "no pods on Sundays"}],
        },
    }
    spec = {"policyName": name, "validationActions": ["Deny"]}
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {**spec, "matchResources": {"namespaceSelector": namespaces}},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}


def limit_range(name: str, case: Case) -> Json:
    limit = {"type": "Container", "max": {"memory": "128Mi"}}
    metadata = {"name": name, "namespace": case.place.namespace}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [limit]}}


def service_account(case: Case) -> Json:
    metadata = {"name": "robot", "namespace": case.place.namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def no_answer(request: Json) -> None:
    return None


def storm(request: Json) -> Json:
    """Dry runs pass: what is meant is the creation of many pods."""
    if request.get("dryRun"):
        return ALLOWED
    details = {"retryAfterSeconds": 1}
    status = {"code": 429, "reason": "TooManyRequests", "message": "slow down", "details": details}
    return {"allowed": False, "status": status}


TROUBLES = {
    "policy": Trouble("TemplateRejected", ("no pods on Sundays",), {}, object=policy),
    "webhook": Trouble("TemplateRejected", ("failed calling webhook",), {}, verdict=no_answer),
    "storm": Trouble("ApiOverloaded", ("slow down", "tried again"), {}, verdict=storm),
    "account": Trouble(
        "TemplateRejected", ('serviceaccount "robot" not found',), {"serviceAccountName": "robot"},
        remedy=service_account,
    ),
    "limit": Trouble(
        "TemplateRejected", ("equal to memory limit of 128Mi", "LimitRange of the namespace"), {},
        object=limit_range, resources={"requests": {"memory": "200Mi"}},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with outage_lab(cluster, "breaker", tmp_path_factory.mktemp("breaker")) as lab:
        yield lab


@pytest.fixture(scope="module")
def hook(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with webhook(lab.api.address, tmp_path_factory.mktemp("webhook")) as hook:
        yield hook


@pytest.fixture(scope="module")
def troubled(lab: Lab, hook: Webhook) -> Iterator[dict[str, Case]]:
    """A queue for each trouble, side by side."""
    cases = {name: lab.case() for name in TROUBLES}
    with ExitStack() as stack:
        for name, case in cases.items():
            for one in obstacles(name, case, hook):
                text = json.dumps(one)
                stack.callback(lab.cluster.kubectl, "delete", "--ignore-not-found", "-f", "-", input=text)
                lab.cluster.kubectl("apply", "-f", "-", input=text)
                eventually("it is in force", partial(is_in_force, lab, hook, name, case))
            hook.asked.clear()
        for name, case in cases.items():
            apply(case, TROUBLES[name])
        yield cases


def obstacles(name: str, case: Case, hook: Webhook) -> Iterator[Json]:
    trouble, unique = TROUBLES[name], f"{case.place.namespace}-{name}"
    if trouble.object:
        yield trouble.object(unique, case)
    if trouble.verdict:
        hook.verdicts[f"/{name}"] = trouble.verdict
        yield hook.manifest(unique, f"/{name}", pods_of(case), case.place.namespace)


def is_in_force(lab: Lab, hook: Webhook, name: str, case: Case) -> bool:
    """Whether the API server heeds it already: it learns of policies and webhooks a little later."""
    try:
        is_let_in(lab, name, case)
    except SetupError as error:
        return TROUBLES[name].told[0] in str(error)
    return hook.asked[f"/{name}"] > 0


def is_let_in(lab: Lab, name: str, case: Case) -> bool:
    """Ask the API server for a pod like the queue's, without making it. Raises SetupError on refusal."""
    container = {"name": "probe", "image": "registry.invalid/none", "resources": TROUBLES[name].resources}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "probe",
            "namespace": case.place.namespace,
            "labels": pods_of(case)["matchLabels"],
        },
        "spec": {"containers": [container]},
    }
    lab.cluster.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod))
    return True


def apply(case: Case, trouble: Trouble) -> None:
    make_tables(case.place, keys=KEYS)
    template = case.place.template(INSERT_ROW)
    template["spec"].update(trouble.in_pod)
    template["spec"]["containers"][0]["resources"] = trouble.resources
    spec = case.place.spec("Spikes", template, parallelism=PARALLELISM)
    spec["database"] |= {"host": case.way.address, "port": case.way.port}
    case.queue.apply(spec)


@pytest.mark.parametrize("name", TROUBLES)
def test_refused_pods_burn_no_job_and_are_asked_for_ever_less(
    lab: Lab, hook: Webhook, troubled: dict[str, Case], name: str
) -> None:
    case, trouble = troubled[name], TROUBLES[name]
    queue = case.queue
    event = "PodCannotStart" if trouble.reason == "ApiOverloaded" else trouble.reason
    eventually("told", lambda: queue.condition("Degraded").get("reason") == trouble.reason, queue=queue)
    # Until the jobs were counted for the first time it is Starting.
    eventually("not ready", lambda: queue.condition("Ready").get("reason") == trouble.reason, queue=queue)
    told = queue.condition("Ready")
    assert (told["status"], told["reason"]) == ("False", trouble.reason)
    assert [word for word in trouble.told if word not in told["message"]] == []
    # After the first pause it is tried again by itself, and that is told by the event that there is.
    eventually("again", lambda: sum(case.event_counts(event)) > 1, queue=queue)
    assert len(case.event_counts(event)) == 1
    eventually("pending", partial(are_pending, case), queue=queue)
    assert hook.asked[f"/{name}"] <= TRIES * (PARALLELISM + case.event_counts(event)[0])
    assert queue.pods() == []

    for obstacle in obstacles(name, case, hook):
        lab.cluster.kubectl("delete", "-f", "-", input=json.dumps(obstacle))
    if trouble.remedy:
        lab.cluster.kubectl("apply", "-f", "-", input=json.dumps(trouble.remedy(case)))
    eventually("let in again", partial(is_let_in, lab, name, case))
    if name != "policy":  # that one waits for the end of its pause; any change of the spec ends a pause
        queue.patch(startDeadlineSeconds=599)
    eventually("populated", lambda: populated(case) == KEYS, queue=queue)
    eventually("ready", lambda: queue.condition("Ready").get("reason") == "UpToDate", queue=queue)
    assert queue.condition("Degraded")["status"] == "False"


def are_pending(case: Case) -> bool:
    return case.jobs() == dict.fromkeys(range(1, KEYS + 1), ("pending", ""))


def populated(case: Case) -> int:
    return int(case.place.sql("SELECT COUNT(*) FROM __spikes")[0][0])
