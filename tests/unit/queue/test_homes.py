"""In which namespaces queues may be, as it is noted from one operator to the next.

- a namespace that is listed no more stays noted, until somebody takes the note away or it is listed again
- one whose queues were deleted while it was served does not
- nothing is forgotten before all queues were found
- too many are everywhere, and everywhere cannot be looked into by an operator of listed namespaces
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.queue.homes import (
    EVERYWHERE,
    HOMES_ANNOTATION,
    plan_homes,
    plan_note,
    read_note,
    write_note,
)

NAMES = st.frozensets(st.sampled_from("abcde"))


@pytest.mark.parametrize(
    ("noted", "found", "listed", "is_complete", "note"),
    [
        ("", "a", "ab", True, "a"),
        ("ab", "a", "ab", True, "a"),
        ("ab", "", "ab", False, "ab"),
        ("ab", "a", "a", True, "ab"),
        ("ab", "a", "", True, "a"),
        ("ab", "c", "", False, "abc"),
    ],
    ids=["new", "deleted", "not heard yet", "listed no more", "whole cluster", "its beginning"],
)
def test_what_is_noted(noted: str, found: str, listed: str, is_complete: bool, note: str) -> None:
    assert plan_note(set(noted), set(found), listed, is_complete=is_complete) == set(note)


@given(noted=NAMES, found=NAMES, listed=NAMES, is_complete=st.booleans())
def test_a_queue_that_nobody_sees_is_looked_for(
    noted: frozenset[str], found: frozenset[str], listed: frozenset[str], is_complete: bool
) -> None:
    """Whatever is started next, and however little of it was found by then."""
    note = plan_note(noted, found & listed, listed, is_complete=is_complete)
    unseen = noted - listed if listed else frozenset()
    for after in (note, plan_note(note, frozenset(), listed, is_complete=False)):
        homes = set(plan_homes(after, listed))
        assert homes >= unseen | (found & listed if listed else set())
        assert homes >= listed


@given(NAMES)
def test_a_note_is_read_as_it_was_written(homes: frozenset[str]) -> None:
    assert read_note({HOMES_ANNOTATION: write_note(homes)}) == homes


def test_too_many_are_everywhere() -> None:
    note = write_note({f"namespace-{number}" for number in range(10_000)})
    assert note == EVERYWHERE
    assert plan_homes(read_note({HOMES_ANNOTATION: note}), ["a"]) == ()


def test_an_operator_of_the_whole_cluster_looks_everywhere() -> None:
    assert plan_homes({"a"}, ()) == ()
    assert read_note({}) == frozenset()
