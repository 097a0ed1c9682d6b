"""The CustomResourceDefinition on a real API server: what it accepts, fills in, keeps, shows and scales."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.console import SetupError
from populate_operator.queue.conditions import Health
from populate_operator.queue.progress import build_target
from populate_operator.queue.report import Facts, build_recent_error, build_status
from populate_operator.queue.resource import parse_spec
from populate_operator.queue.status import JobCounts, LastRefresh, QueueStatus, dump_status, parse_status
from tests.integration.manifests import COPY, COPY_GROUP, Api, copied, manifest
from tests.unit.queue.builders import make_pod, pending_pod

GOOD: dict[str, dict[str, Any]] = {
    "the smallest": {},
    "SQL name of a computed table": {"table": "__spike_sorting"},
    "SQL name of an imported table": {"table": "_recording"},
    "schema with every character": {"schema": "lab-1_ephys$2"},
    "query": {"keySource": {"query": "with x as (select 1)\nselect id from x"}},
    "class": {"keySource": {"fromClass": True}, "runner": {"class": "lab.ephys:Outer.SpikeSorting"}},
    "lowest priority": {"priority": 127},
    "highest priority": {"priority": -128},
    "no pods": {"parallelism": 0},
    "backoff at its cap": {"retry": {"limit": 3, "backoffSeconds": 360, "memoryFactor": 1.5}},
    "rules": {
        "failureRules": [
            {"exitCodes": [1, 255], "action": "Retry"},
            {"reasons": ["OOMKilled"], "action": "Ignore"},
        ]
    },
    "TLS with a CA": {"database": {"tls": {"mode": "VerifyIdentity", "caSecretName": "ca"}}},
    "IPv6": {"database": {"host": "fd00::1"}},
    "a rich template": {
        "template": {
            "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpu"}, "annotations": {"a/b": "c"}},
            "spec": {
                "restartPolicy": "Never",
                "initContainers": [{"name": "fetch", "image": "fetch:1", "restartPolicy": "Always"}],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "schedulingGates": [{"name": "lab/budget"}],
                "containers": [
                    {"name": "populate", "image": "ephys:1", "resources": {"limits": {"memory": "1Gi"}}}
                ],
            },
        }
    },
}


@pytest.fixture
def queue(unattended: Api) -> Iterator[dict[str, Any]]:
    """The queue `sorting` in the test's namespace."""
    yield unattended.create(copied(manifest()))
    unattended.kubectl("delete", COPY)


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_a_good_manifest_is_accepted_and_the_operator_reads_it(api: Api, changes: dict[str, Any]) -> None:
    created = api.create(manifest(**changes), dry_run=True)
    assert parse_spec(created["spec"]) == parse_spec(manifest(**changes)["spec"])


def test_a_template_is_kept_to_the_letter(api: Api) -> None:
    rich = manifest(**GOOD["a rich template"])
    assert api.create(rich, dry_run=True)["spec"]["template"] == rich["spec"]["template"]


def test_defaults_are_filled_in_where_everyone_sees_them(api: Api) -> None:
    spec = api.create(manifest(), dry_run=True)["spec"]
    assert spec["database"]["port"] == 3306
    assert spec["database"]["tls"] == {"mode": "Preferred", "caKey": "ca.crt"}
    assert spec["refresh"] == {"intervalSeconds": 60, "delaySeconds": 0, "staleTimeoutSeconds": 3600}
    assert spec["retry"] == {"limit": 0, "backoffSeconds": 10, "maxBackoffSeconds": 360}
    assert spec["podRetention"] == {"succeeded": 3, "failed": 20, "ttlSeconds": 86400}
    assert (spec["priority"], spec["parallelism"], spec["suspend"]) == (5, 10, False)
    assert "activeDeadlineSeconds" not in spec


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(("field", "value"), [("schema", "other"), ("table", "Other")])
def test_schema_and_table_cannot_be_changed(api: Api, field: str, value: str) -> None:
    with pytest.raises(
        SetupError, match=rf"spec\.{field}: .*{field} is immutable: make another PopulateQueue"
    ):
        api.patch({field: value})


@pytest.mark.usefixtures("queue")
def test_everything_else_can_be_changed(api: Api) -> None:
    changed = api.patch({"parallelism": 3, "database": {"host": "other"}, "suspend": True})["spec"]
    assert (changed["parallelism"], changed["database"]["host"], changed["suspend"]) == (3, "other", True)


@pytest.mark.usefixtures("queue")
def test_rules_hold_for_changes_too(api: Api) -> None:
    with pytest.raises(SetupError, match=r"spec\.retry\.backoffSeconds"):
        api.patch({"retry": {"maxBackoffSeconds": 5}})


def busy_status() -> QueueStatus:
    """A status with every field set, as the operator would write it."""
    now = datetime.now(UTC)
    facts = Facts(
        generation=1,
        health=Health(),
        pods=(make_pod("a"), make_pod("b"), pending_pod("c")),
        jobs=JobCounts(pending=12, scheduled=3, reserved=3, error=2, total=20),
        target=build_target(5000, 1234),
        last_refresh=LastRefresh(
            time=now - timedelta(hours=9), seconds=0.4, added=5, removed=0, orphaned=0, re_pended=0
        ),
        per_minute=118.0,
        recent_errors=(build_recent_error('{"id": 1}', "ValueError: bad voltage", "sorting-x", now),),
        selector="populate.datajoint.io/queue-uid=1",
    )
    return build_status(facts, QueueStatus(), now)


def report(api: Api, status: QueueStatus) -> dict[str, Any]:
    """Write a status and read it back."""
    patch = json.dumps({"status": dump_status(status)})
    written: dict[str, Any] = json.loads(
        api.kubectl("patch", COPY, "--subresource=status", "--type=merge", "-o", "json", "-p", patch)
    )
    return written


@pytest.mark.usefixtures("queue")
def test_a_status_survives_the_api_server_unchanged(api: Api) -> None:
    status = busy_status()
    assert parse_status(report(api, status)["status"]) == status
    assert parse_status(report(api, QueueStatus())["status"]) == QueueStatus()


@pytest.mark.usefixtures("queue")
def test_columns_tell_how_it_goes(api: Api) -> None:
    report(api, busy_status())
    head, row = api.kubectl("get", COPY).splitlines()
    assert head.split() == ["NAME", "TABLE", "PENDING", "RUNNING", "ERRORS", "DONE", "READY", "AGE"]
    assert row.split()[:-1] == ["sorting", "SpikeSorting", "12", "2", "2", "1234/5000", "True"]
    head, row = api.kubectl("get", COPY, "-o", "wide").splitlines()
    assert head.split()[-4:] == ["RATE", "ETA", "REFRESHED", "MESSAGE"]
    assert row.split()[-4:] == ["120/min", "9s", "9h", "populating"]


def test_it_has_a_short_name_and_is_listed_among_all(api: Api) -> None:
    resources = api.kubectl(
        "api-resources", "--api-group=populate.datajoint.io", "--output=wide", "--no-headers"
    )
    (line,) = resources.splitlines()
    assert line.split()[:2] == ["populatequeues", "pq"]
    assert line.split()[-1] == "all"


@pytest.mark.usefixtures("queue")
def test_ready_can_be_waited_for(api: Api) -> None:
    report(api, busy_status())
    assert "condition met" in api.kubectl("wait", "--for=condition=Ready", COPY, "--timeout=10s")


@pytest.mark.usefixtures("queue")
def test_scale_is_parallelism(api: Api) -> None:
    api.kubectl("scale", COPY, "--replicas=20")
    assert api.kubectl("get", COPY, "-o", "jsonpath={.spec.parallelism}") == "20"
    report(api, busy_status())
    path = f"/apis/{COPY_GROUP}/v1alpha1/namespaces/{api.namespace}/populatequeues/sorting/scale"
    scale = json.loads(api.kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 20}
    assert scale["status"] == {"replicas": 3, "selector": "populate.datajoint.io/queue-uid=1"}


@pytest.mark.usefixtures("queue")
def test_status_is_a_subresource_that_users_of_the_spec_do_not_touch(api: Api) -> None:
    api.kubectl("patch", COPY, "--type=merge", "-p", json.dumps({"status": {"rate": "1/min"}}))
    assert api.kubectl("get", COPY, "-o", "jsonpath={.status}") == ""


def test_every_field_is_explained(api: Api) -> None:
    explained = api.kubectl("explain", "pq.spec.retry", "--recursive")
    for field in ("limit", "backoffSeconds", "maxBackoffSeconds", "memoryFactor"):
        assert field in explained
