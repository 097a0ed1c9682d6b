"""The generated files are what the models say now, and the defaults of both agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.crds import generated_files
from populate_operator.queue.crd import build_crd
from populate_operator.queue.resource import InvalidQueueError, PopulateQueueSpec, parse_spec
from tests.unit.queue.builders import spec_json


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == generated_files()[path], "run: make crds"


def _walk(schema: dict[str, Any]) -> list[dict[str, Any]]:
    children = [*schema.get("properties", {}).values()]
    for key in ("items", "additionalProperties"):
        children += [schema[key]] if isinstance(schema.get(key), dict) else []
    return [schema, *(node for child in children for node in _walk(child))]


def _schemas(*parts: str) -> list[dict[str, Any]]:
    properties = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return [node for part in parts for node in _walk(properties[part])]


def test_every_node_is_typed_and_none_keeps_what_a_structural_schema_forbids() -> None:
    for node in _schemas("spec", "status"):
        assert "type" in node
        assert not node.keys() & {"$ref", "$defs", "anyOf", "title"}


def test_every_string_and_list_of_the_spec_is_bounded_so_that_cel_costs_stay_small() -> None:
    for node in _schemas("spec"):
        if node["type"] == "string" and "enum" not in node:
            assert "maxLength" in node, node
        if node["type"] == "array":
            assert "maxItems" in node, node


def test_defaults_of_the_models_are_those_of_the_crd() -> None:
    spec = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    filled_in = {name: field["default"] for name, field in spec["properties"].items() if "default" in field}
    assert parse_spec(spec_json() | filled_in) == parse_spec(spec_json())


def test_a_spec_reads_back_as_it_was_written() -> None:
    spec = parse_spec(spec_json(keySource={"query": "SELECT id FROM a"}, runner={"class": "p.m:C"}))
    assert isinstance(spec, PopulateQueueSpec)
    assert parse_spec(spec.model_dump(by_alias=True)) == spec


def test_an_unreadable_spec_names_every_field() -> None:
    with pytest.raises(InvalidQueueError) as caught:
        parse_spec(
            spec_json(retry={"limit": -1}, failureRules=[{"exitCodes": [0], "action": "Retry"}], bogus=1)
        )
    assert "spec.retry.limit: " in str(caught.value)
    assert "spec.failureRules[0].exitCodes[0]: " in str(caught.value)
    assert "spec.bogus: " in str(caught.value)
