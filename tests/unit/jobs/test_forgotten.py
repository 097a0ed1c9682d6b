"""Which connections wait in vain."""

from __future__ import annotations

from populate_operator.jobs.forgotten import Work, find_forgotten


def test_sessions_that_the_server_works_for_are_let_be() -> None:
    known = {1: Work("Query", 300), 2: Work("Execute", 300), 3: Work("Sleep", 9)}
    assert find_forgotten(known.keys(), known, after=10) == set()


def test_sessions_that_are_idle_or_unknown_wait_in_vain() -> None:
    known = {1: Work("Query", 300), 2: Work("Sleep", 10)}
    assert find_forgotten({1, 2, 3}, known, after=10) == {2, 3}


def test_sessions_of_others_are_no_affair_of_ours() -> None:
    assert find_forgotten(set(), {1: Work("Sleep", 300)}, after=10) == set()
