"""What the runner writes, the operator reads.

- a report never exceeds its limit; the message keeps its beginning, the stack its end; any text survives
- only the runner's own reports are taken for reports
- a key source is found in the message, or in the log when it is too long for it
- each type of key attribute is cast from its JSON form; what cannot be cast is refused by name
- the script imports the standard library and DataJoint alone and is Python 3.10
"""

from __future__ import annotations

import ast
import datetime
import decimal
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from datajoint.heading import Attribute, default_attribute_properties
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.pods import runner
from populate_operator.pods.report import ErrorReport, parse_key_source, parse_termination_message

SOURCE = Path(runner.__file__).read_text()
ANY_TEXT = st.text(st.characters(), max_size=3000)  # lone surrogates among it
NOT_REPORTS = [
    "",
    "no JSON at all\nsecond line",
    "[]",
    "3",
    '{"error_message": "half of it"}',
    '{"error_message": 1, "error_stack": ""}',
    '{"key_source": "SELECT 1"}',
]
ID = uuid.UUID("0b8fd1c4-6f0b-4b7e-9a76-3f7f2f1f0d11")
CASTS: list[tuple[str, Any, Any]] = [
    ("int", 7, 7),
    ("double", 0.1, 0.1),
    ("varchar(30)", "süß", "süß"),
    ("enum('a','b')", "a", "a"),
    ("date", "2024-02-29", datetime.date(2024, 2, 29)),
    ("datetime", "2024-02-29T12:30:00", datetime.datetime(2024, 2, 29, 12, 30)),
    ("datetime(3)", "2024-02-29T12:30:00.125000", datetime.datetime(2024, 2, 29, 12, 30, 0, 125000)),
    ("timestamp", "2024-02-29T12:30:00", datetime.datetime(2024, 2, 29, 12, 30)),
    ("decimal(10,2)", "1.50", decimal.Decimal("1.50")),
    ("decimal(10,2) unsigned", "1.50", decimal.Decimal("1.50")),
]
NOT_CASTS = [("date", "yesterday"), ("datetime(3)", 5), ("decimal(10,2)", "one"), ("date", None)]


def attribute(sql_type: str, *, is_uuid: bool = False) -> Attribute:
    return Attribute(**{**default_attribute_properties, "name": "attr", "type": sql_type, "uuid": is_uuid})


def report_of(text: str) -> ErrorReport:
    report = parse_termination_message(text)
    assert report is not None
    return report


def printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@given(ANY_TEXT, ANY_TEXT, st.integers(min_value=200, max_value=5000))
def test_a_report_fits_and_keeps_what_matters(message: str, stack: str, limit: int) -> None:
    text = runner.fit_report(message, stack, limit)
    assert len(text.encode()) <= limit
    kept = report_of(text)
    assert printable(message).startswith(kept.message.removesuffix(runner.CUT))
    assert printable(stack).endswith(kept.stack.removeprefix(runner.CUT + "\n"))


@given(st.text(max_size=200), st.text(max_size=500))
def test_a_short_report_is_whole(message: str, stack: str) -> None:
    assert report_of(runner.fit_report(message, stack, 10_000)) == (printable(message), printable(stack))


@pytest.mark.parametrize("letter", ["a", "ü", "漢", "😀", "\n", '"', "\udc80"])
def test_no_more_is_cut_than_needed(letter: str) -> None:
    text = runner.fit_report("ValueError: bad", letter * 10_000)
    assert runner.MESSAGE_BYTES - 8 <= len(text.encode()) <= runner.MESSAGE_BYTES


@pytest.mark.parametrize("text", NOT_REPORTS)
def test_other_messages_are_no_reports(text: str) -> None:
    assert parse_termination_message(text) is None


def test_a_key_source_comes_from_the_message_or_the_log() -> None:
    logged = json.dumps({"key_source": "SELECT `a` FROM `b` WHERE c LIKE '100%%\n'"})
    log = f"connected\n{runner.KEY_SOURCE_MARK}{logged}\nbye\n"
    assert parse_key_source('{"key_source": "SELECT 1"}', log) == "SELECT 1"
    assert parse_key_source('{"key_source": null}', log) == "SELECT `a` FROM `b` WHERE c LIKE '100%%\n'"
    assert parse_key_source('{"error_message": "no", "error_stack": ""}', "connected\n") is None


@pytest.mark.parametrize(("sql_type", "value", "expected"), CASTS)
def test_values_are_cast_by_type(sql_type: str, value: object, expected: object) -> None:
    cast = runner.cast_value(value, attribute(sql_type))
    assert (cast, type(cast)) == (expected, type(expected))


def test_uuids_are_cast() -> None:
    assert runner.cast_value(str(ID), attribute("binary(16)", is_uuid=True)) == ID


@pytest.mark.parametrize(("sql_type", "value"), NOT_CASTS)
def test_what_cannot_be_cast_is_refused_by_name(sql_type: str, value: object) -> None:
    with pytest.raises(runner.InvalidKeyError, match=r"attr=.* is not a"):
        runner.cast_value(value, attribute(sql_type))


def test_an_exception_without_a_showable_message_is_described() -> None:
    class ShyError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert runner.describe(ShyError()) == "ShyError: its message cannot be shown: RuntimeError"


def test_the_script_needs_python_3_10_and_datajoint_alone() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 10))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in imported}
    assert roots - set(sys.stdlib_module_names) == {"datajoint"}
