"""What Helm renders from values, as objects to ask questions of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.chart import CHART, render

Json = dict[str, Any]

# Every optional part at once.
EVERYTHING: Json = {
    "replicas": 3,
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "podLabels": {"team": "lab"},
    "podAnnotations": {"note": "1"},
    "serviceAccount": {"annotations": {"cloud.example/role": "populate"}},
    "service": {"port": 80, "annotations": {"prometheus.io/scrape": "true"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "lab", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}
            ]
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "system-cluster-critical",
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy.lab"},
        {"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "url"}}},
    ],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/lab", "readOnly": True}],
    "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "alertLabels": {"team": "lab", "severity": "page"},
    },
    "networkPolicy": {
        "enabled": True,
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "apiServer": {"to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}]},
        "databases": {"ports": [3306, 3307], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        "extraEgress": [{"ports": [{"port": 8080}]}],
    },
}


@dataclass(frozen=True)
class Manifests:
    """The objects of one rendering."""

    documents: tuple[Json, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any], *options: str, chart: Path = CHART) -> Manifests:
        """Render; raises SetupError with Helm's message."""
        rendered = yaml.safe_load_all(render(values, *options, chart=chart))
        return cls(tuple(document for document in rendered if document))

    def kinds(self) -> set[str]:
        return {document["kind"] for document in self.documents}

    def all(self, kind: str) -> list[Json]:
        """Objects of that kind that belong to the release: hooks are not among them."""
        return [d for d in self.documents if d["kind"] == kind and not is_hook(d)]

    def one(self, kind: str) -> Json:
        (found,) = self.all(kind)
        return found

    def at(self, kind: str, path: str) -> Any:
        """What is at a path such as `spec.ports.0.port` of the one object of that kind, or None."""
        found: Any = self.one(kind)
        for step in path.split("."):
            if isinstance(found, list):
                found = found[int(step)] if int(step) < len(found) else None
            else:
                found = (found or {}).get(step)
        return found


def is_hook(document: Json) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})
