"""Keys of jobs: the values of the queue's primary key, from SQL to Python to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from populate_operator.jobs.errors import BadKey
from populate_operator.jobs.key_types import KeyType, KeyValue


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of the queue's primary key."""

    name: str
    type: KeyType

    def read(self, value: Any) -> KeyValue:
        """Raises BadKey naming the attribute when `value` does not fit."""
        try:
            return self.type.read(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadKey(f"key attribute '{self.name}' is {repr(value)[:200]}: {error}") from error


class Key(Mapping[str, KeyValue]):
    """One job's key: attributes in the order of the primary key, with Python values.

    Immutable, hashable, equal to any mapping with the same content. Made by `KeySchema`.
    """

    __slots__ = ("_attributes", "_values")

    def __init__(self, attributes: Sequence[KeyAttribute], values: Sequence[KeyValue]) -> None:
        self._attributes = attributes
        self._values = tuple(values)

    def __getitem__(self, name: str) -> KeyValue:
        for attribute, value in zip(self._attributes, self._values, strict=True):
            if attribute.name == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (attribute.name for attribute in self._attributes)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Key) and other._attributes == self._attributes:
            return self._values == other._values
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Key({self.json})"

    @property
    def json(self) -> str:
        """The key as JSON text: always the same text for the same key.

        Integers and doubles are numbers; everything else is a string: decimals with all digits of their
        scale ("1.50"), dates and datetimes as ISO 8601 without a zone, times as [-]HH:MM:SS[.ffffff],
        UUIDs in their usual form, other binary values in hexadecimal.
        """
        forms = {
            attribute.name: attribute.type.to_json(value)
            for attribute, value in zip(self._attributes, self._values, strict=True)
        }
        return json.dumps(forms, separators=(",", ":"), ensure_ascii=False)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The values as parameters of a statement, in the order of the primary key."""
        return tuple(
            attribute.type.to_sql(value)
            for attribute, value in zip(self._attributes, self._values, strict=True)
        )


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The primary key of a job queue."""

    attributes: tuple[KeyAttribute, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes' names in the order of the primary key."""
        return tuple(attribute.name for attribute in self.attributes)

    def key(self, values: Mapping[str, Any]) -> Key:
        """The key with these values, in Python or JSON form.

        Raises BadKey naming the attribute that is missing, unknown or of the wrong type.
        """
        if isinstance(values, Key) and values._attributes is self.attributes:
            return values
        self._refuse_unknown(values)
        if missing := [name for name in self.names if name not in values]:
            raise BadKey(f"key attribute '{missing[0]}' is missing; {self._expected()}")
        return Key(self.attributes, [attribute.read(values[attribute.name]) for attribute in self.attributes])

    def part(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Some of the key's attributes, as parameters of a statement by name.

        Raises BadKey naming the attribute that is unknown or of the wrong type.
        """
        self._refuse_unknown(values)
        return {
            attribute.name: attribute.type.to_sql(attribute.read(values[attribute.name]))
            for attribute in self.attributes
            if attribute.name in values
        }

    def from_json(self, text: str) -> Key:
        """The key that `Key.json` wrote.

        Raises BadKey when `text` is not JSON, or for the reasons of `key`.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # RecursionError: nested too deep for any key
            raise BadKey(f"the key is not JSON ({error}): {text[:200]}") from error
        if not isinstance(values, dict):
            raise BadKey(f"the key has to be a JSON object; {self._expected()}")
        return self.key(values)

    def from_row(self, row: Sequence[Any]) -> Key:
        """The key in the first columns of a row that the database returned."""
        return Key(
            self.attributes,
            [attribute.type.from_sql(value) for attribute, value in zip(self.attributes, row, strict=False)],
        )

    def _refuse_unknown(self, values: Mapping[str, Any]) -> None:
        if unknown := [name for name in values if name not in self.names]:
            raise BadKey(f"'{unknown[0]}' is not an attribute of the key; {self._expected()}")

    def _expected(self) -> str:
        return f"the key's attributes are {', '.join(self.names)}"
