"""The GitHub workflows: minimal token, pinned actions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_token_is_minimal_and_actions_are_pinned(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
        for step in job["steps"]:
            if action := step.get("uses"):
                assert re.search(r"@(v\d+\.\d+\.\d+|[0-9a-f]{40})$", action), action
                assert action.startswith("actions/checkout") <= (
                    step.get("with", {}).get("persist-credentials") is False
                )


def test_there_is_a_workflow() -> None:
    assert WORKFLOWS
