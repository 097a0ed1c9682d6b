"""When the next pass of a queue is due by itself. Pure, but for the spread of the pauses."""

from __future__ import annotations

from datetime import datetime, timedelta

from populate_operator.queue.findings import Findings
from populate_operator.queue.memory import Memory, retry_seconds
from populate_operator.queue.plan import Observed, next_wake
from populate_operator.queue.resource import PopulateQueueSpec

_LOCKED_SECONDS = 5.0  # until jobs are looked for that somebody else had locked


def seconds_until_next(
    spec: PopulateQueueSpec,
    observed: Observed,
    found: Findings,
    memory: Memory,
    status_due: float,
    now: datetime,
) -> float:
    """Seconds until the next pass, 0.0 where this one was cut short.

    `status_due`: seconds until the status may be written that this pass had to keep back.
    """
    if found.has_more:
        return 0.0
    times = [now + timedelta(seconds=status_due)]
    if memory.failures:  # within seconds, and until then nothing else is worth a try
        times.append(now + timedelta(seconds=retry_seconds(memory.failures)))
    else:
        times.append(next_wake(spec, observed, now, _next_due(observed, found)))
        if memory.are_figures_stale and memory.figures_not_before:
            times.append(memory.figures_not_before)
    return max((min(times) - now).total_seconds(), 0.0)


def _next_due(observed: Observed, found: Findings) -> float | None:
    """Seconds until jobs may be reserved; None where that depends on other things than time."""
    if found.next_due == 0.0 and observed.due == 0:
        return _LOCKED_SECONDS  # all were reserved, but for those that others have locked
    return found.next_due or None
