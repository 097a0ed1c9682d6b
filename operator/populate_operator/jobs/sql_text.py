"""SQL that users give: one SELECT, or one boolean expression, that cannot leave its statement.

Two independent readers have to agree: a lexer of a few lines that knows MySQL's literals, and
sqlglot's parser. What they accept is used as it was written; nothing is generated from the parse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from populate_operator.jobs.errors import BadKeySource

_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`", re.DOTALL)
_FORBIDDEN = {
    ";": "a semicolon",
    "--": "a comment",
    "#": "a comment",
    "/*": "a comment or hint",
    "*/": "a comment or hint",
    ":=": "an assignment",
    "'": "an unfinished string",
    '"': "an unfinished string",
    "`": "an unfinished identifier",
    "\\": "a backslash",
    "\0": "a NUL character",
}
_WRITES = (exp.Into, exp.Lock, exp.Command, exp.DML, exp.DDL, exp.Drop, exp.Set, exp.Placeholder)
# What functions of the servers do beside computing. Those of the account's own making run with its rights.
_EFFECTS = frozenset(
    {
        "SLEEP", "BENCHMARK", "GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "LOAD_FILE", "LAST_INSERT_ID",
        "NEXTVAL", "LASTVAL", "SETVAL", "MASTER_POS_WAIT", "SOURCE_POS_WAIT", "MASTER_GTID_WAIT",
        "WAIT_FOR_EXECUTED_GTID_SET", "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS",
    }
)  # fmt: skip
_TOO_DEEP = "is nested too deep to be checked; make it flatter"


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over columns, ready to stand in parentheses."""

    sql: str  # as for a parameterized statement: `%` is doubled
    columns: frozenset[str]  # lower case, without qualifier
    has_subquery: bool


@lru_cache(maxsize=256)
def read_condition(text: str) -> Condition:
    """Check a restriction, such as `subject_id > 3 AND session_date >= '2026-01-01'`.

    Raises BadKeySource saying what is wrong with it.
    """
    what = f"the restriction {text!r}"
    plain = _plain(text, what)
    try:
        tree = sqlglot.parse_one(plain, into=exp.Condition, dialect="mysql")
    except SqlglotError as error:
        raise BadKeySource(f"{what} is not one boolean SQL expression") from error
    except RecursionError as error:
        raise BadKeySource(f"{what} {_TOO_DEEP}") from error
    _refuse_effects(tree, what)
    return Condition(
        sql=plain.replace("%", "%%"),
        columns=frozenset(column.name.lower() for column in tree.find_all(exp.Column)),
        has_subquery=tree.find(exp.Query) is not None,
    )


def read_select(text: str, attributes: tuple[str, ...]) -> str:
    """Check a key source: one SELECT that yields `attributes`; its text for a parameterized statement.

    Raises BadKeySource saying what is wrong with it.
    """
    what = "the key source"
    plain = _plain(text, what)
    try:
        trees = sqlglot.parse(plain, dialect="mysql")
    except SqlglotError as error:
        reason = str(error).splitlines()[0]
        raise BadKeySource(f"{what} cannot be read as SQL: {reason}") from error
    except RecursionError as error:
        raise BadKeySource(f"{what} {_TOO_DEEP}") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
        raise BadKeySource(f"{what} has to be one SELECT statement")
    _refuse_effects(tree, what)
    _refuse_missing(tree, attributes)
    return plain.replace("%", "%%")


def _plain(text: str, what: str) -> str:
    """The text with `%%`, as `make_sql()` of DataJoint writes it, read as `%`, if it is harmless."""
    plain = text.strip().replace("%%", "%")
    if not plain:
        raise BadKeySource(f"{what} is empty; leave it out instead")
    outside = _LITERAL.sub(" ", plain)
    for mark, name in _FORBIDDEN.items():
        if mark in outside:
            raise BadKeySource(f"{what} contains {name} ({mark!r}); take it out")
    depth = 0
    for bracket in re.findall(r"[()]", outside):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            break
    if depth:
        raise BadKeySource(f"{what} has unbalanced parentheses")
    return plain


def _refuse_effects(tree: Any, what: str) -> None:
    called = next((n.name for n in tree.find_all(exp.Anonymous) if n.name.upper() in _EFFECTS), None)
    if called is not None:
        raise BadKeySource(
            f"{what} may only read, and {called} waits, locks, writes or reads files; take it out"
        )
    found = next((node for node in tree.walk() if isinstance(node, _WRITES)), None)
    if found is not None:
        name = {"Into": "INTO", "Lock": "FOR UPDATE or FOR SHARE"}.get(
            type(found).__name__, found.sql("mysql")
        )
        raise BadKeySource(f"{what} may only read, without locks; take out {name}")


def _refuse_missing(tree: Any, attributes: tuple[str, ...]) -> None:
    names = [name.lower() for name in tree.named_selects]
    if tree.is_star or "*" in names:
        return  # the database will tell
    for attribute in attributes:
        if attribute.lower() not in names:
            raise BadKeySource(
                f"the key source does not yield the key attribute '{attribute}'; it yields "
                f"{', '.join(names)} and has to yield {', '.join(attributes)}"
            )
