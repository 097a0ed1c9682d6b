"""What the rendered roles allow: the same in every scope, no wildcards, Secrets by name only.

That the operator needs all of it and no more is judged by the API server's audit log: tests/e2e/test_rbac.py.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from dev.chart import CHART
from tests.integration.chart.rendered import Json, Manifests

SCOPES: dict[str, Json] = {"cluster-wide": {}, "namespaced": {"watchNamespaces": ["a"]}}


def rules(values: Json) -> list[Json]:
    """The rules for the namespaces that are served."""
    manifests = Manifests.of(values, "--namespace", "system")
    (role,) = (
        role
        for kind in ("ClusterRole", "Role")
        for role in manifests.all(kind)
        if role["metadata"].get("namespace") != "system"
    )
    found: list[Json] = role["rules"]
    return found


def test_a_namespace_gives_the_same_rights_in_every_scope() -> None:
    assert rules(SCOPES["cluster-wide"]) == rules(SCOPES["namespaced"])


def test_nothing_is_allowed_by_a_wildcard() -> None:
    everything = Manifests.of({}).all("ClusterRole") + Manifests.of(SCOPES["namespaced"]).all("Role")
    for role in everything:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
@pytest.mark.parametrize("limit", [{}, {"resourceNames": ["lab", "rig.2"]}], ids=["any", "named"])
def test_secrets_are_read_by_name_and_never_listed(scope: Json, limit: dict[str, Any]) -> None:
    values = scope | {"rbac": {"secretNames": limit.get("resourceNames", [])}}
    secrets = [rule for rule in rules(values) if "secrets" in rule["resources"]]
    assert secrets == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], **limit}]


@pytest.mark.parametrize("file", ["_helpers.tpl", "rbac.yaml"])
def test_every_rule_says_what_needs_it(file: str) -> None:
    lines = (CHART / "templates" / file).read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r" *- apiGroups:", line)]
    assert starts
    for number in starts:
        assert lines[number - 1].lstrip().startswith("#"), lines[number : number + 3]
