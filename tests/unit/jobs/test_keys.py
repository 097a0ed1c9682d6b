"""Keys survive Python -> JSON -> Python, and a bad key names the attribute.

- every type, at its limits
- the same key always gives the same JSON text
- unknown, missing and ill-typed attributes
- Python's json reads and fromisoformat parses what the runner will get
"""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.jobs import BadKey, Key, KeySchema
from populate_operator.jobs.key_types import key_type_of
from populate_operator.jobs.keys import KeyAttribute


def schema(column_type: str, marker: str | None = None) -> KeySchema:
    type_ = key_type_of(column_type, marker)
    assert type_ is not None
    return KeySchema((KeyAttribute("a", type_),))


SOME_UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")

CASES: list[tuple[str, str | None, Any, Any]] = [
    # SQL type, marker, Python value, JSON form
    ("tinyint", "int8", -128, -128),
    ("tinyint(1)", "bool", 1, 1),
    ("int", None, 2**31 - 1, 2**31 - 1),
    ("int(10) unsigned", None, 2**32 - 1, 2**32 - 1),
    ("bigint", None, -(2**63), -(2**63)),
    ("bigint unsigned", None, 2**64 - 1, 2**64 - 1),
    ("year(4)", None, 2026, 2026),
    ("double", "float64", 0.1, 0.1),
    ("decimal(8,3)", None, Decimal("-12345.670"), "-12345.670"),
    ("decimal(10,7)", None, Decimal("0E-7"), "0.0000000"),
    ("decimal(65,0)", None, Decimal("9" * 65), "9" * 65),
    ("char(8)", None, "Bär 🐻 \"'\\%", "Bär 🐻 \"'\\%"),
    ("varchar(30)", None, "", ""),
    ("enum('left','right')", None, "left", "left"),
    ("date", None, date(2026, 2, 28), "2026-02-28"),
    ("datetime", None, datetime(2026, 2, 28, 13, 5), "2026-02-28T13:05:00"),
    ("datetime(6)", None, datetime(2026, 2, 28, 13, 5, 1, 20), "2026-02-28T13:05:01.000020"),
    ("timestamp(3)", None, datetime(2026, 2, 28, 13, 5, 1, 20000), "2026-02-28T13:05:01.020000"),
    ("time", None, timedelta(hours=838, minutes=59, seconds=59), "838:59:59"),
    ("time(6)", None, -timedelta(hours=1, microseconds=5), "-01:00:00.000005"),
    ("binary(16)", "uuid", SOME_UUID, str(SOME_UUID)),
    ("binary(16)", None, b"\x00" * 15 + b"\xff", "00" * 15 + "ff"),
    ("varbinary(4)", None, b"\xde\xad", "dead"),
]


@pytest.mark.parametrize(("column_type", "marker", "value", "form"), CASES)
def test_every_type_has_a_json_form_and_comes_back(
    column_type: str, marker: str | None, value: Any, form: Any
) -> None:
    keys = schema(column_type, marker)
    key = keys.key({"a": value})
    assert json.loads(key.json) == {"a": form}
    assert keys.from_json(key.json) == key == {"a": value}
    assert type(keys.from_json(key.json)["a"]) is type(value)
    assert hash(keys.from_json(key.json)) == hash(key)


def test_a_runner_can_cast_with_the_standard_library() -> None:
    """Python 3.10's fromisoformat takes no fraction but of 3 or 6 digits."""
    text = json.loads(schema("datetime(1)").key({"a": datetime(2026, 1, 1, 0, 0, 0, 500000)}).json)["a"]
    assert text.rpartition(".")[2] == "500000"


KINDS = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "decimal(10,2)": st.decimals(-99999999, 99999999, places=2),
    "varchar(99)": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    "date": st.dates(),
    "datetime(6)": st.datetimes(),
    "time(6)": st.timedeltas(-timedelta(hours=838), timedelta(hours=838)),
    "varbinary(9)": st.binary(),
}


@pytest.mark.parametrize("column_type", KINDS)
def test_any_value_survives(column_type: str) -> None:
    keys = schema(column_type)

    @given(KINDS[column_type])
    def survives(value: Any) -> None:
        key = keys.key({"a": value})
        assert keys.from_json(key.json) == key == {"a": value}
        assert keys.from_json(key.json).json == key.json

    survives()


def test_json_has_the_order_of_the_primary_key_and_no_spaces() -> None:
    keys = KeySchema(
        tuple(KeyAttribute(name, t) for name in ("b", "a") if (t := key_type_of("int", None)) is not None)
    )
    assert keys.key({"a": 1, "b": 2}).json == '{"b":2,"a":1}'
    assert keys.key({"a": 1, "b": 2}).json == keys.key({"b": 2, "a": 1}).json
    assert keys.key({"a": 1, "b": 2}).parameters == (2, 1)


def test_equal_decimals_are_one_key() -> None:
    keys = schema("decimal(5,2)")
    assert keys.key({"a": "1.5"}).json == keys.key({"a": Decimal("1.50")}).json == '{"a":"1.50"}'
    assert keys.key({"a": "-0"}).json == '{"a":"0.00"}'


@pytest.mark.parametrize(
    ("column_type", "marker", "value", "reason"),
    [
        ("int", None, "1", "integer"),
        ("int", None, 1.0, "integer"),
        ("int", None, None, "integer"),
        ("int", None, 2**31, "from -2147483648 to 2147483647"),
        ("int unsigned", None, -1, "from 0"),
        ("double", None, float("nan"), "finite"),
        ("double", None, "1", "number"),
        ("decimal(5,2)", None, 1.5, "decimal"),
        ("decimal(5,2)", None, "1.555", "2 digits"),
        ("decimal(5,2)", None, "many", "not a decimal"),
        ("varchar(5)", None, 5, "string"),
        ("enum('a')", None, b"a", "string"),
        ("date", None, datetime(2026, 1, 1), "date"),
        ("date", None, "28.02.2026", "28.02.2026"),
        ("datetime", None, date(2026, 1, 1), "datetime"),
        ("datetime", None, "2026-01-01T00:00:00+01:00", "without a time zone"),
        ("time", None, "25 minutes", "HH:MM:SS"),
        ("time", None, 5, "timedelta"),
        ("binary(16)", "uuid", "abc", "abc"),
        ("binary(16)", "uuid", b"0" * 16, "UUID"),
        ("binary(2)", None, "xyz", "xyz"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(
    column_type: str, marker: str | None, value: Any, reason: str
) -> None:
    with pytest.raises(BadKey, match=r"key attribute 'a' is") as refusal:
        schema(column_type, marker).key({"a": value})
    assert reason in str(refusal.value)


def test_a_missing_or_unknown_attribute_is_refused_by_name() -> None:
    keys = schema("int")
    with pytest.raises(BadKey, match="'a' is missing"):
        keys.key({})
    with pytest.raises(BadKey, match="'b' is not an attribute of the key; the key's attributes are a"):
        keys.key({"a": 1, "b": 2})
    with pytest.raises(BadKey, match="'b' is not an attribute"):
        keys.part({"b": 2})
    assert keys.part({}) == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "1", '"a"'])
def test_what_is_no_json_object_is_no_key(text: str) -> None:
    with pytest.raises(BadKey, match="the key"):
        schema("int").from_json(text)


def test_a_time_of_day_is_accepted_for_time() -> None:
    assert schema("time").key({"a": time(1, 2, 3)}) == {"a": timedelta(hours=1, minutes=2, seconds=3)}


@pytest.mark.parametrize("column_type", ["float", "json", "longblob", "text", "set('a')", "bit(1)"])
def test_types_that_no_key_can_have(column_type: str) -> None:
    assert key_type_of(column_type, None) is None


def test_a_key_is_a_mapping() -> None:
    key = schema("int").key({"a": 1})
    assert isinstance(key, Key)
    assert dict(key) == {"a": 1}
    assert len(key) == 1
    assert repr(key) == 'Key({"a":1})'
    with pytest.raises(KeyError):
        key["b"]
