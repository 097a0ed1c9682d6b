"""`kubectl populate unblock`: whose finalizers are taken away, and when not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from populate_operator.unblock import build_patch, living_operators

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
OURS, QUEUES = "populate.datajoint.io/outcome", "populate.datajoint.io/queue"


def lease(holder: str | None, renewed: str = "2026-05-01T11:59:50.123456Z") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}
    return {"metadata": {"namespace": "system"}, "spec": spec}


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        ([], []),
        ([lease("one")], ["system/one"]),
        ([lease(""), lease(None)], []),
        ([lease("one", "2026-05-01T11:59:40.000000Z")], []),
        ([{"metadata": {"namespace": "a"}, "spec": {}}], []),
    ],
    ids=["none", "in force", "given back", "run out", "empty"],
)
def test_an_operator_lives_while_its_lease_is_in_force(
    leases: list[dict[str, Any]], expected: list[str]
) -> None:
    assert living_operators(leases, NOW) == expected


@pytest.mark.parametrize("finalizers", [None, [], ["lab.example/keep"]])
def test_what_has_no_finalizer_of_ours_is_left_alone(finalizers: list[str] | None) -> None:
    metadata = {"name": "x", "namespace": "lab", "finalizers": finalizers}
    assert build_patch({"kind": "Pod", "metadata": metadata}) is None


@pytest.mark.parametrize(("kind", "ours"), [("Pod", OURS), ("PopulateQueue", QUEUES)])
def test_only_our_finalizer_goes(kind: str, ours: str) -> None:
    metadata = {"name": "x", "namespace": "lab", "finalizers": ["lab.example/keep", ours]}
    arguments = build_patch({"kind": kind, "metadata": metadata})
    assert arguments is not None
    assert arguments[:5] == ["patch", "--namespace", "lab", kind.lower(), "x"]
    assert json.loads(arguments[-1].removeprefix("--patch=")) == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": ours},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]
