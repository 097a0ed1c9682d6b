"""The table of a chart's values in Markdown, from values.yaml and the comment above each value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import yaml


class Value(NamedTuple):
    """One row: `path` such as `image.tag`, the default as JSON, and the comment."""

    path: str
    default: str
    comment: str


def values_table(text: str) -> str:
    """Rows for every value of `text`, the content of a values.yaml.

    Raises ValueError naming a value without a comment.
    """
    rows = ["| value | default | meaning |", "|---|---|---|"]
    rows += [f"| `{v.path}` | `{v.default}` | {v.comment} |" for v in read_values(text)]
    return "\n".join(rows) + "\n"


def read_values(text: str) -> Iterator[Value]:
    """The values of a values.yaml in its order. A mapping whose own keys have no comments is one value.

    Raises ValueError naming a value without a comment.
    """
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml is not a mapping")
    yield from _children(root, "", text.splitlines())


def _children(mapping: yaml.MappingNode, prefix: str, lines: Sequence[str]) -> Iterator[Value]:
    for key, node in mapping.value:
        path, comment = f"{prefix}{key.value}", _comment(lines, key.start_mark.line)
        if isinstance(node, yaml.MappingNode) and _is_section(node, lines):
            yield from _children(node, f"{path}.", lines)
        elif comment:
            yield Value(path, _default(node), comment.replace("|", "\\|"))
        else:
            raise ValueError(f"{path} has no comment: say above it in values.yaml what it is for")


def _is_section(mapping: yaml.MappingNode, lines: Sequence[str]) -> bool:
    return any(
        _comment(lines, key.start_mark.line)
        or (isinstance(node, yaml.MappingNode) and _is_section(node, lines))
        for key, node in mapping.value
    )


def _comment(lines: Sequence[str], number: int) -> str:
    """The comment lines right above line `number`, as one."""
    found: list[str] = []
    while number and (line := lines[number - 1].strip()).startswith("#"):
        found.insert(0, line.removeprefix("#").strip())
        number -= 1
    return " ".join(found)


def _default(node: yaml.Node) -> str:
    return json.dumps(yaml.safe_load(yaml.serialize(node)), ensure_ascii=False)
