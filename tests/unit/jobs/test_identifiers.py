"""Names become SQL text in one place."""

from __future__ import annotations

import pytest

from populate_operator.jobs.identifiers import columns, quote, quote_table


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("subject", "`subject`"),
        ("a`b", "`a``b`"),
        ("100%", "`100%%`"),
        ("; DROP TABLE x", "`; DROP TABLE x`"),
        ("größe", "`größe`"),
    ],
)
def test_a_quoted_name_stays_one_name(name: str, quoted: str) -> None:
    assert quote(name) == quoted


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_server_accepts_as_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an SQL identifier"):
        quote(name)


def test_tables_and_columns() -> None:
    assert quote_table("lab", "~~x") == "`lab`.`~~x`"
    assert columns(["a", "b"]) == "`a`, `b`"
    assert columns(["a", "b"], "k") == "k.`a`, k.`b`"
