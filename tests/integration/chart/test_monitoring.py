"""ServiceMonitor and PrometheusRule: their kinds are not on this API server, so their structure is asserted.

- the monitor selects the Service's labels and one of its ports
- an alert asks only for metrics and labels that the operator exports
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from prometheus_client.metrics import MetricWrapperBase

from populate_operator import metrics
from populate_operator.queue.status import ConditionType, JobCounts
from tests.integration.chart.rendered import EVERYTHING, Manifests

MANIFESTS = Manifests.of(EVERYTHING, "--namespace", "system")
(GROUP,) = MANIFESTS.at("PrometheusRule", "spec.groups")
ALERTS: list[dict[str, Any]] = GROUP["rules"]
VALUES = {
    "type": set(get_args(ConditionType)),
    "status": set(JobCounts.model_fields) - {"total"},
    "job": {MANIFESTS.at("Service", "metadata.name")},
    "namespace": {"system"},
}


def exported() -> dict[str, set[str]]:
    """The operator's metrics with their labels."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): set(metric._labelnames)
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
    }


def asked(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each selector of an expression: the metric, and the labels that it must have."""
    for name, labels in re.findall(r"\b(populate_\w+)(?:\{([^}]*)\})?", expression):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels))


def test_monitor_finds_the_service() -> None:
    wanted = MANIFESTS.at("ServiceMonitor", "spec.selector.matchLabels")
    service = MANIFESTS.one("Service")
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["namespace"] == MANIFESTS.at("ServiceMonitor", "metadata.namespace")
    assert MANIFESTS.at("ServiceMonitor", "spec.endpoints") == [
        {"port": service["spec"]["ports"][0]["name"], "honorLabels": True, "interval": "30s"}
    ]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule"])
def test_prometheus_selects_it_by_labels(kind: str) -> None:
    assert MANIFESTS.at(kind, "metadata.labels.release") == "prometheus"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_asks_for_what_is_exported(alert: dict[str, Any]) -> None:
    selectors = list(asked(alert["expr"]))
    assert selectors
    for name, labels in selectors:
        own = exported()[name] | {"job", "namespace"}  # the target's labels, where the metric has none
        assert labels.keys() <= own
        assert all(value in VALUES[label] for label, value in labels.items())


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_tells_who_should_look_and_at_what(alert: dict[str, Any]) -> None:
    assert alert["labels"]["team"] == "lab"
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"].keys() == {"summary", "description"}
    shown = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
    labels: set[str] = set().union(*(exported()[name] for name, _ in asked(alert["expr"])))
    assert shown <= labels
