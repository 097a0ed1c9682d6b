"""PopulateQueue manifests and the API server that they are sent to, by kubectl as a user would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dev.cluster import Cluster

Json = dict[str, Any]

_GOOD: Json = {
    "apiVersion": "populate.datajoint.io/v1alpha1",
    "kind": "PopulateQueue",
    "metadata": {"name": "sorting"},
    "spec": {
        "database": {"host": "mysql.lab", "credentials": {"secretName": "dj"}},
        "schema": "ephys",
        "table": "SpikeSorting",
        "template": {"spec": {"containers": [{"name": "populate", "image": "ephys:1"}]}},
    },
}


COPY_GROUP = "unattended.populate.datajoint.io"
COPY = f"populatequeues.{COPY_GROUP}/sorting"


def copied(body: Json) -> Json:
    """A manifest or the CRD in the group that no operator attends to."""
    moved: Json = json.loads(json.dumps(body).replace("populate.datajoint.io", COPY_GROUP))
    if moved["kind"] == "CustomResourceDefinition":  # pq and all mean the real one
        del moved["spec"]["names"]["shortNames"], moved["spec"]["names"]["categories"]
    return moved


def manifest(**changes: Any) -> Json:
    """The smallest good manifest with `changes` merged into its spec; None removes a field."""
    return _GOOD | {"spec": _merged(_GOOD["spec"], changes)}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    merged = dict(base)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


@dataclass(frozen=True)
class Api:
    """kubectl in a namespace of the test's own."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """What kubectl prints. Raises SetupError with its message."""
        return self.cluster.kubectl("--namespace", self.namespace, *args, input=input)

    def create(self, body: Json, *, dry_run: bool = False) -> Json:
        """Create an object, or have the server say whether it could; the object as the server has it."""
        options = ["--dry-run=server"] if dry_run else []
        created: Json = json.loads(
            self.kubectl("create", *options, "-o", "json", "-f", "-", input=json.dumps(body))
        )
        return created

    def abandon_queues(self) -> None:
        """Let queues go that no operator lets go."""
        for name in self.kubectl("get", "pq", "-o", "name").split():
            self.kubectl("patch", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')

    def patch(self, spec: Json) -> Json:
        """Merge `spec` into that of the unattended queue `sorting`."""
        patch = json.dumps({"spec": spec})
        patched: Json = json.loads(self.kubectl("patch", COPY, "--type=merge", "-o", "json", "-p", patch))
        return patched
