"""What the class was asked: its key source. The last answer is kept while a new image or class is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from populate_operator.pods.probe import LONGEST_SECONDS
from populate_operator.pods.view import PodView, Waiting
from populate_operator.queue.backoff import pause_after
from populate_operator.queue.conditions import Trouble
from populate_operator.queue.plan.deadlines import start_failure
from populate_operator.queue.plan.lifecycle import is_stuck
from populate_operator.queue.resource import PopulateQueueSpec

_ASKING = Trouble("AskingKeySource", "a pod asks the class for its key source")
_UNKNOWN = "KeySourceUnknown"
_PATIENCE = timedelta(seconds=LONGEST_SECONDS + 60)  # by then a kubelet that answers has ended the pod
_USUAL = frozenset({"", "ContainerCreating", "PodInitializing"})  # every pod that starts waits so


@dataclass(slots=True)
class KeySourceAnswer:
    """What was told, and how the asking goes. A fingerprint stands for one version of template and class.

    A new version is asked at once, one that failed again after a pause as long as those of pods that cannot
    start. Meanwhile `query` stays what it was: figures by the last answer are better than by none.
    """

    query: str | None = None  # the last that was told, as the present pass goes by it
    told_by: str = ""  # the fingerprint that told it
    news: tuple[str, str] | None = None  # fingerprint and query, for the next pass
    fingerprint: str = ""  # what is being asked, or was asked last
    trouble: Trouble | None = None
    failures: int = 0
    retry_at: datetime | None = None  # None unless it failed
    is_put_off: bool = False  # no pod was to be started: only the report of an earlier one is looked for

    def take(self) -> str | None:
        """The query for one pass, at whose beginning alone news is taken up.

        Else a refresh might use the table of the last answer and be taken for one by the new.
        """
        if self.news:
            (self.told_by, self.query), self.news = self.news, None
        return self.query

    def is_known(self, spec: PopulateQueueSpec, fingerprint: str) -> bool:
        """Whether there is a key source to refresh and to reserve by: no older class's."""
        return not spec.key_source.from_class or self.told_by == fingerprint

    def is_told(self, spec: PopulateQueueSpec) -> bool:
        """Whether there is a key source to count by, even if an older class told it."""
        return not spec.key_source.from_class or self.query is not None

    def is_due(self, fingerprint: str, now: datetime, *, may_start: bool) -> bool:
        """Whether to ask now; `may_start` unless no pod is to be started."""
        if fingerprint != self.fingerprint or (self.is_put_off and may_start):
            return True
        return self.retry_at is not None and now >= self.retry_at

    def ask_again_by(self, now: datetime) -> None:
        """End the pause after a try that failed, if there is one."""
        self.retry_at = self.retry_at and now

    def begin(self, fingerprint: str, *, may_start: bool) -> None:
        """The class is being asked. The trouble of a failed try stays until another has succeeded."""
        if fingerprint != self.fingerprint or self.is_put_off:
            self.failures, self.trouble = 0, None
        self.fingerprint, self.retry_at, self.is_put_off = fingerprint, None, not may_start
        if may_start and self.trouble is None:
            self.trouble = _ASKING

    def note_waiting(self, waiting: Waiting | None) -> bool:
        """Say what the pod that asks waits for; whether that is news."""
        if waiting is None or waiting.reason in _USUAL:
            trouble = _ASKING
        else:
            trouble = Trouble(
                _ASKING.reason, f"{_ASKING.message}; it waits: {waiting.reason}: {waiting.message}"
            )
        if self.trouble is None or self.trouble.reason != _ASKING.reason or self.trouble == trouble:
            return False
        self.trouble = trouble
        return True

    def succeed(self, fingerprint: str, query: str) -> None:
        """The class told its key source."""
        if fingerprint == self.fingerprint:
            self.news, self.trouble, self.failures = (fingerprint, query), None, 0

    def put_off(self, fingerprint: str) -> None:
        """No earlier pod has told, and none may be started; that is a trouble where no other class told."""
        if fingerprint == self.fingerprint and self.is_put_off and self.query is None:
            self.trouble = Trouble(
                _UNKNOWN, "spec.suspend is true: the class is asked for its key source once it is false"
            )

    def fail(self, fingerprint: str, message: str, now: datetime) -> float:
        """It did not tell. Seconds until it is to be asked again, 0.0 where another is asked by now."""
        if fingerprint != self.fingerprint:
            return 0.0
        pause = pause_after(self.failures)
        self.failures += 1
        self.trouble, self.retry_at = Trouble(_UNKNOWN, message), now + pause
        return pause.total_seconds()


def why_in_vain(spec: PopulateQueueSpec, pod: PodView, now: datetime) -> str | None:
    """Why the pod that asks is waited for no longer, by the rules of job pods; None while it may yet tell."""
    if failure := start_failure(pod, spec, now):
        return f"{failure.reason}: {failure.message}"
    if is_stuck(pod, now):
        return f"it was deleted, and node {pod.node} does not confirm its end: bring the node back"
    if pod.started_at and pod.deleting_since is None and now - pod.started_at > _PATIENCE:
        return f"node {pod.node} has not ended it after {LONGEST_SECONDS} s: see whether the node answers"
    return None
