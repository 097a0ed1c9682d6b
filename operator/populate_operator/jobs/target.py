"""The table to be populated, as far as a job queue has to know it. Pure: read by `discovery`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from populate_operator.jobs.errors import NotAutoPopulated
from populate_operator.jobs.identifiers import quote_table
from populate_operator.jobs.key_types import key_type_of
from populate_operator.jobs.keys import KeyAttribute, KeySchema

Tier = Literal["Computed", "Imported"]


@dataclass(frozen=True, slots=True)
class Column:
    """A primary key column: `type` as the server states it, `collation` None unless it holds text."""

    name: str
    type: str
    comment: str
    charset: str | None
    collation: str | None

    @property
    def marker(self) -> str | None:
        """DataJoint's name of the type where it wrote one into the comment: `:uuid:the session`."""
        found = re.match(r":([^:]+):", self.comment)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference to a parent: `attributes` maps each child attribute to the parent's."""

    schema: str
    table: str
    attributes: tuple[tuple[str, str], ...]

    @property
    def is_renamed(self) -> bool:
        """Whether any attribute has another name in the parent."""
        return any(child != parent for child, parent in self.attributes)


@dataclass(frozen=True)
class Target:
    """An auto-populated table: its primary key and the parents that its primary key refers to."""

    schema: str
    table: str
    primary_key: tuple[Column, ...]
    parents: tuple[ForeignKey, ...]

    @property
    def sql_name(self) -> str:
        """The table's quoted name with its schema."""
        return quote_table(self.schema, self.table)

    @property
    def jobs_table(self) -> str:
        """The unquoted name of its job queue."""
        return jobs_table_name(self.table)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The part of the primary key that comes from foreign keys: the key of a job.

        The other attributes number the rows that one job makes.
        """
        derived = {child for parent in self.parents for child, _ in parent.attributes}
        return tuple(column for column in self.primary_key if column.name in derived)

    @property
    def ignored_attributes(self) -> tuple[str, ...]:
        """Primary key attributes that come from no foreign key and so are not part of a job's key."""
        return tuple(column.name for column in self.primary_key if column not in self.key_columns)

    @cached_property
    def keys(self) -> KeySchema:
        """The typed key of a job.

        Raises NotAutoPopulated when an attribute has a type that no key can have, or none is left.
        """
        attributes = []
        for column in self.key_columns:
            type_ = key_type_of(column.type, column.marker)
            if type_ is None:
                raise NotAutoPopulated(
                    f"{self.schema}.{self.table} can have no job queue: its key attribute '{column.name}' "
                    f"is a {column.type}, which cannot be found again by its value; use another type"
                )
            attributes.append(KeyAttribute(column.name, type_))
        return KeySchema(tuple(attributes))


def tier_of(table: str) -> Tier:
    """The tier that an SQL table name states.

    Raises NotAutoPopulated naming the tier when it is not Computed or Imported.
    """
    name = r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*"
    if re.fullmatch(rf"__{name}", table):
        return "Computed"
    if re.fullmatch(rf"_{name}", table):
        return "Imported"
    raise NotAutoPopulated(
        f"'{table}' is {_kind_of(table, name)}; only Computed and Imported tables are populated by jobs: "
        "name one of those"
    )


def _kind_of(table: str, name: str) -> str:
    if re.fullmatch(rf"(?:__|_|#)?{name}__{name}", table):
        return "a Part table, which its master populates"
    if re.fullmatch(rf"#{name}", table):
        return "a Lookup table"
    if table.startswith("~"):
        return "a table of DataJoint's own"
    if re.fullmatch(name, table):
        return "a Manual table"
    return "no DataJoint table by its name"


def is_class_name(name: str) -> bool:
    """Whether `name` is a class (`SpikeSorting`) and not an SQL table (`__spike_sorting`)."""
    return re.fullmatch(r"[A-Z][A-Za-z0-9_]*", name) is not None


def candidate_tables(name: str) -> tuple[str, ...]:
    """The SQL names that `name` can mean: an SQL name is itself, a class name has one per tier.

    Source: `datajoint.utils.from_camel_case` and the prefixes in `datajoint.user_tables`.
    Raises NotAutoPopulated for a Part (`Master.Part`).
    """
    if re.fullmatch(r"\w+\.\w+", name):
        raise NotAutoPopulated(f"'{name}' is a Part table; its master populates it: name the master")
    if not is_class_name(name):
        return (name,)
    humps = re.findall(r"[A-Z][a-z0-9]*", name.replace("_", ""))
    base = "_".join(humps).lower()
    return tuple(prefix + base for prefix in ("__", "_", "", "#"))


def jobs_table_name(table: str) -> str:
    """The name of a table's job queue.

    Source: `datajoint.jobs.Job.__init__`.
    """
    return "~~" + table.lstrip("_")
