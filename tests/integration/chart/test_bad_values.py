"""Wrong values are refused before anything is installed, each with the place and what is wrong there."""

from __future__ import annotations

from typing import Any

import pytest

from dev.chart import render
from dev.console import SetupError

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt value": ({"replicaCount": 2}, "at '': additional properties 'replicaCount' not allowed"),
    "a misspelt nested value": (
        {"image": {"tagg": "1"}},
        "at '/image': additional properties 'tagg' not allowed",
    ),
    "text for a number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    "fewer than no replicas": ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    "text for a switch": ({"crds": {"install": "no"}}, "at '/crds/install': got string, want boolean"),
    "one namespace that is no list": (
        {"watchNamespaces": "lab"},
        "at '/watchNamespaces': got string, want array",
    ),
    "a namespace twice": (
        {"watchNamespaces": ["a", "a"]},
        "at '/watchNamespaces': items at 0 and 1 are equal",
    ),
    "a namespace that cannot be": (
        {"watchNamespaces": ["Lab"]},
        "at '/watchNamespaces/0': 'Lab' does not match pattern",
    ),
    "a digest without its kind": ({"image": {"digest": "0" * 64}}, "at '/image/digest': '000"),
    "a repository with a tag's colon at its end": (
        {"image": {"repository": "lab/op:"}},
        "at '/image/repository': 'lab/op:' does not match pattern",
    ),
    "a numeric tag": ({"image": {"tag": 1.5}}, "at '/image/tag': got number, want string"),
    "an unknown pull policy": (
        {"image": {"pullPolicy": "Sometimes"}},
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    "pull secrets as names": (
        {"imagePullSecrets": ["registry"]},
        "at '/imagePullSecrets/0': got string, want object",
    ),
    "an unknown log level": (
        {"logging": {"level": "verbose"}},
        "at '/logging/level': value must be one of 'debug', 'info', 'warning', 'error'",
    ),
    "no thread": ({"concurrency": {"database": 0}}, "at '/concurrency/database': minimum: got 0, want 1"),
    "a quantity with a unknown unit": (
        {"resources": {"limits": {"memory": "1GB"}}},
        "at '/resources/limits/memory': '1GB' does not match pattern",
    ),
    "no account at all": (
        {"serviceAccount": {"create": False}},
        "at '/serviceAccount/name': minLength: got 0, want 1",
    ),
    "a label that selects": (
        {"podLabels": {"app.kubernetes.io/name": "mine"}},
        "invalid propertyName 'app.kubernetes.io/name'",
    ),
    "a number as an annotation": (
        {"podAnnotations": {"built": 1}},
        "at '/podAnnotations/built': got number, want string",
    ),
    "an unknown effect": (
        {"tolerations": [{"key": "gpu", "effect": "Never"}]},
        "at '/tolerations/0/effect': value must be one of",
    ),
    "affinity of an unknown kind": (
        {"affinity": {"nodes": {}}},
        "at '/affinity': additional properties 'nodes' not allowed",
    ),
    "a spread without its key": (
        {"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]},
        "at '/topologySpreadConstraints/0': missing property 'topologyKey'",
    ),
    "too little time to end": (
        {"terminationGracePeriodSeconds": 5},
        "at '/terminationGracePeriodSeconds': minimum: got 5, want 10",
    ),
    "a probe of another path": (
        {"livenessProbe": {"httpGet": {"path": "/"}}},
        "at '/livenessProbe': additional properties 'httpGet' not allowed",
    ),
    "environment as a mapping": (
        {"extraEnv": {"PROXY": "x"}},
        "at '/extraEnv': got object, want array",
    ),
    "a port that is none": ({"service": {"port": 70000}}, "at '/service/port': maximum: got 70,000"),
    "more than all replicas away": (
        {"podDisruptionBudget": {"maxUnavailable": "120%"}},
        "at '/podDisruptionBudget/maxUnavailable': '120%' does not match pattern",
    ),
    "an interval without a unit": (
        {"serviceMonitor": {"interval": "30"}},
        "at '/serviceMonitor/interval': '30' does not match pattern",
    ),
    "a peer by its address alone": (
        {"networkPolicy": {"databases": {"to": ["10.0.0.1"]}}},
        "at '/networkPolicy/databases/to/0': got string, want object",
    ),
    "a name that is too long": (
        {"fullnameOverride": "a" * 51},
        "at '/fullnameOverride': maxLength: got 51, want 50",
    ),
}


@pytest.mark.parametrize(("values", "message"), CASES.values(), ids=CASES.keys())
def test_wrong_value_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError) as refused:
        render(values)
    assert message in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(SetupError) as refused:
        render({"replicas": "two", "logging": {"level": "verbose"}, "watchNamespaces": "lab"})
    assert str(refused.value).count("- at '/") == 3
