"""What each value does to the manifests, as Helm renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from populate_operator import __version__
from populate_operator.settings import parse_settings
from tests.integration.chart.rendered import EVERYTHING, Manifests

POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"
DIGEST = EVERYTHING["image"]["digest"]
SELECTOR = {
    "app.kubernetes.io/name": "populate-operator",
    "app.kubernetes.io/instance": "populate-operator",
}
SPREAD = EVERYTHING["topologySpreadConstraints"]

Case = tuple[dict[str, Any], str, str, Any]  # values, kind, path, what is there
CASES: dict[str, Case] = {
    "image is of the chart's version": (
        {}, "Deployment", f"{CONTAINER}.image", f"ghcr.io/populate-operator/populate-operator:{__version__}",
    ),
    "image tag": (
        {"image": {"repository": "lab/op", "tag": "dev"}}, "Deployment", f"{CONTAINER}.image", "lab/op:dev",
    ),
    "image digest takes the place of a tag": (
        {"image": {"repository": "lab/op", "tag": "dev", "digest": DIGEST}},
        "Deployment", f"{CONTAINER}.image", f"lab/op@{DIGEST}",
    ),
    "image pull policy": (
        {"image": {"pullPolicy": "Always"}}, "Deployment", f"{CONTAINER}.imagePullPolicy", "Always",
    ),
    "image pull secrets": (
        EVERYTHING, "Deployment", f"{POD}.imagePullSecrets", [{"name": "registry"}],
    ),
    "name is the release's": ({}, "Deployment", "metadata.name", "populate-operator"),
    "full name": ({"fullnameOverride": "lab"}, "Deployment", "metadata.name", "lab"),
    "full name of the account": ({"fullnameOverride": "lab"}, "ServiceAccount", "metadata.name", "lab"),
    "name in labels": (
        {"nameOverride": "lab"}, "Service", "spec.selector", SELECTOR | {"app.kubernetes.io/name": "lab"},
    ),
    "replicas": ({"replicas": 3}, "Deployment", "spec.replicas", 3),
    "one replica is replaced after its successor is ready": (
        {}, "Deployment", "spec.strategy.rollingUpdate", {"maxSurge": 1, "maxUnavailable": 0},
    ),
    "of several, one goes first": (
        {"replicas": 2}, "Deployment", "spec.strategy.rollingUpdate", {"maxSurge": 1, "maxUnavailable": 1},
    ),
    "own strategy": (
        {"strategy": {"type": "Recreate"}}, "Deployment", "spec.strategy", {"type": "Recreate"},
    ),
    "selector": ({}, "Deployment", "spec.selector.matchLabels", SELECTOR),
    "service selects the same": ({}, "Service", "spec.selector", SELECTOR),
    "resources of one's own": (
        {"resources": {"limits": {"memory": "1Gi"}}},
        "Deployment", f"{CONTAINER}.resources.limits.memory", "1Gi",
    ),
    "account of one's own": (
        {"serviceAccount": {"create": False, "name": "mine"}},
        "Deployment", f"{POD}.serviceAccountName", "mine",
    ),
    "account's annotations": (
        EVERYTHING, "ServiceAccount", "metadata.annotations", {"cloud.example/role": "populate"},
    ),
    "account gives its token to pods that ask": (
        {}, "ServiceAccount", "automountServiceAccountToken", False,
    ),
    "operator asks": ({}, "Deployment", f"{POD}.automountServiceAccountToken", True),
    "pod label": (EVERYTHING, "Deployment", "spec.template.metadata.labels.team", "lab"),
    "pod annotation": (EVERYTHING, "Deployment", "spec.template.metadata.annotations", {"note": "1"}),
    "ids are left to OpenShift": (
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}},
        "Deployment", f"{POD}.securityContext",
        {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    ),
    "node selector": (EVERYTHING, "Deployment", f"{POD}.nodeSelector", EVERYTHING["nodeSelector"]),
    "tolerations": (EVERYTHING, "Deployment", f"{POD}.tolerations", EVERYTHING["tolerations"]),
    "affinity": (EVERYTHING, "Deployment", f"{POD}.affinity", EVERYTHING["affinity"]),
    "spread of one's own": (EVERYTHING, "Deployment", f"{POD}.topologySpreadConstraints", SPREAD),
    "spread over nodes": (
        {"replicas": 2},
        "Deployment", f"{POD}.topologySpreadConstraints.0.topologyKey", "kubernetes.io/hostname",
    ),
    "one replica has nothing to spread": ({}, "Deployment", f"{POD}.topologySpreadConstraints", None),
    "priority class": (EVERYTHING, "Deployment", f"{POD}.priorityClassName", "system-cluster-critical"),
    "grace": (
        {"terminationGracePeriodSeconds": 60}, "Deployment", f"{POD}.terminationGracePeriodSeconds", 60,
    ),
    "liveness": (
        {"livenessProbe": {"failureThreshold": 9}}, "Deployment", f"{CONTAINER}.livenessProbe",
        {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 10, "failureThreshold": 9},
    ),
    "readiness": (
        {"readinessProbe": {"timeoutSeconds": 3}}, "Deployment", f"{CONTAINER}.readinessProbe",
        {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5, "timeoutSeconds": 3},
    ),
    "volume": (EVERYTHING, "Deployment", f"{POD}.volumes", EVERYTHING["extraVolumes"]),
    "volume mount": (EVERYTHING, "Deployment", f"{CONTAINER}.volumeMounts", EVERYTHING["extraVolumeMounts"]),
    "service port": ({"service": {"port": 80}}, "Service", "spec.ports.0.port", 80),
    "service annotation": (
        EVERYTHING, "Service", "metadata.annotations", {"prometheus.io/scrape": "true"},
    ),
    "disruption budget": (
        {"replicas": 2, "podDisruptionBudget": {"maxUnavailable": "50%"}},
        "PodDisruptionBudget", "spec.maxUnavailable", "50%",
    ),
    "disruption budget is of the operator's pods": (
        {"replicas": 2}, "PodDisruptionBudget", "spec.selector.matchLabels", SELECTOR,
    ),
    "CRD outlives the release": (
        {}, "CustomResourceDefinition", "metadata.annotations", {"helm.sh/resource-policy": "keep"},
    ),
    "network policy is of the operator's pods": (
        EVERYTHING, "NetworkPolicy", "spec.podSelector.matchLabels", SELECTOR,
    ),
    "network policy lets scrapers in": (
        EVERYTHING, "NetworkPolicy", "spec.ingress",
        [{"ports": [{"port": "http"}], "from": EVERYTHING["networkPolicy"]["ingressFrom"]}],
    ),
    "network policy lets the operator ask for names": (
        EVERYTHING, "NetworkPolicy", "spec.egress.0",
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
    ),
    "network policy lets it reach the API server": (
        EVERYTHING, "NetworkPolicy", "spec.egress.1",
        {"ports": [{"port": 443}, {"port": 6443}], "to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}]},
    ),
    "network policy lets it reach databases": (
        EVERYTHING, "NetworkPolicy", "spec.egress.2",
        {"ports": [{"port": 3306}, {"port": 3307}], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
    ),
    "network policy lets it reach what else": (
        EVERYTHING, "NetworkPolicy", "spec.egress.3", {"ports": [{"port": 8080}]},
    ),
    "network policy is for both ways": (
        EVERYTHING, "NetworkPolicy", "spec.policyTypes", ["Ingress", "Egress"],
    ),
}  # fmt: skip

ABSENT: dict[str, tuple[dict[str, Any], str]] = {
    "no CRD where others install it": ({"crds": {"install": False}}, "CustomResourceDefinition"),
    "no account where there is one": ({"serviceAccount": {"create": False, "name": "a"}}, "ServiceAccount"),
    "no budget for one replica": ({}, "PodDisruptionBudget"),
    "no budget": ({"replicas": 2, "podDisruptionBudget": {"enabled": False}}, "PodDisruptionBudget"),
    "no monitor unless asked for": ({}, "ServiceMonitor"),
    "no alerts unless asked for": ({}, "PrometheusRule"),
    "no network policy unless asked for": ({}, "NetworkPolicy"),
    "no ClusterRole for listed namespaces": ({"watchNamespaces": ["a"]}, "ClusterRole"),
    "no ClusterRoleBinding for listed namespaces": ({"watchNamespaces": ["a"]}, "ClusterRoleBinding"),
}


@pytest.mark.parametrize(("values", "kind", "path", "expected"), CASES.values(), ids=CASES.keys())
def test_value_is_where_it_belongs(values: dict[str, Any], kind: str, path: str, expected: object) -> None:
    assert Manifests.of(values).at(kind, path) == expected


@pytest.mark.parametrize(("values", "kind"), ABSENT.values(), ids=ABSENT.keys())
def test_object_is_left_out(values: dict[str, Any], kind: str) -> None:
    assert Manifests.of(values).all(kind) == []


def environment(values: dict[str, Any]) -> dict[str, Any]:
    return {
        each["name"]: each.get("value") for each in Manifests.of(values).at("Deployment", f"{CONTAINER}.env")
    }


def test_operator_reads_its_settings_from_the_environment() -> None:
    values = {
        "watchNamespaces": ["a", "b"],
        "logging": {"level": "debug", "format": "console"},
        "concurrency": {"database": 4, "api": 8},
    }
    settings = parse_settings([], environment(values))
    assert settings.namespaces == ("a", "b")
    assert (settings.log_level, settings.log_format) == ("debug", "console")
    assert (settings.database_threads, settings.api_concurrency) == (4, 8)
    assert settings.health_port == Manifests.of(values).at("Deployment", f"{CONTAINER}.ports.0.containerPort")


def test_more_environment_comes_beside_it() -> None:
    assert environment({}).keys() | {"HTTPS_PROXY", "FROM"} == environment(EVERYTHING).keys()


def test_listed_namespaces_have_a_role_each() -> None:
    manifests = Manifests.of({"watchNamespaces": ["a", "b"]}, "--namespace", "system")
    places = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in manifests.all("Role")}
    assert {("a", "populate-operator"), ("b", "populate-operator")} <= places
    assert all(
        place == "system" for place, _ in places - {("a", "populate-operator"), ("b", "populate-operator")}
    )


@pytest.mark.parametrize("namespaces", [[], ["a", "b"]], ids=["cluster-wide", "namespaced"])
def test_every_binding_is_of_the_account_and_of_a_role_that_is_there(namespaces: list[str]) -> None:
    values = {"watchNamespaces": namespaces, "serviceAccount": {"create": False, "name": "mine"}}
    manifests = Manifests.of(values, "--namespace", "system")
    roles = {
        (role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"])
        for kind in ("Role", "ClusterRole")
        for role in manifests.all(kind)
    }
    bindings = [*manifests.all("RoleBinding"), *manifests.all("ClusterRoleBinding")]
    account = {"kind": "ServiceAccount", "name": "mine", "namespace": "system"}
    assert all(binding["subjects"] == [account] for binding in bindings)
    bound = {(b["roleRef"]["kind"], b["metadata"].get("namespace"), b["roleRef"]["name"]) for b in bindings}
    assert bound == roles


def test_the_pod_of_helm_test_is_not_taken_for_the_operator() -> None:
    (pod,) = (document for document in Manifests.of({}).documents if document["kind"] == "Pod")
    assert not SELECTOR.items() <= pod["metadata"]["labels"].items()


def test_chart_can_be_a_part_of_another(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v2",
                "name": "lab",
                "version": "1.0.0",
                "dependencies": [
                    {"name": "populate-operator", "version": "*", "condition": "populate-operator.enabled"}
                ],
            }
        )
    )
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "populate-operator").symlink_to(CHART)
    part: dict[str, Any] = {"enabled": True, "replicas": 2}
    values = {"global": {"registry": "lab"}, "populate-operator": part}
    assert Manifests.of(values, chart=tmp_path).at("Deployment", "spec.replicas") == 2
    part["enabled"] = False
    assert Manifests.of(values, chart=tmp_path).documents == ()
