"""The types that a primary key attribute may have, each with its forms in SQL, Python and JSON.

Every type reads (`read`) its Python form and its JSON form alike, so that a key may come from a
program, from a pod's annotation or from a command line. `ValueError` or `TypeError` means it does not fit.
"""

# ruff: noqa: D102 - KeyType documents the methods of all of them

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Context, Decimal, InvalidOperation
from operator import index
from typing import Any, TypeAlias
from uuid import UUID

KeyValue: TypeAlias = int | float | str | bytes | Decimal | date | datetime | timedelta | UUID
JsonValue: TypeAlias = str | int | float

# The server's words for a value that a key column cannot hold: 1048 NULL, 1264 out of range, 1265 and 1292
# not of its type, 1366 not in its character set, 1406 too long.
VALUE_REFUSED = frozenset({1048, 1264, 1265, 1292, 1366, 1406})

_EXACT = Context(prec=65)  # the most digits that a decimal column can have


class KeyType:
    """A type whose Python, JSON and SQL forms are one and the same; the others differ from it."""

    def read(self, value: Any) -> KeyValue:
        """The Python form of `value`, which may be in Python or in JSON form."""
        raise NotImplementedError

    def to_json(self, value: Any) -> JsonValue:
        """The JSON form of a Python value."""
        return str(value)

    def to_sql(self, value: Any) -> Any:
        """What is given to the database driver as a parameter."""
        return value

    def from_sql(self, value: Any) -> KeyValue:
        """The Python form of what the database driver returns."""
        return self.read(value)


@dataclass(frozen=True, slots=True)
class Integer(KeyType):
    """int, tinyint, ..., bool and year: a number in JSON too."""

    smallest: int
    largest: int

    def read(self, value: Any) -> int:
        try:
            number = index(value)  # NumPy's integers too
        except TypeError as error:
            raise TypeError("it has to be an integer") from error
        if not self.smallest <= number <= self.largest:
            raise ValueError(f"it has to be from {self.smallest} to {self.largest}")
        return number

    def to_json(self, value: Any) -> JsonValue:
        return int(value)


class Double(KeyType):
    """double: a number; its shortest decimal form survives both ways."""

    def read(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError("it has to be a number")
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("it has to be finite")
        return float(value)

    def to_json(self, value: Any) -> JsonValue:
        return float(value)


@dataclass(frozen=True, slots=True)
class FixedPoint(KeyType):
    """decimal(M,D): a string in JSON, always with D digits after the point."""

    scale: int

    def read(self, value: Any) -> Decimal:
        if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
            raise TypeError("it has to be a decimal, or its text")
        try:
            exact = Decimal(value)
            rounded = exact.quantize(Decimal(1).scaleb(-self.scale), context=_EXACT)
        except InvalidOperation as error:
            raise ValueError("it is not a decimal number") from error
        if rounded != exact:
            raise ValueError(f"it has more than {self.scale} digits after the point")
        return rounded if rounded else abs(rounded)  # -0.00 is 0.00 to the database

    def to_json(self, value: Any) -> JsonValue:
        return format(value, "f")


class Text(KeyType):
    """char, varchar and enum."""

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError("it has to be a string")
        value.encode()  # raises UnicodeEncodeError, a ValueError, for half a character, which JSON can spell
        return value


class Date(KeyType):
    """date: YYYY-MM-DD in JSON."""

    def read(self, value: Any) -> date:
        if isinstance(value, str):
            return date.fromisoformat(value)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise TypeError("it has to be a date, or YYYY-MM-DD")
        return value


class DateTime(KeyType):
    """datetime and timestamp, in the server's zone: YYYY-MM-DDTHH:MM:SS[.ffffff] in JSON."""

    def read(self, value: Any) -> datetime:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if not isinstance(value, datetime):
            raise TypeError("it has to be a datetime, or YYYY-MM-DDTHH:MM:SS[.ffffff]")
        if value.tzinfo is not None:
            raise ValueError("it has to be without a time zone, as the database keeps it")
        return value

    def to_json(self, value: Any) -> JsonValue:
        return str(value.isoformat())


class Time(KeyType):
    """time, which is a duration of up to 838 hours: [-]HH:MM:SS[.ffffff] in JSON and in SQL."""

    def read(self, value: Any) -> timedelta:
        if isinstance(value, str):
            return _duration(value)
        if isinstance(value, time_of_day):
            return _duration(value.isoformat())
        if not isinstance(value, timedelta):
            raise TypeError("it has to be a timedelta, or [-]HH:MM:SS[.ffffff]")
        return value

    def to_json(self, value: Any) -> JsonValue:
        minutes, seconds = divmod(abs(value) // timedelta(seconds=1), 60)
        hours, minutes = divmod(minutes, 60)
        fraction = abs(value).microseconds
        return (
            f"{'-' if value < timedelta() else ''}{hours:02}:{minutes:02}:{seconds:02}"
            f"{f'.{fraction:06}' if fraction else ''}"
        )

    def to_sql(self, value: Any) -> Any:
        return self.to_json(value)


class Uuid(KeyType):
    """A UUID, kept as binary(16) and marked `:uuid:` by DataJoint: its usual text in JSON."""

    def read(self, value: Any) -> UUID:
        if not isinstance(value, str | UUID):
            raise TypeError("it has to be a UUID, or its text")
        return value if isinstance(value, UUID) else UUID(value)

    def to_sql(self, value: Any) -> Any:
        return value.bytes

    def from_sql(self, value: Any) -> UUID:
        return UUID(bytes=value)


class Binary(KeyType):
    """binary and varbinary: lowercase hexadecimal in JSON."""

    def read(self, value: Any) -> bytes:
        if not isinstance(value, str | bytes):
            raise TypeError("it has to be bytes, or hexadecimal text")
        return value if isinstance(value, bytes) else bytes.fromhex(value)

    def to_json(self, value: Any) -> JsonValue:
        return str(value.hex())

    def from_sql(self, value: Any) -> bytes:
        return bytes(value)


_INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_SIMPLE: dict[str, type[KeyType]] = {
    "double": Double,
    "char": Text,
    "varchar": Text,
    "enum": Text,
    "date": Date,
    "datetime": DateTime,
    "timestamp": DateTime,
    "time": Time,
    "binary": Binary,
    "varbinary": Binary,
}


def key_type_of(column_type: str, marker: str | None) -> KeyType | None:
    """The key type of a column, from its full SQL type and DataJoint's type marker in its comment.

    None for a type that no key can have: JSON and blobs by DataJoint's own rule, and `float`, whose
    values MySQL itself does not find again by `=`.
    """
    if marker == "uuid":
        return Uuid()
    base = re.match(r"\w+", column_type.lower())
    name = base[0] if base else ""
    if name in _INTEGER_BITS:
        span = 1 << _INTEGER_BITS[name]
        smallest = 0 if "unsigned" in column_type.lower() else -span // 2
        return Integer(smallest, smallest + span - 1)
    if name == "year":
        return Integer(0, 2155)
    if name == "decimal":
        scale = re.search(r"\(\d+,\s*(\d+)\)", column_type)
        return FixedPoint(int(scale[1]) if scale else 0)
    return _SIMPLE[name]() if name in _SIMPLE else None


def is_timestamp(column_type: str) -> bool:
    """Whether a column keeps moments: where clocks are changed, one text stands for two of them, or none."""
    return column_type.lower().startswith("timestamp")


def _duration(text: str) -> timedelta:
    parts = re.fullmatch(r"(-?)(\d{1,3}):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,6}))?)?", text)
    if parts is None:
        raise ValueError("it has to be [-]HH:MM:SS[.ffffff]")
    sign, hours, minutes, seconds, fraction = parts.groups(default="")
    length = timedelta(
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds or 0),
        microseconds=int(fraction.ljust(6, "0")) if fraction else 0,
    )
    return -length if sign else length
