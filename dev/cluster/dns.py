"""The Service by which pods find the cluster's DNS, which runs beside the control plane."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dev.cluster.layout import Layout

NAME, NAMESPACE = "kube-dns", "kube-system"
_DNS_USER = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:coredns"}


def build_manifest(layout: Layout, ports: Mapping[str, int]) -> str:
    """A Service at the tenth ClusterIP, its endpoints, and leave for CoreDNS to read what it serves."""
    protocols = {"dns": "UDP", "dns-tcp": "TCP"}
    service_ports = [{"name": n, "protocol": p, "port": 53} for n, p in protocols.items()]
    endpoint_ports = [{"name": n, "protocol": p, "port": ports["dns"]} for n, p in protocols.items()]
    labels = {
        "kubernetes.io/service-name": NAME,
        "endpointslice.kubernetes.io/managed-by": "populate-cluster",
    }
    items: list[dict[str, object]] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"clusterIP": str(layout.services[10]), "ports": service_ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
            "addressType": "IPv4",
            "ports": endpoint_ports,
            "endpoints": [{"addresses": [str(layout.address)], "conditions": {"ready": True}}],
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [*items, *_access()]})


def _access() -> list[dict[str, object]]:
    """Leave to read what the DNS answers from."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                _reading("", "services", "namespaces", "pods", "endpoints"),
                _reading("discovery.k8s.io", "endpointslices"),
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [_DNS_USER],
        },
    ]


def _reading(group: str, *resources: str) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": [*resources], "verbs": ["get", "list", "watch"]}
