"""A watch of queues that misses something is found out by lists, one that is merely ahead or late is not."""

from __future__ import annotations

import pytest

from populate_operator.queue.roll_call import RollCall, unheard


@pytest.mark.parametrize(
    ("heard", "listed", "served", "expected"),
    [
        ({}, {}, "", ""),
        ({"a": 1}, {"a": 1}, "a", ""),
        ({}, {"a": 1}, "", "a"),
        ({"a": 1}, {"a": 2}, "a", "a"),
        ({"a": 2}, {"a": 1}, "a", ""),
        ({"a": 1}, {}, "a", "a"),
        ({"a": 1}, {}, "", ""),
        ({"a": 1}, {"a": 1}, "", ""),
        ({"a": 1, "b": 1}, {"b": 2, "c": 1}, "ab", "abc"),
    ],
    ids=["none", "all", "new", "changed", "old list", "deleted", "let go", "held by others", "each"],
)
def test_what_was_not_heard(
    heard: dict[str, int], listed: dict[str, int], served: str, expected: str
) -> None:
    assert unheard(heard, listed, set(served)) == set(expected)


def hear(roll_call: RollCall, uid: str, generation: int, event: str | None = "MODIFIED") -> None:
    roll_call.hear(event, {"uid": uid, "generation": generation})


def test_a_change_is_missed_from_the_first_list_that_has_it_to_the_last() -> None:
    roll_call = RollCall({"a"})
    hear(roll_call, "a", 1)
    roll_call.compare({"a": 1}, 100.0)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 2}, 130.0)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 3}, 160.0)
    assert roll_call.missed_for == 30.0


def test_a_late_watch_is_forgiven() -> None:
    roll_call = RollCall(set())
    roll_call.compare({"a": 1}, 100.0)
    roll_call.compare({"a": 1}, 130.0)
    hear(roll_call, "a", 1, None)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 1}, 160.0)
    assert roll_call.missed_for == 0.0


def test_a_deletion_is_missed_until_it_is_heard() -> None:
    roll_call = RollCall(served := {"a"})
    hear(roll_call, "a", 1)
    roll_call.compare({}, 100.0)
    roll_call.compare({}, 130.0)
    assert roll_call.missed_for == 30.0
    hear(roll_call, "a", 2, "DELETED")
    served.clear()
    roll_call.compare({}, 160.0)
    assert roll_call.missed_for == 0.0


def test_the_longest_miss_counts() -> None:
    roll_call = RollCall(set())
    roll_call.compare({"a": 1}, 100.0)
    roll_call.compare({"a": 1, "b": 1}, 130.0)
    roll_call.compare({"a": 1, "b": 1}, 160.0)
    assert roll_call.missed_for == 60.0
    hear(roll_call, "a", 1)
    assert roll_call.missed_for == 30.0
