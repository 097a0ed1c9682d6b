"""The one place where names become SQL text."""

from __future__ import annotations

from collections.abc import Iterable


def quote(name: str) -> str:
    """Quote one identifier; `%` is doubled because every statement goes through parameter formatting."""
    if not name or "\0" in name:
        raise ValueError(f"not an SQL identifier: {name!r}")
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def quote_table(schema: str, table: str) -> str:
    """Quote a table together with its schema."""
    return f"{quote(schema)}.{quote(table)}"


def columns(names: Iterable[str], of: str = "") -> str:
    """Comma-separated quoted columns, each qualified by the alias `of` where one is given."""
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + quote(name) for name in names)
