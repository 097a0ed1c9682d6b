"""What a job table has to know of the database before it can work: read once, again at each refresh."""

# ruff: noqa: S608 - identifiers come quoted from `identifiers`, values are parameters

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from populate_operator.jobs.database import Database, Statement
from populate_operator.jobs.declare import build_declaration, check_layout
from populate_operator.jobs.discovery import discover_columns, discover_target, find_claim_index
from populate_operator.jobs.errors import AccessDenied, BadKey, BadKeySource, NoSuchTable, StatementRefused
from populate_operator.jobs.identifiers import quote, quote_table
from populate_operator.jobs.key_source import KeySource, Restricted, build_key_source
from populate_operator.jobs.key_types import VALUE_REFUSED
from populate_operator.jobs.keys import Key
from populate_operator.jobs.relations import DECLARED_INDEX, Collation, Queue, Relation
from populate_operator.jobs.target import Column, Target

T = TypeVar("T")

# Not `@@`: a server that has done away with the option is one that has it on.
_EXPLICIT_DEFAULTS = Statement("SHOW VARIABLES LIKE 'explicit_defaults_for_timestamp'")


@dataclass(frozen=True, slots=True)
class Context:
    """A target, its queue and its key source as they were found."""

    target: Target
    key_source: KeySource
    queue: Queue
    source: Relation  # the whole key source, without any restriction
    message_charset: str  # of the jobs table's error_message
    is_declared: bool

    def restrict(self, restrictions: Restricted) -> Relation:
        """The keys of the key source for which `restrictions` hold."""
        relation = self.key_source.restrict(restrictions)
        return replace(relation, collations=self.source.collations, schema=self.target.schema)

    def scope(self, restrictions: Restricted) -> Statement:
        """The condition that a job's key is among the restricted keys; empty without restrictions."""
        if not restrictions.sql:
            return Statement("")
        if restrictions.is_over(self.queue.names):
            return Statement(restrictions.sql, restrictions.parameters, self.target.schema)
        source = self.restrict(restrictions)
        match = self.queue.match(self.queue.jobs, self.queue.jobs.sql, source, "k")
        sql = f"EXISTS (SELECT 1 FROM {source.sql} AS k WHERE {match})"
        return Statement(sql, source.parameters, source.schema)


class Discovered:
    """The context of one job table: found when first needed, and again when it proves to be outdated."""

    def __init__(self, database: Database, schema: str, table: str, select: str | None) -> None:
        self._database, self._schema, self._table, self._select = database, schema, table, select
        self._found: Context | None = None  # replaced whole, so that threads need no lock

    def get(self) -> Context:
        """What was found, as `load_context` finds it."""
        return self._found or self.again()

    def again(self) -> Context:
        """Find it anew."""
        found = load_context(self._database, self._schema, self._table, self._select)
        self._found = found
        return found

    def declared(self) -> Context:
        """The context after the jobs table was declared if need be."""
        found = self.get()
        if found.is_declared:
            return found
        declare(self._database, found)
        return self.again()

    def unless_missing(self, work: Callable[[], T], otherwise: T) -> T:
        """A jobs table that is not there has no jobs; that it may have been dropped is found out anew."""
        try:
            return work()
        except NoSuchTable:
            self._found = None
            return otherwise

    def or_forget(self, work: Callable[[], T]) -> T:
        """A target that is not there is missed at the next use too, whatever else of the queue is left."""
        try:
            return work()
        except NoSuchTable:
            self._found = None
            raise

    def insert(self, key: Key, work: Callable[[Context], T]) -> T:
        """Work that may insert the job `key`, into a table that may have to be declared (again) for it.

        Raises BadKey where the database cannot hold the key.
        """
        try:
            return work(self.declared())
        except NoSuchTable:
            self._found = None
            return work(self.declared())
        except StatementRefused as error:
            if error.code not in VALUE_REFUSED:
                raise
            raise BadKey(f"the database cannot hold the key {key.json}: {error}") from error


def load_context(database: Database, schema: str, table: str, select: str | None) -> Context:
    """Find the target, check its jobs table where there is one, and try the key source.

    Raises NoSuchSchema, NoSuchTable, NotAutoPopulated, BadKeySource or IncompatibleJobsTable.
    """
    target = discover_target(database, schema, table)
    key_source = build_key_source(target, select)
    columns = discover_columns(database, schema, target.jobs_table)
    index = find_claim_index(database, schema, target.jobs_table) if columns else None
    if columns:
        check_layout(target, columns, has_index=index is not None)
    queue = Queue(
        jobs=Relation(quote_table(schema, target.jobs_table), (), _collations(columns)),
        target=Relation(target.sql_name, (), _collations(target.key_columns)),
        names=target.keys.names,
        claim_index=index or DECLARED_INDEX,
    )
    source = replace(key_source.restrict(Restricted((), ())), schema=schema)
    source = replace(source, collations=_probe(database, source, list(queue.target.collations)))
    charset = next((c.charset for c in columns if c.name == "error_message" and c.charset), "utf8mb4")
    return Context(target, key_source, queue, source, charset, bool(columns))


def declare(database: Database, context: Context) -> None:
    """Create the jobs table where there is none.

    Raises AccessDenied when the account may not.
    """
    try:
        has_implicit = ("explicit_defaults_for_timestamp", "OFF") in database.fetch(_EXPLICIT_DEFAULTS)
        database.execute(build_declaration(context.target, explicit_defaults=not has_implicit))
    except AccessDenied as error:
        name = f"{context.target.schema}.{context.target.jobs_table}"
        raise AccessDenied(f"the jobs table {name} cannot be created; grant CREATE on it: {error}") from error


def check_source(database: Database, source: Relation) -> None:
    """Raises BadKeySource when the server refuses the key source with these restrictions."""
    _probe(database, source, [])


def _probe(database: Database, source: Relation, text_names: Sequence[str]) -> dict[str, Collation]:
    """The collations of the key source's text attributes; the server resolves names but reads no row."""
    asked = ", ".join(f"CHARSET(MAX(k.{quote(n)})), COLLATION(MAX(k.{quote(n)}))" for n in text_names)
    statement = Statement(
        f"SELECT {asked or 'COUNT(*)'} FROM {source.sql} AS k WHERE FALSE", source.parameters, source.schema
    )
    try:
        row = database.fetch(statement)[0]
    except (StatementRefused, NoSuchTable) as error:
        raise BadKeySource(f"the server refuses the key source or a restriction of it: {error}") from error
    pairs = zip(row[0::2], row[1::2], strict=True) if text_names else ()
    return dict(zip(text_names, pairs, strict=True))


def _collations(columns: Sequence[Column]) -> Mapping[str, Collation]:
    return {c.name: (c.charset, c.collation) for c in columns if c.charset and c.collation}
