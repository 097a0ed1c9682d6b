"""The OpenAPI schema of `spec.template`: no more of PodTemplateSpec than the operator itself relies on.

The whole of it would fill 8,000 lines of CRD and age with every Kubernetes release; the API server's own
dry run of a pod proves the rest.
"""

from __future__ import annotations

from typing import Any

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_STRINGS = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": 65536},
    "maxProperties": 64,
}
_RESERVED = "labels and annotations below populate.datajoint.io/ are the operator's own: remove them"

_OBJECTS = {"type": "array", "maxItems": 1024, "items": _OPEN}
_RESOURCES = {**_OPEN, "properties": {"requests": _OPEN, "limits": _OPEN}}

# What the operator adds to, or multiplies, has to have the right shape before the dry run can judge the rest.
_CONTAINER: dict[str, Any] = {
    **_OPEN,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 63},
        "env": _OBJECTS,
        "volumeMounts": _OBJECTS,
        "resources": _RESOURCES,
    },
}

_METADATA: dict[str, Any] = {
    **_OPEN,
    "description": "Labels, annotations and finalizers of the pods.",
    "properties": {
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "finalizers": {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 317}},
    },
    "x-kubernetes-validations": [
        {
            "rule": f"!has(self.{field}) || self.{field}.all(k, !k.startsWith('populate.datajoint.io/'))",
            "message": _RESERVED,
            "fieldPath": f".{field}",
        }
        for field in ("labels", "annotations")
    ],
}

_POD_SPEC: dict[str, Any] = {
    **_OPEN,
    "description": "PodSpec of the pods. The container named populate, or else the first, runs the job.",
    "required": ["containers"],
    "properties": {
        "containers": {"type": "array", "minItems": 1, "maxItems": 1024, "items": _CONTAINER},
        "volumes": _OBJECTS,
        "resources": _RESOURCES,
        "restartPolicy": {
            "type": "string",
            "enum": ["Never"],
            "description": "Never, which is also the default: retries are the queue's.",
        },
    },
}

TEMPLATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {"metadata": _METADATA, "spec": _POD_SPEC},
}
