"""What the class was asked: its key source, known until image or class change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from populate_operator.queue.conditions import Trouble

_RETRY_FACTOR = 10.0  # a failed pod is dearer than a failed query
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class KeySourceAnswer:
    """The answer for one fingerprint of template and class; a changed one is asked anew."""

    fingerprint: str = ""
    query: str | None = None
    trouble: Trouble | None = None
    failures: int = 0
    not_before: datetime = _BEGINNING

    def begin(self, fingerprint: str) -> None:
        """The class is being asked."""
        self.fingerprint, self.query = fingerprint, None
        self.trouble = self.trouble or Trouble("AskingKeySource", "a pod asks the class for its key source")

    def succeed(self, fingerprint: str, query: str) -> None:
        """The class told its key source."""
        if fingerprint == self.fingerprint:
            self.query, self.trouble, self.failures = query, None, 0

    def fail(self, fingerprint: str, trouble: Trouble, now: datetime, pause: Callable[[int], float]) -> None:
        """It did not; it is asked again after a pause, at once where image or class changed meanwhile."""
        if fingerprint == self.fingerprint:
            self.failures += 1
            self.fingerprint, self.trouble = "", trouble
            self.not_before = now + timedelta(seconds=pause(self.failures) * _RETRY_FACTOR)
