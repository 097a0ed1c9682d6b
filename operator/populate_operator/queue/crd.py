"""The CustomResourceDefinition of PopulateQueue, generated from the models of its spec and status."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from populate_operator.queue.resource import (
    GROUP,
    KIND,
    MAX_NAME_LENGTH,
    PLURAL,
    VERSION,
    PopulateQueueSpec,
)
from populate_operator.queue.status import QueueStatus

# What pydantic's JSON Schema says and a structural schema may not, or need not, repeat.
_DROPPED = {"title", "$defs", "default", "exclusiveMinimum"}

_COLUMNS: list[tuple[str, str, str, int]] = [
    ("Table", "string", ".spec.table", 0),
    ("Pending", "integer", ".status.jobs.pending", 0),
    ("Running", "integer", ".status.pods.running", 0),
    ("Errors", "integer", ".status.jobs.error", 0),
    ("Done", "string", ".status.target.done", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Rate", "string", ".status.rate", 1),
    ("ETA", "string", ".status.eta", 1),
    ("Refreshed", "date", ".status.lastRefresh.time", 1),
    ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 1),
]


def build_crd() -> dict[str, Any]:
    """The CustomResourceDefinition as plain JSON, in a stable order."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["pq"],
                "categories": ["all"],
            },
            "versions": [_build_version()],
        },
    }


def _build_version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.parallelism",
                "statusReplicasPath": ".status.pods.active",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [_build_column(*column) for column in _COLUMNS],
        "schema": {"openAPIV3Schema": _build_schema()},
    }


def _build_column(name: str, kind: str, path: str, priority: int) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | {"priority": priority} if priority else column


def _build_schema() -> dict[str, Any]:
    name_rule = {
        "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
        "message": f"metadata.name must have at most {MAX_NAME_LENGTH} characters: it is a label of the pods",
    }
    return {
        "type": "object",
        "description": "A PopulateQueue populates one DataJoint table: it keeps the table's job queue fresh "
        "and runs one pod per job.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _model_schema(PopulateQueueSpec, with_defaults=True),
            "status": _model_schema(QueueStatus, with_defaults=False),
        },
        "x-kubernetes-validations": [name_rule],
    }


def _model_schema(model: type[BaseModel], *, with_defaults: bool) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}), with_defaults=with_defaults)


def _structural(node: dict[str, Any], definitions: dict[str, Any], *, with_defaults: bool) -> dict[str, Any]:
    """`node` without references, null alternatives and keywords that a structural schema may not have."""
    node = _resolve(node, definitions)
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if result.get("additionalProperties") is False:  # the API server prunes what is unknown
        del result["additionalProperties"]
    if "exclusiveMinimum" in node:  # a number in JSON Schema, a flag in OpenAPI 3.0
        result |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if "items" in node:
        result["items"] = _structural(node["items"], definitions, with_defaults=with_defaults)
    if "properties" in node:
        result["properties"] = {
            name: _property(child, name not in node.get("required", ()), definitions, with_defaults)
            for name, child in node["properties"].items()
        }
    return result


def _property(
    node: dict[str, Any], may_be_absent: bool, definitions: dict[str, Any], with_defaults: bool
) -> dict[str, Any]:
    result = _structural(node, definitions, with_defaults=with_defaults)
    if with_defaults and node.get("default") is not None:
        result["default"] = node["default"]
    elif with_defaults and may_be_absent and "$ref" in node:
        # Spelled out, not {}: the API server checks a default against the CEL rules before it fills it in.
        fields = result["properties"].items()
        result["default"] = {name: field["default"] for name, field in fields if "default" in field}
    return result


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference and drop the `| None`; what stands beside them wins over what they lead to."""
    beside = {key: value for key, value in node.items() if key not in ("anyOf", "$ref")}
    if "anyOf" in node:
        inner = next(option for option in node["anyOf"] if option.get("type") != "null")
        return _resolve(inner, definitions) | beside
    if "$ref" in node:
        definition: dict[str, Any] = definitions[node["$ref"].rpartition("/")[2]]
        return definition | beside
    return beside
