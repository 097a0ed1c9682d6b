"""What each outcome means for the job's row; what of a row is shown; pods whose key is none.

Cases: complete, error, retry, OOM kill counted and carried, disruption and failed start uncounted, ignore; a
key that cannot be read, and one that the database cannot hold.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from populate_operator import jobs
from populate_operator.jobs import BadKey, Fence, Job, JobTable, Key, Settlement
from populate_operator.queue.outcome import (
    CannotStart,
    Complete,
    Disrupted,
    Failed,
    Ignored,
    Outcome,
    RetryLater,
)
from populate_operator.queue.plan import Reservation
from populate_operator.queue.store import QueueStore, _recent_error, _reservation, build_settlement, owner_of
from populate_operator.queue.threads import Threads
from tests.unit.jobs.builders import build_target
from tests.unit.queue.builders import make_pod

KEY = build_target().keys.key({"subject": 1, "method": "otsu"})
FENCE = Fence(owner_of("installation", "queue"), "q-abc")
JOB = Reservation(KEY.json, FENCE.host, attempt=2, age=5.0, oom_kills=1)


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [
        (Complete(2.5), jobs.Complete(KEY, FENCE, 2.5)),
        (Failed("boom", "trace", 1.0), jobs.Error(KEY, FENCE, "boom", "trace", 1.0)),
        (RetryLater(20.0, "boom", ""), jobs.Release(KEY, FENCE, 20.0, carry=1)),
        (RetryLater(20.0, "OOM", "", is_oom=True), jobs.Release(KEY, FENCE, 20.0, carry=2)),
        (Disrupted("Evicted", ""), jobs.Release(KEY, FENCE, counted=False, carry=1)),
        (CannotStart("ImagePullBackOff", ""), jobs.Release(KEY, FENCE, counted=False, carry=1)),
        (Ignored(""), jobs.Ignore(KEY, FENCE)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_outcome_is_one_settlement(outcome: Outcome, settlement: Settlement) -> None:
    assert build_settlement(KEY, FENCE, JOB, outcome) == settlement


NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("end", [NOW - timedelta(hours=3), None])
def test_an_error_is_shown_with_the_moment_of_its_end(end: datetime | None) -> None:
    """Not `completed_time`, which is in the zone of the server; now, where nobody wrote when it was."""
    local = datetime(2026, 10, 1, 11)
    job = Job(
        KEY, "error", 5, local, local, local, local, None, "boom", None, *FENCE, pid=1, connection_id=0,
        version="v", reserved_seconds=9.0, completed_at=end,
    )  # fmt: skip
    assert _recent_error(job, NOW).time == (end or NOW)


@pytest.mark.parametrize(
    ("written", "attempt", "kills"), [(2, 3, 2), (2, 2, 1), (4_000_000_000, 1, 0), (3, 0, 0)]
)
def test_no_more_oom_kills_than_attempts_are_believed(written: int, attempt: int, kills: int) -> None:
    local = datetime(2026, 10, 1, 11)
    job = Job(
        KEY, "reserved", 5, local, local, local, None, None, "", None, *FENCE, pid=attempt,
        connection_id=written, version="v", reserved_seconds=9.0, completed_at=None,
    )  # fmt: skip
    assert _reservation(job).oom_kills == kills


class Table:
    """A job table that takes no key back."""

    keys = build_target().keys

    def key(self, text: str) -> Key:
        return self.keys.from_json(text)

    def take_back(self, key: Key, **_: Any) -> bool:
        raise BadKey(f"the database cannot hold {key}")


@pytest.mark.parametrize(
    "key", ["{}", "no JSON", KEY.json], ids=["incomplete", "unreadable", "not to be held"]
)
async def test_a_pod_with_an_edited_key_has_no_job_and_stops_nothing(key: str) -> None:
    threads = Threads(1)
    store = QueueStore(cast(JobTable, Table()), owner=FENCE.owner, lane=threads.lane("server"))
    assert await store.take_back(make_pod(key=key), version="v") is None
    threads.close()
