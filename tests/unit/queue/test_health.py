"""What a pass says of its queue, from its own findings and from what the background has told."""

from __future__ import annotations

import pytest

from populate_operator.queue.conditions import Health, Trouble
from populate_operator.queue.findings import Findings
from populate_operator.queue.health import judge
from populate_operator.queue.memory import Memory
from tests.unit.queue.builders import NOW, make_spec, observe

FULL = Trouble("DatabaseFull", "make room")
BAD = Trouble("StatementRefused", "spec.restrictions[0]: no such column")
GONE = Trouble("NoSuchTable", "no table")


def judged(found: Findings, memory: Memory) -> Health:
    return judge(make_spec(), observe(), found, memory, NOW)


def failed_refresh(trouble: Trouble, *, is_database: bool) -> Memory:
    memory = Memory()
    memory.note_refresh_failure(trouble, NOW, is_database=is_database)
    return memory


def test_trouble_of_a_refresh_stays_until_it_succeeds() -> None:
    assert judged(Findings(), failed_refresh(FULL, is_database=True)).database == FULL
    assert judged(Findings(), failed_refresh(BAD, is_database=False)).setup == BAD


def test_trouble_of_the_pass_itself_comes_first() -> None:
    assert judged(Findings(database=FULL), failed_refresh(GONE, is_database=True)).database == FULL
    assert judged(Findings(setup=GONE), failed_refresh(BAD, is_database=False)).setup == GONE


@pytest.mark.parametrize("is_database", [False, True])
def test_another_trouble_since_makes_what_a_refresh_was_refused_obsolete(is_database: bool) -> None:
    memory = failed_refresh(FULL if is_database else BAD, is_database=is_database)
    memory.forget_refresh_trouble()
    health = judged(Findings(), memory)
    assert (health.database, health.setup) == (FULL if is_database else None, None)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Findings(), None),
        (Findings(has_more=True, has_written=True), None),
        (Findings(has_more=True), FULL),
    ],
    ids=["whole", "cut short after a write", "cut short before one"],
)
def test_a_database_is_well_again_once_a_pass_has_shown_it(found: Findings, expected: Trouble | None) -> None:
    assert judged(found, Memory(database_trouble=FULL)).database == expected
