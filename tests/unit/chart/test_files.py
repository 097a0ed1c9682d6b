"""Files of the chart that need no Helm.

- the version is the operator's, wherever it is written
- what is generated is up to date
- every value is told about, and the schema knows it and nothing else
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.chart import CHART, plain_files, stamp
from dev.chart_values import Value, read_values
from populate_operator import __version__
from populate_operator.queue.resource import parse_spec

Json = dict[str, Any]
METADATA: Json = yaml.safe_load((CHART / "Chart.yaml").read_text())
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())

COMMENTS = """
# A section's own comment is not a value's.
image:
  # Where it is.
  repository: here
  # Its tag;
  # none is the version.
  tag: ""
# As one value.
resources:
  limits: {memory: 1Gi}
plain:
  # One | another.
  list: []
"""


@pytest.mark.parametrize("path", plain_files(), ids=lambda path: path.name)
def test_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == plain_files()[path], "run: make chart"


def test_version_is_the_operators() -> None:
    assert (METADATA["version"], METADATA["appVersion"]) == (__version__, __version__)
    assert DEFAULTS["image"]["tag"] == ""  # which means appVersion


def test_a_new_version_is_stamped_and_nothing_else_changes() -> None:
    chart = "name: x\nversion: 0.1.0\nappVersion: 0.1.0\nkubeVersion: '>=1'\n"
    assert stamp(chart, "1.2.3") == "name: x\nversion: 1.2.3\nappVersion: 1.2.3\nkubeVersion: '>=1'\n"


def test_example_on_artifact_hub_is_read_by_the_operator() -> None:
    (example,) = yaml.safe_load(METADATA["annotations"]["artifacthub.io/crdsExamples"])
    assert parse_spec(example["spec"]).table == "SpikeSorting"
    (crd,) = yaml.safe_load(METADATA["annotations"]["artifacthub.io/crds"])
    assert example["kind"] == crd["kind"]


def test_values_are_read_with_the_comments_above_them() -> None:
    assert list(read_values(COMMENTS)) == [
        Value("image.repository", '"here"', "Where it is."),
        Value("image.tag", '""', "Its tag; none is the version."),
        Value("resources", '{"limits": {"memory": "1Gi"}}', "As one value."),
        Value("plain.list", "[]", "One \\| another."),
    ]


def test_a_value_without_a_comment_is_named() -> None:
    with pytest.raises(ValueError, match=r"^image\.pull has no comment"):
        list(read_values("image:\n  # Its tag.\n  tag: x\n\n  pull: y\n"))


@pytest.mark.parametrize("value", [*read_values((CHART / "values.yaml").read_text())], ids=lambda v: v.path)
def test_schema_knows_every_value(value: Value) -> None:
    schema = SCHEMA
    for name in value.path.split("."):
        schema = resolved(schema)["properties"][name]
    assert {"type", "enum", "allOf", "$ref"} & schema.keys()


def test_schema_knows_no_other_value() -> None:
    known = set(SCHEMA["properties"]) - {"global", "enabled"}  # what umbrella charts add
    assert known == set(DEFAULTS)


def test_no_object_of_the_schema_is_open_by_mistake() -> None:
    mistakes = [path for path, each in objects(SCHEMA, "") if "properties" in each and is_open(each)]
    # Kubernetes' own types are checked for what is required; the API server knows the rest.
    assert mistakes == ["properties.extraVolumeMounts.items", "$defs.named.items"]


def resolved(schema: Json) -> Json:
    reference = schema.get("$ref")
    found: Json = SCHEMA["$defs"][reference.removeprefix("#/$defs/")] if reference else schema
    return found


def is_open(schema: Json) -> bool:
    return schema.get("additionalProperties", True) is True


def objects(schema: Any, path: str) -> Iterator[tuple[str, Json]]:
    """Every schema of an object below `schema`, by its path; conditions are no schemas of objects."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path.lstrip("."), schema
        for name, child in schema.items():
            yield from objects(child, f"{path}.{name}")
