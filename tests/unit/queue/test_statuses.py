"""The metrics of a queue follow its status.

- they are there after a restart too, when the status has nothing new to write
- they go with the queue
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from prometheus_client import REGISTRY

from populate_operator.metrics import forget_queue
from populate_operator.pods.names import QUEUE_UID_LABEL
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.conditions import Health
from populate_operator.queue.memory import Memory
from populate_operator.queue.report import Facts, build_status
from populate_operator.queue.services import Services
from populate_operator.queue.status import JobCounts, QueueStatus, dump_status
from populate_operator.queue.statuses import NEVER, StatusWriter
from tests.unit.queue.builders import NOW

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "uid-1")
LABELS = {"namespace": QUEUE.namespace, "queue": QUEUE.name}
HEALTH = Health(is_suspended=True, is_database_known=False)
NOTHING_TO_WRITE_TO = cast(Services, None)


@pytest.fixture
async def restarted() -> AsyncIterator[float]:
    """An operator that starts anew and finds the status as the last one left it; when it is due to write."""
    facts = Facts(
        generation=1,
        health=HEALTH,
        jobs=JobCounts(pending=3, error=2, total=5),
        selector=f"{QUEUE_UID_LABEL}={QUEUE.uid}",
    )
    body = {"status": dump_status(build_status(facts, QueueStatus(), NOW))}
    writer = StatusWriter(QUEUE, NOTHING_TO_WRITE_TO, Memory())
    writer.restore(body)
    yield await writer.write(1, HEALTH, ())
    forget_queue(QUEUE.namespace, QUEUE.name)


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, LABELS | labels)


def test_metrics_are_there_when_there_is_nothing_to_write(restarted: float) -> None:
    assert restarted == NEVER
    assert metric("populate_queue_jobs", status="pending") == 3
    assert metric("populate_queue_jobs", status="error") == 2
    assert metric("populate_queue_jobs", status="total") is None  # the sum of the others
    assert metric("populate_queue_condition", type="Suspended") == 1
    assert metric("populate_queue_condition", type="Degraded") == 0
    assert metric("populate_queue_condition", type="Ready") == -1


@pytest.mark.usefixtures("restarted")
def test_metrics_go_with_the_queue() -> None:
    forget_queue(QUEUE.namespace, QUEUE.name)
    assert metric("populate_queue_jobs", status="pending") is None
    assert metric("populate_queue_condition", type="Ready") is None
