"""Relations that statements join: how they are written, and how their keys compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from populate_operator.jobs.identifiers import quote

Collation = tuple[str, str]  # character set, collation
DECLARED_INDEX = "status"  # what the server calls the index of a jobs table, which DataJoint does not name


@dataclass(frozen=True, slots=True)
class Relation:
    """Something that can stand in FROM, and the collation of each key attribute that holds text.

    `schema`: where the unqualified tables are that a user's text names.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    collations: Mapping[str, Collation] = field(default_factory=dict)
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """All that the statements of one job queue have to name."""

    jobs: Relation
    target: Relation
    names: tuple[str, ...]  # the key attributes, in the order of the primary key
    claim_index: str = DECLARED_INDEX  # on (status, priority, scheduled_time)

    def match(self, probe: Relation, alias: str, lookup: Relation, lookup_alias: str) -> str:
        """The condition that two relations have the same key.

        Where their collations differ it is `probe` that is converted, so that `lookup` is found by index.
        """
        return " AND ".join(
            f"{lookup_alias}.{quote(name)} = "
            + _converted(f"{alias}.{quote(name)}", probe.collations.get(name), lookup.collations.get(name))
            for name in self.names
        )


def _converted(column: str, own: Collation | None, wanted: Collation | None) -> str:
    if own == wanted or wanted is None:
        return column
    return f"CONVERT({column} USING {wanted[0]}) COLLATE {wanted[1]}"


def build_key_condition(
    names: Sequence[str], rows: Iterable[Sequence[Any]], alias: str = ""
) -> tuple[str, tuple[Any, ...]]:
    """The condition that the key is one of `rows`, and its parameters; both servers use the index for it."""
    prefix = f"{alias}." if alias else ""
    rows = list(rows)
    parameters = tuple(value for row in rows for value in row)
    if len(names) == 1:
        return f"{prefix}{quote(names[0])} IN ({', '.join(['%s'] * len(rows))})", parameters
    one = "(" + " AND ".join(f"{prefix}{quote(name)} = %s" for name in names) + ")"
    return "(" + " OR ".join([one] * len(rows)) + ")", parameters
