"""Which connections wait in vain."""

from __future__ import annotations

from populate_operator.jobs.connection import Identity
from populate_operator.jobs.forgotten import Work, find_forgotten, is_comparable, read_sessions

HERE, ELSEWHERE = ("db-0", 3306, 1), ("db-1", 3306, 2)


def test_sessions_that_the_server_works_for_are_let_be() -> None:
    known = {1: Work("Query", 300), 2: Work("Execute", 300), 3: Work("Sleep", 9)}
    assert find_forgotten(known.keys(), known, after=10) == set()


def test_sessions_that_are_idle_or_unknown_wait_in_vain() -> None:
    known = {1: Work("Query", 300), 2: Work("Sleep", 10)}
    assert find_forgotten({1, 2, 3}, known, after=10) == {2, 3}


def test_sessions_of_others_are_no_affair_of_ours() -> None:
    assert find_forgotten(set(), {1: Work("Sleep", 300)}, after=10) == set()


def test_only_the_same_server_can_tell_and_only_by_its_own_numbers() -> None:
    asking = Identity(9, 9, HERE)
    assert is_comparable(Identity(1, 1, HERE), asking)
    assert not is_comparable(Identity(1, 1, ELSEWHERE), asking)
    assert not is_comparable(Identity(1, 100, HERE), asking)
    assert not is_comparable(Identity(1, 1, HERE), Identity(9, 101, HERE))


def test_the_sessions_of_our_own_account_are_told() -> None:
    rows = [
        (1, "ada", "host", None, "Query", 3, "", "SELECT 1"),
        (2, "ada", "host", None, "Sleep", None, "", None),
        (3, "eve", "host", None, "Sleep", 300, "", None),
    ]
    assert read_sessions(rows, Identity(2, 2, HERE)) == {1: Work("Query", 3), 2: Work("Sleep", 0)}


def test_another_server_answers_nothing_of_use() -> None:
    assert read_sessions([(1, "ada", "host", None, "Sleep", 3, "", None)], Identity(2, 2, HERE)) is None
