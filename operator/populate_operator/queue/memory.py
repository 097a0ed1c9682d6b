"""What one queue remembers between passes: caches only, all of it read again after a restart."""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from populate_operator.queue.asked import KeySourceAnswer
from populate_operator.queue.backoff import Backoff
from populate_operator.queue.conditions import Trouble
from populate_operator.queue.resource import PopulateQueueSpec
from populate_operator.queue.status import LastRefresh, QueueStatus
from populate_operator.queue.store import Figures

RATE_WINDOW_SECONDS = 300.0
_LEAST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=10)
_LOAD = 20  # figures that took a tenth of a second are due again after two; costly ones take half the time
# Seconds. Back within 5 s of the database's return however long it was away: a try that began just before
# has sent its last SYN after 3 s, and gives up after 5.
FIRST_RETRY, LONGEST_RETRY = 0.5, 2.5


@dataclass(slots=True)
class Memory:
    """The caches of one queue."""

    status: QueueStatus = field(default_factory=QueueStatus)
    status_written_at: datetime | None = None
    backoff: Backoff = field(default_factory=Backoff)

    last_refresh: LastRefresh | None = None
    refreshed_at: datetime | None = None  # when the last refresh began
    refresh_requested: bool = False
    refresh_not_before: datetime | None = None
    refresh_trouble: Trouble | None = None  # why the last refresh failed
    is_refresh_trouble_database: bool = False
    refresh_failures: int = 0

    proved_template: str = ""  # fingerprint of what the last accepted dry run was made of
    known_template: str = ""  # fingerprint of what was last seen
    known_generation: int = 0  # of the spec
    key_source: KeySourceAnswer = field(default_factory=KeySourceAnswer)

    figures: Figures | None = None
    changes: int = 1  # of what the figures tell; the first is that the queue was found
    counted: int = 0  # how many of these changes the figures hold
    added: int = 0  # the newest of them by which a refresh added jobs
    figures_not_before: datetime | None = None  # None also while they are being counted
    has_count_failed: bool = False
    settled: deque[datetime] = field(default_factory=lambda: deque(maxlen=100_000))
    database_trouble: Trouble | None = None  # as last reported
    setup_trouble: Trouble | None = None  # likewise
    failures: int = 0  # passes in a row that could not reach what they needed
    looked_at: datetime | None = None  # when the last pass began

    def note_clock(self, now: datetime) -> None:
        """A clock that was set back would put off for as long whatever waits for a time: none of it waits."""
        if self.looked_at and now < self.looked_at:
            self.refreshed_at = self.refresh_not_before = self.figures_not_before = None
            self.status_written_at = None
            self.settled.clear()
            self.backoff = self.backoff.since_at_most(now)
            self.key_source.ask_again_by(now)
        self.looked_at = now

    def note_spec(self, fingerprint: str, generation: int) -> None:
        """A changed template is proved anew, and the pause that the old one earned ends.

        Any other change of the spec may be the remedy as well, so that it is tried at once.
        """
        if generation != self.known_generation:
            self.known_generation, self.backoff = generation, self.backoff.without_pause()
        if fingerprint != self.known_template:
            self.known_template, self.backoff = fingerprint, Backoff()

    @property
    def is_template_proved(self) -> bool:
        """Whether the template as last seen was accepted."""
        return bool(self.known_template) and self.proved_template == self.known_template

    def note_refresh(self, result: LastRefresh, now: datetime) -> None:
        """A refresh succeeded; the next one keeps its distance even when asked for."""
        self.last_refresh, self.refresh_trouble, self.refresh_failures = result, None, 0
        self.refresh_not_before = now + max(_LEAST_PAUSE, timedelta(seconds=result.seconds))
        self.note_change()
        if result.added or result.orphaned or result.re_pended:
            self.added = self.changes

    def note_refresh_failure(self, trouble: Trouble, now: datetime, *, is_database: bool) -> None:
        """A refresh failed; it is tried again soon, then less so."""
        self.refresh_trouble, self.is_refresh_trouble_database = trouble, is_database
        self.refresh_failures += 1
        self.refresh_requested = True
        self.refresh_not_before = now + timedelta(seconds=retry_seconds(self.refresh_failures))

    def forget_refresh_trouble(self) -> None:
        """A pass has met another trouble since; the next refresh tells what is left of its own."""
        if not self.is_refresh_trouble_database:
            self.refresh_trouble = None

    def note_change(self) -> None:
        """Jobs were added, reserved or ended: the figures are stale."""
        self.changes += 1

    @property
    def are_figures_stale(self) -> bool:
        """Whether something has changed since they were counted."""
        return self.counted < self.changes

    @property
    def has_new_jobs(self) -> bool:
        """Whether a refresh has added jobs that are not counted yet."""
        return self.counted < self.added

    def note_figures(self, figures: Figures, changes: int, seconds: float, now: datetime) -> None:
        """Figures were counted in `seconds`, from when there were `changes`: a refresh may end meanwhile.

        What is expensive is counted less often.
        """
        self.figures, self.counted, self.has_count_failed = figures, changes, False
        longest = max(_LONGEST_PAUSE, timedelta(seconds=seconds))
        pause = min(timedelta(seconds=seconds * _LOAD), longest)
        self.figures_not_before = now + max(_LEAST_PAUSE, pause)

    def note_count_failure(self, now: datetime) -> None:
        """They could not be counted; passes and refreshes say why. It is tried again after a while."""
        self.has_count_failed, self.figures_not_before = True, now + _LONGEST_PAUSE

    def are_figures_due(self, now: datetime, *, is_idle: bool) -> bool:
        """Whether to count again now; at once where nothing is at work, for then the count will stand."""
        is_time = self.figures_not_before is None or now >= self.figures_not_before
        return self.are_figures_stale and (is_time or (is_idle and not self.has_count_failed))

    def note_settled(self, count: int, now: datetime) -> None:
        """`count` jobs ended; forgets those before the window of the rate."""
        self.settled.extend([now] * count)
        while self.settled and (now - self.settled[0]).total_seconds() > RATE_WINDOW_SECONDS:
            self.settled.popleft()


def retry_seconds(failures: int) -> float:
    """Pause before the next try after that many failures in a row, spread: queues share databases."""
    longest = min(FIRST_RETRY * 2.0 ** min(failures - 1, 10), LONGEST_RETRY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - protects nothing


def fingerprint(spec: PopulateQueueSpec) -> str:
    """Digest of everything that pods are made of."""
    parts = spec.model_dump(
        mode="json",
        include={"template", "runner", "database", "active_deadline_seconds", "schema_name", "table"},
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
