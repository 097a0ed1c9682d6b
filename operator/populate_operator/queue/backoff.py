"""The pause of a queue whose pods cannot start: a broken template must not churn pods, nor burn jobs.

While it lasts nothing is started; after it one pod is tried, and only when that one is seen to work does
the queue go on at its full width. It is a cache: lost in a restart, the next pod that fails brings it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import reason_beyond_the_job

FIRST = timedelta(seconds=10)
LONGEST = timedelta(minutes=5)
# A runner that cannot import its class ends within seconds; a pod that runs for longer does work.
PROVEN_AFTER = timedelta(seconds=30)


def pause_after(failures: int) -> timedelta:
    """How long nothing is started after one more failure than `failures` in a row."""
    pause: timedelta = FIRST * 2 ** min(failures, 10)
    return min(pause, LONGEST)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often in a row starting failed, when it last did and why, and until when nothing is started."""

    failures: int = 0
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    message: str = ""

    def is_pausing(self, now: datetime) -> bool:
        """Whether nothing may be started now."""
        return self.until is not None and now < self.until

    @property
    def is_probing(self) -> bool:
        """Whether starting failed lately, so that one pod at a time is tried."""
        return self.failures > 0

    def after_failure(self, now: datetime, reason: str, message: str) -> Backoff:
        """A pause twice as long as the last. What fails during a pause began before it and counts no more."""
        if self.is_pausing(now):
            return self
        return Backoff(self.failures + 1, now, now + pause_after(self.failures), reason, message)

    def without_pause(self) -> Backoff:
        """The next pod is tried now; the failures still count, should it fail too."""
        return replace(self, until=None)

    def since_at_most(self, now: datetime) -> Backoff:
        """The clock was set back: the pause ends, and what works from now on proves that starting works."""
        return replace(self, since=self.since and now, until=None)

    def after_observing(self, pods: Iterable[PodView], now: datetime) -> Backoff:
        """No pause any more once a pod that was created after the last failure works."""
        since = self.since
        if since is None or not any(pod.created_at > since and _works(pod, now) for pod in pods):
            return self
        return Backoff()


def _works(pod: PodView, now: datetime) -> bool:
    match pod.phase:
        case "Succeeded":
            return True
        case "Failed":
            return pod.started_at is not None and reason_beyond_the_job(pod) is None
        case _:
            return pod.started_at is not None and now - pod.started_at >= PROVEN_AFTER
