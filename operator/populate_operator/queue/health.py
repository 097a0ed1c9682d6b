"""What a pass says of its queue: what it found itself, and what the background has told since. Pure."""

from __future__ import annotations

from datetime import datetime

from populate_operator.queue.conditions import Health, Trouble, name_stuck, say_unscheduled
from populate_operator.queue.findings import Findings
from populate_operator.queue.memory import Memory
from populate_operator.queue.plan import Observed
from populate_operator.queue.resource import PopulateQueueSpec


def judge(
    spec: PopulateQueueSpec, observed: Observed, found: Findings, memory: Memory, now: datetime
) -> Health:
    """The health of a queue at the end of a pass."""
    refresh_setup = None if memory.is_refresh_trouble_database else memory.refresh_trouble
    key_source = memory.key_source.trouble if spec.key_source.from_class else None
    return Health(
        is_database_known=found.is_database_known,
        is_refreshed=memory.last_refresh is not None,
        has_new_jobs=memory.has_new_jobs,
        database=_database_trouble(found, memory),
        setup=found.setup or key_source or refresh_setup,
        backoff=memory.backoff,
        is_template_proved=memory.is_template_proved,
        stuck_pods=name_stuck(observed.pods.values(), now),
        unscheduled=say_unscheduled(observed.pods.values()),
        is_suspended=spec.suspend,
        is_deleting=observed.is_deleting,
    )


def _database_trouble(found: Findings, memory: Memory) -> Trouble | None:
    refresh = memory.refresh_trouble if memory.is_refresh_trouble_database else None
    # A pass that was cut short before it wrote does not show that a full or read-only database takes writes.
    shows_nothing = found.has_more and not found.has_written
    return found.database or refresh or (memory.database_trouble if shows_nothing else None)
