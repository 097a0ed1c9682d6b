"""How fast and how far: the figures of the status, as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from populate_operator.queue.status import TargetProgress


def build_target(total: int, populated: int) -> TargetProgress:
    """Progress of the table: `total` keys in the key source, of which `populated` are in the table."""
    percent = populated * 100 // total if total else 100
    return TargetProgress(total=total, populated=populated, percent=percent, done=f"{populated}/{total}")


def settled_per_minute(settled: Sequence[datetime], now: datetime, window_seconds: float) -> float:
    """Jobs per minute over the sliding window that ends now.

    `settled` holds the times of completions and final errors. A queue that began within the window is
    measured since its first, so that its rate is not understated.
    """
    lately = [time for time in settled if (now - time).total_seconds() <= window_seconds]
    if not lately:
        return 0.0
    observed = min(window_seconds, max((now - min(lately)).total_seconds(), 10.0))
    return len(lately) * 60.0 / observed


def rate_text(per_minute: float) -> str | None:
    """`118/min`, or `7/h` below one a minute; None when nothing was settled lately."""
    if per_minute <= 0:
        return None
    if per_minute >= 1:
        return f"{_two_digits(per_minute)}/min"
    return f"{_two_digits(max(per_minute * 60, 1))}/h"


def eta_text(jobs_left: int, per_minute: float) -> str | None:
    """Time until `jobs_left` are done, such as 40s, 12m, 3h or 2d; None where nobody can say."""
    if jobs_left <= 0 or per_minute <= 0:
        return None
    seconds = jobs_left * 60.0 / per_minute
    for unit, size, limit in (("s", 1, 60), ("m", 60, 3600), ("h", 3600, 2 * 86400)):
        if seconds < limit:
            return f"{max(round(seconds / size), 1)}{unit}"
    return f"{round(seconds / 86400)}d"


def _two_digits(number: float) -> str:
    # 118 and 121 a minute are the same news; a status that flickers would be written every second.
    magnitude: float = 10 ** max(len(str(int(number))) - 2, 0)
    return str(int(round(number / magnitude) * magnitude))
