"""What one pass learns beside the plan's observation."""

from __future__ import annotations

from dataclasses import dataclass

from populate_operator.queue.conditions import Trouble
from populate_operator.queue.plan import Reservation


@dataclass(slots=True)
class Findings:
    """What a pass found of the database, and what it ran into."""

    reservations: dict[str, Reservation] | None = None
    next_due: float | None = None
    is_database_known: bool = False
    database: Trouble | None = None
    setup: Trouble | None = None
    is_incomplete: bool = False  # something failed and is to be tried again soon
    has_written: bool = False  # to the database
    has_more: bool = False  # the pass was cut short: the next is due at once
