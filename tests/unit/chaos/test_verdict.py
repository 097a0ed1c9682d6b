"""What counts as a broken promise, and what a run's table says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.pod import DEADLINE, FATES, HARMLESS_ATTEMPT, fate
from tests.chaos.schedule import Fault, Inflicted, Kind
from tests.chaos.verdict import WORKER, Evidence, lost, overlaps, recoveries, table, violations
from tests.chaos.witness import Run

SEED = 1
MANY = range(1, 2000)
DOOMED = next(key for key in MANY if fate(SEED, key, HARMLESS_ATTEMPT) == "exit")


def key_of(end: str) -> int:
    """A key whose first attempt ends so, and that gets well in the end."""
    return next(
        key for key in MANY if fate(SEED, key, 1) == end and fate(SEED, key, HARMLESS_ATTEMPT) == "ok"
    )


WELL, FAILS = key_of("ok"), key_of("exit")


def evidence(key: int, *runs: Run) -> Evidence:
    """A key with its row, made by its last run."""
    maker = runs[-1].by if runs else "nobody"
    return Evidence(SEED, range(key, key + 1), runs, {key: maker}, {}, [], {})


def killed(began: float, ended: float, kind: Kind = Kind.DATABASE_KILLED) -> Inflicted:
    return Inflicted(Fault(began, kind, ended - began, 0), began, ended)


def test_every_fate_is_met_and_only_the_doomed_fail_for_good() -> None:
    assert {fate(SEED, key, 1) for key in MANY} == FATES.keys()
    assert {fate(SEED, key, HARMLESS_ATTEMPT) for key in MANY} == {"ok", "exit"}


def test_one_run_and_its_row_is_well() -> None:
    assert violations(evidence(WELL, Run(WELL, 1, "a", 0, 1))) == []


def test_a_key_without_row_or_error_is_lost() -> None:
    seen = replace(evidence(WELL, Run(WELL, 1, "a", 0, 1)), rows={}, jobs={WELL: ("reserved", "")})
    assert lost(seen) == [WELL]
    assert f"key {WELL} is lost: job ('reserved', '')" in violations(seen)[0]


@pytest.mark.parametrize(
    ("key", "message", "is_lost"),
    [
        (DOOMED, "Error: container populate ended with exit code 3", False),
        (DOOMED, "DeadlineExceeded", True),
        (WELL, "exit code 3", True),
    ],
)
def test_an_error_counts_where_it_was_injected(key: int, message: str, is_lost: bool) -> None:
    seen = replace(evidence(key), rows={}, jobs={key: ("error", message)})
    assert bool(lost(seen)) is is_lost


def test_a_row_whose_job_is_left_is_a_violation() -> None:
    assert "has a row and a job" in violations(replace(evidence(WELL), jobs={WELL: ("pending", "")}))[0]


def test_a_held_pod_is_a_violation() -> None:
    assert violations(replace(evidence(WELL), held=["q-x"])) == ["pod q-x still has our finalizer"]


def test_a_queue_that_never_rests_is_a_violation() -> None:
    assert "never came to rest" in violations(replace(evidence(WELL), stuck="Ready: False"))[0]


def test_repeats_need_a_reason() -> None:
    repeated = evidence(WELL, Run(WELL, 1, "a", 0, 1), Run(WELL, 1, "b", 2, 3))
    assert "nothing explains that" in violations(repeated)[0]
    assert violations(replace(repeated, disrupted={"a": Kind.POD_EVICTED})) == []
    assert violations(evidence(FAILS, Run(FAILS, 1, "a", 0, 1), Run(FAILS, 2, "b", 2, 3))) == []


def test_nothing_explains_a_run_after_the_row_was_made() -> None:
    fails = evidence(FAILS, Run(FAILS, 1, "a", 0, 1), Run(FAILS, 2, "b", 2, 3))
    made = replace(fails, rows={FAILS: "a"}, disrupted={"a": Kind.POD_DELETED})
    assert "nothing explains that" in violations(made)[0]
    assert violations(replace(made, disrupted={"a": Kind.POD_FORCE_DELETED})) == []


def test_a_run_beyond_its_pods_deadline_is_repeated() -> None:
    assert violations(evidence(WELL, Run(WELL, 1, "a", 0, DEADLINE), Run(WELL, 2, "b", 90, 91))) == []


@pytest.mark.parametrize(
    ("began", "ended", "is_explained"),
    [(9.5, 10.4, True), (10.2, 10.5, True), (8.5, 10.4, False), (10.2, 15.2, False)],
)
def test_a_start_that_the_kubelets_end_interrupted_is_repeated(
    began: float, ended: float, is_explained: bool
) -> None:
    seen = evidence(WELL, Run(WELL, 1, "a", began, ended), Run(WELL, 1, "b", 40, 41))
    seen = replace(seen, inflicted=[killed(10, 17, Kind.KUBELET_KILLED)])
    assert (violations(seen) == []) is is_explained


def test_a_run_of_the_worker_is_repeated_where_the_server_was_killed() -> None:
    seen = evidence(WELL, Run(WELL, 1, WORKER, 10, 11), Run(WELL, 1, "b", 40, 41))
    assert "nothing explains that" in violations(replace(seen, inflicted=[killed(2, 9)]))[0]
    assert "nothing explains that" in violations(replace(seen, inflicted=[killed(20, 21)]))[0]
    assert violations(replace(seen, inflicted=[killed(12, 14)])) == []


def test_runs_at_once_are_found_beyond_the_next_one() -> None:
    runs = Run(WELL, 1, "a", 0, 9), Run(WELL, 1, "b", 1, 2), Run(WELL, 1, "c", 3, 4)
    assert [(first.by, second.by) for first, second in overlaps(runs)] == [("a", "b"), ("a", "c")]


@pytest.mark.parametrize("ended", [None, 2.5])
def test_runs_at_once_are_allowed_after_a_deletion_by_force_alone(ended: float | None) -> None:
    both = evidence(WELL, Run(WELL, 1, "a", 0, ended), Run(WELL, 1, "b", 2, 3))
    assert len(overlaps(both.runs)) == 1
    assert "ran twice at once" in violations(replace(both, disrupted={"a": Kind.POD_DELETED}))[0]
    assert violations(replace(both, disrupted={"a": Kind.POD_FORCE_DELETED})) == []


def test_recovery_is_from_a_faults_end_to_the_next_settled_job() -> None:
    fault = Fault(1.0, Kind.ETCD_KILLED, 2.0, 0)
    seen = replace(
        evidence(WELL),
        inflicted=[Inflicted(fault, 1.0, 3.0), Inflicted(fault, 7.0, 9.0)],
        settled=[2.0, 4.5, 6.0],
    )
    assert recoveries(seen) == [1.5]
    assert "| etcd killed | 2 |" in table(seen)
