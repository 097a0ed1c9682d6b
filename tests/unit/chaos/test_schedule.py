"""The plan of a chaos run."""

from __future__ import annotations

import pytest

from tests.chaos.schedule import TARGETS, Kind, plan

SEEDS = range(20)


def test_a_seed_repeats_its_plan() -> None:
    assert plan(7, 600) == plan(7, 600)
    assert plan(7, 600) != plan(8, 600)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_comes_and_all_are_over_in_time(seed: int) -> None:
    faults = plan(seed, 240)
    assert {fault.kind for fault in faults} == set(Kind) == TARGETS.keys()
    assert all(0 < fault.at <= fault.at + fault.seconds <= 240.01 for fault in faults)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_target_is_broken_twice_at_once(seed: int) -> None:
    free = dict.fromkeys(TARGETS.values(), 0.0)
    for fault in plan(seed, 600):
        assert fault.at >= free[fault.kind.target]
        free[fault.kind.target] = fault.at + fault.seconds
