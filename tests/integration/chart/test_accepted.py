"""Every rendered object is taken by the real API server, in a namespace under Pod Security "restricted"."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dev.chart import CHART
from dev.cluster import tools
from dev.console import SetupError
from tests.integration.chart.rendered import EVERYTHING, Json, Manifests
from tests.integration.manifests import Api

OF_PROMETHEUS = {"ServiceMonitor", "PrometheusRule"}  # this API server does not know them
OWN = "the namespace of the release"
CASES: dict[str, tuple[Json, set[str]]] = {
    "cluster-wide": ({}, {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}),
    "namespaced": ({"watchNamespaces": [OWN], "crds": {"install": False}}, {"Role", "RoleBinding"}),
    "everything, cluster-wide": (EVERYTHING, {"NetworkPolicy", "PodDisruptionBudget", "ClusterRole"}),
    "everything, namespaced": (EVERYTHING | {"watchNamespaces": [OWN]}, {"NetworkPolicy", "Role"}),
    "OpenShift": ({"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}, {"Deployment"}),
}


@pytest.fixture(scope="module")
def restricted(api: Api) -> Api:
    """A namespace that takes no other pods; the account of the one for `helm test` is there."""
    api.kubectl("create", "serviceaccount", "populate-operator-test")
    for mode in ("enforce", "warn"):
        api.kubectl("label", "namespace", api.namespace, f"pod-security.kubernetes.io/{mode}=restricted")
    return api


def rendered(api: Api, values: Mapping[str, Any]) -> Manifests:
    """The release in the test's namespace; OWN stands for it."""
    told = json.loads(json.dumps(values).replace(OWN, api.namespace))
    return Manifests.of(told, "--namespace", api.namespace)


def dry_run(api: Api, documents: Iterable[Json]) -> list[Json]:
    """The objects as the server would store them; raises SetupError for a refusal, and for a warning."""
    items = [document for document in documents if document["kind"] not in OF_PROMETHEUS]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    options = ["--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors"]
    answer = json.loads(api.kubectl("apply", *options, "-o", "json", "-f", "-", input=manifest))
    stored: list[Json] = answer.get("items", [answer])
    assert len(stored) == len(items)
    return stored


@pytest.mark.parametrize(("values", "kinds"), CASES.values(), ids=CASES.keys())
def test_manifests_are_accepted(restricted: Api, values: Json, kinds: set[str]) -> None:
    documents = rendered(restricted, values).documents
    accepted = {document["kind"] for document in dry_run(restricted, documents)}
    assert kinds <= accepted
    if "watchNamespaces" in values:
        assert not {kind for kind in accepted if kind.startswith("ClusterRole")}


def test_a_pod_that_is_not_restricted_would_be_noticed(restricted: Api) -> None:
    values = {"securityContext": {"allowPrivilegeEscalation": True}}
    deployment = rendered(restricted, values).one("Deployment")
    with pytest.raises(SetupError, match="would violate PodSecurity"):
        dry_run(restricted, [deployment])


def test_a_field_that_kubernetes_does_not_know_would_be_noticed(restricted: Api) -> None:
    deployment = rendered(restricted, {}).one("Deployment")
    deployment["spec"]["template"]["spec"]["priority_class_name"] = "high"
    with pytest.raises(SetupError, match='unknown field "priority_class_name"'):
        dry_run(restricted, [deployment])


def test_helm_finds_nothing_to_complain_about() -> None:
    linted = subprocess.run(
        [tools.binary("helm"), "lint", "--strict", CHART], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
