"""The default key source yields the keys that DataJoint's own yields; a SELECT takes its place.

- one parent, several, composite, shared attributes, renamed once, twice and beside the original, parents
  with other columns of the names of keys, parents in other schemas, further attributes, chains of computed
  tables
- a class's own key source, printed by `make_sql()`, with restrictions, unions and percent signs
- restrictions, over the key and over columns of the parents, as DataJoint reads them
- what the server refuses is reported as a bad key source
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import datajoint as dj
import pytest

from dev.databases import Database, Server
from populate_operator.jobs import BadKeySource, JobTable, Key
from tests.integration.jobs.arena import account, declare
from tests.integration.jobs.pipelines import Pipeline, build_imaging

FURTHER = {"jobs__allow_new_pk_fields_in_computed_tables": True}


class Lab(Pipeline):
    """Subjects with sessions, parameters and pairs of them; some keys without partners."""

    def __init__(self, database: Database, **settings: Any) -> None:
        super().__init__(database, **settings)
        subject = self.declare(dj.Manual, "Subject", "subject: int32\n---\nage: int32")
        session = self.declare(dj.Manual, "Session", "-> Subject\nsession: int16\n---\nnote: varchar(20)")
        param = self.declare(dj.Lookup, "Param", "param: varchar(20)\n---\nage: int32")
        pair = self.declare(dj.Manual, "Pair", "-> Param\n-> Param.proj(other='param')")
        habit = self.declare(dj.Manual, "Habit", "-> Subject\n---\nparam: varchar(20)\nsession: int16")
        trial = self.declare(dj.Manual, "Trial", "-> Subject\n-> Param")
        self.declare(dj.Manual, "Nothing", "nothing: int32")
        subject.insert([(number, number * 10) for number in range(4)])
        session.insert([(1, 1, "a%b"), (1, 2, "a"), (2, 1, "it's")])
        param.insert([("p", 1), ("q", 2), ("it's", 3)])
        pair.insert([("p", "q"), ("q", "q"), ("it's", "p")])
        habit.insert([(1, "q", 9), (2, "none", 1)])
        trial.insert([(1, "p"), (2, "q"), (3, "q")])
        self._names = (f"Derived{number}" for number in count())

    def derive(self, definition: str, tier: type = dj.Computed, **members: Any) -> Any:
        """A computed table of a name of its own."""
        return self.declare(tier, next(self._names), definition, **members)

    def jobs_of(self, derived: Any, **options: Any) -> JobTable:
        return self.jobs(derived.__name__, **options)


@pytest.fixture(scope="module")
def lab(server: Server) -> Iterator[Lab]:
    """One for all tests of a server: each derives tables of its own."""
    database = Database(server, f"populate_test_{secrets.token_hex(6)}").create()
    lab = Lab(database, **FURTHER)
    yield lab
    lab.close()
    database.drop()


DEFINITIONS = {
    "one parent": "-> Subject",
    "a composite parent": "-> Session",
    "two parents": "-> Subject\n-> Param",
    "parents that share an attribute": "-> Session\n-> Subject",
    "shared the other way round": "-> Subject\n-> Session\n-> Param",
    "renamed": "-> Param.proj(p2='param')",
    "renamed beside the original": "-> Param\n-> Param.proj(p2='param')",
    "renamed twice": "-> Param.proj(p1='param')\n-> Param.proj(p2='param')",
    "a composite parent, renamed in part": "-> Session.proj(trial='session')",
    "renamed onto what another parent has": "-> Pair\n-> Param.proj(other='param')",
    "renamed parents that share": "-> Session.proj(s='subject')\n-> Subject.proj(s='subject')",
    "swapped": "-> Pair.proj(param='other', other='param')",
    "a key that another parent has beside its own": "-> Habit\n-> Param\n-> Trial",
    "the same in another order": "-> Param\n-> Habit\n-> Trial",
    "a column of the one is a key of the other": "-> Habit\n-> Session",
    "one of its own between them": "-> Habit\n-> Session\n-> Trial\n-> Param.proj(other='param')",
    "an attribute of its own": "-> Subject\ntrial: int16\n-> Param",
    "a secondary foreign key": "-> Subject\n---\n-> Param",
}


def keys_of(jobs: JobTable, expression: Any) -> set[Key]:
    """The keys that a DataJoint expression yields."""
    found: list[dict[str, Any]] = expression.keys()
    return {jobs.key({name: key[name] for name in jobs.keys.names}) for key in found}


def assert_same_keys(jobs: JobTable, key_source: Any) -> None:
    """Refresh adds the keys that DataJoint's key source yields, whole and half populated alike."""
    theirs = keys_of(jobs, key_source)
    result = jobs.refresh()
    assert set(jobs.pending.keys()) == theirs
    assert result["added"] == len(theirs) == jobs.target_progress().total


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_the_default_is_datajoints(lab: Lab, definition: str) -> None:
    derived = lab.derive(definition)
    assert len(derived.key_source) > 0
    assert_same_keys(lab.jobs_of(derived), derived.key_source)


def test_what_is_in_the_target_is_not_added(lab: Lab) -> None:
    derived = lab.derive(DEFINITIONS["an attribute of its own"])
    derived.insert([(1, 1, "p"), (1, 2, "p"), (2, 1, "q")], allow_direct_insert=True)
    jobs = lab.jobs_of(derived)
    jobs.refresh()
    todo = derived.key_source - derived.proj()
    assert set(jobs.pending.keys()) == keys_of(jobs, todo)
    assert jobs.target_progress() == (12, 2)


def test_parents_in_several_schemas(lab: Lab, create_database: Callable[[], Database]) -> None:
    home, elsewhere = (lab.instance.Schema(create_database().name) for _ in range(2))
    tables = {"Session": lab.tables["Session"]}
    declare(elsewhere, tables, dj.Manual, "Subject", "animal: int32")
    tables["Subject"].insert([(1,), (7,)])
    declare(home, tables, dj.Computed, "Derived", "-> Session\n-> Subject")
    assert len(tables["Derived"].key_source) == 6
    jobs = JobTable(account(lab.server), schema=home.database, table="Derived")
    assert_same_keys(jobs, tables["Derived"].key_source)
    assert [parent.schema for parent in jobs.target.parents] == [lab.name, elsewhere.database]


def test_a_chain_of_computed_tables(lab: Lab) -> None:
    first = lab.declare(dj.Computed, "First", "-> Session\n-> Param")
    second = lab.declare(dj.Computed, "Second", "-> First")
    first.insert(first.key_source.keys()[:5], allow_direct_insert=True)
    assert_same_keys(lab.jobs("Second"), second.key_source)


def test_a_parent_without_rows(lab: Lab) -> None:
    derived = lab.derive("-> Subject\n-> Nothing")
    assert lab.jobs_of(derived).refresh()["added"] == 0


CLASS_SOURCES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "restricted": lambda t: t["Session"] & "note LIKE 'a%'",
    "restricted by a mapping": lambda t: t["Session"] & {"note": "it's"},
    "restricted by a table": lambda t: t["Session"] & (t["Subject"] & "age > 10"),
    "without": lambda t: t["Session"] - (t["Subject"] & "age > 10"),
    "modulo": lambda t: t["Session"] & "session % 2 = 1",
    "projected": lambda t: t["Session"].proj(),
    "joined": lambda t: t["Session"].proj() * t["Subject"].proj(),
    "aggregated": lambda t: t["Session"].aggr(t["Session"].proj(), n="count(*)"),
    "a union": lambda t: (t["Session"] & "session = 1").proj() + (t["Session"] & "session = 2").proj(),
    "limited": lambda t: t["Session"] & dj.Top(2, order_by="session"),
}


@pytest.mark.parametrize("source", CLASS_SOURCES.values(), ids=CLASS_SOURCES)
def test_a_classs_own_key_source_printed_by_make_sql(lab: Lab, source: Callable[..., Any]) -> None:
    def key_source(self: Any) -> Any:
        return source(lab.tables)

    derived = lab.derive("-> Session", key_source=property(key_source))
    sql = derived().key_source.make_sql()
    assert len(derived().key_source) > 0
    assert_same_keys(lab.jobs_of(derived, key_source=sql), derived().key_source)


def test_a_select_may_name_tables_without_their_schema(lab: Lab) -> None:
    derived = lab.derive("-> Session")
    jobs = lab.jobs_of(derived, key_source="SELECT subject, session FROM session WHERE note = 'a%b'")
    assert jobs.refresh()["added"] == 1
    assert [dict(job.key) for job in jobs.pending] == [{"subject": 1, "session": 1}]


def test_a_select_that_repeats_keys_adds_each_once(lab: Lab) -> None:
    derived = lab.derive("-> Session")
    jobs = lab.jobs_of(derived, key_source="SELECT subject, session FROM session JOIN `#param`")
    assert jobs.refresh()["added"] == 3
    assert jobs.target_progress() == (3, 0)


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("SELECT subject, session FROM nowhere", "nowhere"),
        ("SELECT subject, nothing AS session FROM session", "nothing"),
        ("SELECT * FROM subject", "session"),
        ("SELECT subject, subject AS subject, session FROM session", "subject"),
        ("SELECT subject, NULL AS session FROM session", "session"),
        ("SELECT note AS subject, session FROM session", "subject"),
        ("SELECT subject, session FROM FROM", "cannot be read as SQL"),
    ],
)
def test_what_the_server_refuses_is_a_bad_key_source(lab: Lab, select: str, reason: str) -> None:
    derived = lab.derive("-> Session")
    with pytest.raises(BadKeySource) as refusal:
        lab.jobs_of(derived, key_source=select).refresh()
    assert reason in str(refusal.value)


RESTRICTIONS: list[tuple[Any, ...]] = [
    ("subject = 1",),
    ("subject = 1 OR session = 1", "subject < 2"),
    ({"subject": 1},),
    ({"subject": 1, "session": 2},),
    ("FALSE",),
    ("TRUE", "NOT (subject IN (2, 3))"),
]


@pytest.mark.parametrize("restrictions", RESTRICTIONS, ids=str)
def test_restrictions_mean_what_they_mean_to_datajoint(lab: Lab, restrictions: tuple[Any, ...]) -> None:
    derived = lab.derive("-> Session\n-> Subject")
    theirs = derived.key_source & dj.AndList(restrictions)
    jobs = lab.jobs_of(derived)
    assert jobs.refresh(*restrictions)["added"] == len(theirs)
    assert set(jobs.pending.keys()) == keys_of(jobs, theirs)
    scoped = lab.jobs_of(derived, restrictions=restrictions)
    assert scoped.target_progress().total == len(theirs)


@pytest.mark.parametrize(
    ("restriction", "keys"),
    [
        ("age > 10", {(2, 1)}),
        ("note LIKE 'a%'", {(1, 1), (1, 2)}),
        ("note LIKE 'a%' AND age = 10 AND session = 1", {(1, 1)}),
        ("subject IN (SELECT subject FROM session WHERE session = 2)", {(1, 1), (1, 2)}),
    ],
)
def test_restrictions_may_name_other_columns_of_the_parents(
    lab: Lab, restriction: str, keys: set[tuple[int, int]]
) -> None:
    derived = lab.derive("-> Session\n-> Subject")
    jobs = lab.jobs_of(derived)
    jobs.refresh(restriction)
    assert {tuple(key.values()) for key in jobs.pending.keys()} == keys  # noqa: SIM118 - no mapping


def test_an_attribute_of_two_parents_is_ambiguous_and_that_is_said(lab: Lab) -> None:
    derived = lab.derive("-> Subject\n-> Param")
    with pytest.raises(BadKeySource, match="ambiguous"):
        lab.jobs_of(derived).refresh("age > 10")


def test_only_restricted_jobs_are_claimed(pipeline: Pipeline) -> None:
    """dj#1413: a queue that others filled must not widen what was asked for."""
    build_imaging(pipeline)
    pipeline.jobs("Segmentation").refresh()
    for restriction in ("subject = 2", "age = 20"):
        jobs = pipeline.jobs("Segmentation", restrictions=[restriction])
        claimed = jobs.reserve_many(9, owner="o", hosts=list("abcdefghi"))
        assert [job.key["subject"] for job in claimed] == [2]
        assert jobs.next_due() is None
        assert jobs.release_owner("o") == 1
        assert jobs.next_due() == 0.0
