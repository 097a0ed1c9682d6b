"""Where the keys of jobs come from: by default the join of the parents, else a SELECT of the user's."""

# ruff: noqa: S608 - identifiers come quoted from `identifiers`, values are parameters

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from populate_operator.jobs.identifiers import columns, quote, quote_table
from populate_operator.jobs.keys import KeySchema
from populate_operator.jobs.relations import Relation
from populate_operator.jobs.sql_text import Condition, read_condition, read_select
from populate_operator.jobs.target import ForeignKey, Target

Restriction: TypeAlias = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Restricted:
    """Restrictions, read and checked: conditions over columns, and equalities of key attributes."""

    conditions: tuple[Condition, ...]
    equalities: tuple[tuple[str, Any], ...]  # attribute, parameter

    def is_over(self, names: Sequence[str]) -> bool:
        """Whether the columns `names` are all that is needed to decide."""
        known = {name.lower() for name in names}
        return all(c.columns <= known and not c.has_subquery for c in self.conditions)

    def split(self, names: Sequence[str]) -> tuple[Restricted, Restricted]:
        """What the columns `names` decide, and the rest."""
        outer = tuple(c for c in self.conditions if Restricted((c,), ()).is_over(names))
        inner = tuple(c for c in self.conditions if c not in outer)
        return Restricted(outer, self.equalities), Restricted(inner, ())

    @property
    def sql(self) -> str:
        """The condition; "" when there is none."""
        parts = [f"({condition.sql})" for condition in self.conditions]
        parts += [f"{quote(name)} = %s" for name, _ in self.equalities]
        return " AND ".join(parts)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters of `sql`."""
        return tuple(value for _, value in self.equalities)


def read_restrictions(keys: KeySchema, restrictions: Sequence[Restriction]) -> Restricted:
    """Restrictions are SQL conditions, or mappings of key attributes to values; all have to hold.

    Raises BadKeySource for a condition, BadKey for a mapping that is not right.
    """
    conditions = tuple(read_condition(text) for text in restrictions if isinstance(text, str))
    mappings = [keys.part(values) for values in restrictions if not isinstance(values, str)]
    return Restricted(conditions, tuple(pair for values in mappings for pair in values.items()))


@dataclass(frozen=True, slots=True)
class Tables:
    """What the key attributes are read from: `selected` are their columns, `sql` stands behind FROM."""

    selected: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class KeySource:
    """A SELECT that yields the key attributes.

    `keys` yields them; `whole` shows to restrictions all that they may name beside them. `is_default`: the
    join of the parents, which yields no key twice.
    """

    names: tuple[str, ...]
    keys: Tables
    whole: Tables
    is_default: bool

    def restrict(self, restrictions: Restricted) -> Relation:
        """The keys for which all restrictions hold, to stand in FROM.

        A restriction sees the key attributes; where it names anything else it sees all columns of the
        parents (or of the SELECT), as in DataJoint.
        """
        outer, inner = restrictions.split(self.names)
        tables = self.whole if inner.sql else self.keys
        keys = ", ".join(
            f"{column} AS {quote(name)}" for column, name in zip(tables.selected, self.names, strict=True)
        )
        sql = f"(SELECT {keys} FROM {tables.sql}{_where(inner)})"
        if outer.sql:
            sql = f"(SELECT {columns(self.names)} FROM {sql} AS `restricted`{_where(outer)})"
        return Relation(sql, (*inner.parameters, *outer.parameters))


def build_key_source(target: Target, select: str | None = None) -> KeySource:
    """The key source of `target`; `select` takes the place of the default.

    Raises BadKeySource when `select` is not one SELECT that yields the key attributes.
    """
    names = target.keys.names
    if select is None:
        keys, whole = _join_keys(target.parents, names), _join_whole(target.parents, names)
        return KeySource(names, keys, whole, is_default=True)
    text = read_select(select, names)
    selected = tuple(f"`key_source`.{quote(name)}" for name in names)
    tables = Tables(selected, f"({text}) AS `key_source`")
    return KeySource(names, tables, tables, is_default=False)


def _join_keys(parents: Sequence[ForeignKey], names: Sequence[str]) -> Tables:
    """The join of the parents on nothing but the key attributes that they share.

    Source: `datajoint.AutoPopulate.key_source`, which joins the parents' primary keys alone. Not by USING,
    for which a parent's other columns count too, and one with the name of another parent's key is ambiguous.
    """
    origin: dict[str, str] = {}  # attribute -> the column that it is selected from
    clause = ""
    for number, parent in enumerate(parents):
        alias = quote(f"parent{number}")
        source = f"{quote_table(parent.schema, parent.table)} AS {alias}"
        own = {child: f"{alias}.{quote(column)}" for child, column in parent.attributes}
        shared = [f"{origin[child]} = {own[child]}" for child in own if child in origin]
        clause += f" JOIN {source} ON {' AND '.join(shared) or 'TRUE'}" if clause else source
        origin = own | origin
    return Tables(tuple(origin[name] for name in names), clause)


def _join_whole(parents: Sequence[ForeignKey], names: Sequence[str]) -> Tables:
    """The natural join of whole parents under the child's names, for restrictions that name other columns.

    A parent whose attributes are not renamed stands under its own name, so that they can.
    """
    origin: dict[str, str] = {}  # attribute -> the source that it is selected from
    clause = ""
    for number, parent in enumerate(parents):
        name, source = _parent_source(parent, number)
        shared = [child for child, _ in parent.attributes if child in origin]
        using = f" USING ({columns(shared)})" if shared else ""
        clause += f" JOIN {source}{using}" if clause else source
        for child, _ in parent.attributes:
            origin.setdefault(child, name)
    return Tables(tuple(f"{origin[name]}.{quote(name)}" for name in names), clause)


def _parent_source(parent: ForeignKey, number: int) -> tuple[str, str]:
    table = quote_table(parent.schema, parent.table)
    if not parent.is_renamed:
        return table, table
    alias = quote(f"parent{number}")
    renamed = ", ".join(f"{quote(own)} AS {quote(child)}" for child, own in parent.attributes)
    return alias, f"(SELECT {renamed} FROM {table}) AS {alias}"


def _where(restrictions: Restricted) -> str:
    return f" WHERE {restrictions.sql}" if restrictions.sql else ""
