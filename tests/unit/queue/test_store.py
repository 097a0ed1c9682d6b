"""What each outcome means for the job's row.

Cases: complete, error, retry, OOM kill counted and carried, disruption and failed start uncounted, ignore.
"""

from __future__ import annotations

import pytest

from populate_operator import jobs
from populate_operator.jobs import Fence, Settlement
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
from populate_operator.queue.store import build_settlement, owner_of
from tests.unit.jobs.builders import build_target

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
