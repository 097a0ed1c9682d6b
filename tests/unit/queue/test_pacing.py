"""How long the loop sleeps after a pass.

- not at all after one that was cut short
- after one that failed until it is worth another try: figures that are due are no reason then
- else until the plan changes by itself, figures are due or the status may be written
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from populate_operator.queue.findings import Findings
from populate_operator.queue.memory import FIRST_RETRY, LONGEST_RETRY, Memory
from populate_operator.queue.pacing import seconds_until_next
from tests.unit.queue.builders import NOW, ago, make_spec, observe

NEVER = 3600.0


def seconds(memory: Memory, found: Findings | None = None, status_due: float = NEVER) -> float:
    """The sleep of a queue that refreshed 20 s ago, as it does every minute."""
    observed = observe(last_refresh=ago(20))
    return seconds_until_next(make_spec(), observed, found or Findings(), memory, status_due, NOW)


def test_the_rest_of_a_pass_follows_at_once() -> None:
    assert seconds(Memory(), Findings(has_more=True)) == 0


def test_a_queue_at_rest_sleeps_until_its_refresh() -> None:
    assert seconds(Memory(changes=0)) == pytest.approx(40.1)


def test_stale_figures_and_a_status_that_was_kept_back_are_reasons_to_wake() -> None:
    assert seconds(Memory(figures_not_before=NOW + timedelta(seconds=4))) == 4
    assert seconds(Memory(), status_due=0.5) == 0.5


def test_while_they_are_counted_stale_figures_are_no_reason() -> None:
    assert seconds(Memory(figures_not_before=None)) == pytest.approx(40.1)


@pytest.mark.parametrize("failures", [1, 2, 3, 100])
def test_a_pass_that_failed_is_tried_again_after_a_pause_though_figures_are_overdue(failures: int) -> None:
    memory = Memory(failures=failures, figures_not_before=ago(5))
    longest = min(FIRST_RETRY * 2 ** (failures - 1), LONGEST_RETRY)
    assert longest / 2 <= seconds(memory) <= longest


@pytest.mark.parametrize(
    ("next_due", "due", "wait"), [(0.0, 0, 5.1), (0.0, 9, 40.1), (7.0, 0, 7.1), (None, 0, 40.1)]
)
def test_jobs_that_others_have_locked_are_looked_for_again(
    next_due: float | None, due: int, wait: float
) -> None:
    observed, found = observe(last_refresh=ago(20), due=due), Findings(next_due=next_due)
    found_wait = seconds_until_next(make_spec(), observed, found, Memory(changes=0), NEVER, NOW)
    assert found_wait == pytest.approx(wait)
