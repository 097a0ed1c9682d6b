"""What a queue remembers of its figures.

- a change makes them stale, and counting makes them whole again
- what changes while they are counted is not lost: a refresh that adds jobs then is still to be counted
- figures that were costly are not counted again at once, unless nothing is at work
- a clock that is set back puts nothing off
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from populate_operator.queue.backoff import Backoff
from populate_operator.queue.conditions import Trouble
from populate_operator.queue.memory import Memory
from populate_operator.queue.progress import build_target
from populate_operator.queue.status import JobCounts, LastRefresh
from populate_operator.queue.store import Figures
from tests.unit.queue.builders import NOW, succeeded_pod

FIGURES = Figures(JobCounts(), build_target(0, 0), ())
QUICK, SLOW = 0.01, 0.4


def refreshed(*, added: int) -> LastRefresh:
    return LastRefresh(time=NOW, seconds=0.1, added=added, removed=0, orphaned=0, re_pended=0)


@pytest.fixture
def counted() -> Memory:
    memory = Memory()
    memory.note_figures(FIGURES, memory.changes, QUICK, NOW)
    return memory


def test_a_new_queue_is_to_be_counted(counted: Memory) -> None:
    assert Memory().are_figures_due(NOW, is_idle=True)
    assert not counted.are_figures_due(NOW, is_idle=True)


@pytest.mark.parametrize("added", [0, 3])
def test_jobs_of_a_refresh_are_new_until_they_are_counted(counted: Memory, added: int) -> None:
    counted.note_refresh(refreshed(added=added), NOW)
    assert (counted.are_figures_stale, counted.has_new_jobs) == (True, added > 0)
    counted.note_figures(FIGURES, counted.changes, QUICK, NOW)
    assert (counted.are_figures_stale, counted.has_new_jobs) == (False, False)


def test_a_refresh_that_ends_during_the_count_is_counted_after_it(counted: Memory) -> None:
    counted.note_change()
    begun_with = counted.changes
    counted.note_refresh(refreshed(added=3), NOW)
    counted.note_figures(FIGURES, begun_with, QUICK, NOW)
    assert (counted.are_figures_stale, counted.has_new_jobs) == (True, True)


def test_new_jobs_stay_new_when_a_refresh_finds_no_more(counted: Memory) -> None:
    counted.note_refresh(refreshed(added=3), NOW)
    counted.note_refresh(refreshed(added=0), NOW)
    assert counted.has_new_jobs


def test_very_costly_figures_take_half_of_the_time_at_most(counted: Memory) -> None:
    counted.note_figures(FIGURES, counted.changes, 60.0, NOW)
    counted.note_change()
    assert not counted.are_figures_due(NOW + timedelta(seconds=59), is_idle=False)
    assert counted.are_figures_due(NOW + timedelta(seconds=60), is_idle=False)


def test_a_count_that_failed_is_tried_again_after_a_while_though_nothing_is_at_work(counted: Memory) -> None:
    counted.note_change()
    counted.note_count_failure(NOW)
    assert not counted.are_figures_due(NOW + timedelta(seconds=9), is_idle=True)
    assert counted.are_figures_due(NOW + timedelta(seconds=10), is_idle=True)


def test_costly_figures_keep_their_distance(counted: Memory) -> None:
    counted.note_figures(FIGURES, counted.changes, SLOW, NOW)
    counted.note_change()
    assert not counted.are_figures_due(NOW + timedelta(seconds=7), is_idle=False)
    assert counted.are_figures_due(NOW + timedelta(seconds=8), is_idle=False)
    assert counted.are_figures_due(NOW, is_idle=True)


def test_a_clock_that_is_set_back_puts_nothing_off() -> None:
    memory, before = Memory(), NOW - timedelta(hours=1)
    memory.note_clock(NOW)
    memory.refreshed_at = memory.status_written_at = NOW
    memory.note_refresh_failure(Trouble("DatabaseBusy", ""), NOW, is_database=True)
    memory.note_count_failure(NOW)
    memory.note_settled(3, NOW)
    memory.backoff = Backoff().after_failure(NOW, "ImagePullBackOff", "")
    memory.key_source.fingerprint = "template"
    memory.key_source.fail("template", "no answer", NOW)

    memory.note_clock(before)
    times = (memory.refreshed_at, memory.refresh_not_before, memory.status_written_at)
    assert all(time is None for time in times)
    assert memory.are_figures_due(before, is_idle=False)
    assert not memory.settled
    assert not memory.backoff.is_pausing(before)
    assert memory.key_source.is_due("template", before, may_start=True)
    works = succeeded_pod(created_at=before + timedelta(seconds=1))
    assert memory.backoff.after_observing([works], before) == Backoff()


def test_a_clock_that_goes_on_changes_nothing() -> None:
    memory = Memory(refreshed_at=NOW)
    for seconds in (0, 0, 1):
        memory.note_clock(NOW + timedelta(seconds=seconds))
    assert memory.refreshed_at == NOW
