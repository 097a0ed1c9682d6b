"""What the target has, whatever the queue says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from populate_operator.jobs import job_statements, refresh_statements
from populate_operator.jobs.batches import batches
from populate_operator.jobs.context import Context, check_source
from populate_operator.jobs.database import Database
from populate_operator.jobs.keys import Key
from populate_operator.jobs.relations import Relation

_BATCH = 200


class TargetProgress(NamedTuple):
    """Keys in the restricted key source, and how many of them the target has."""

    total: int
    populated: int


def count_populated(database: Database, context: Context, source: Relation) -> TargetProgress:
    """How far the target is populated.

    Raises BadKeySource when the server refuses `source`.
    """
    check_source(database, source)
    is_distinct = context.key_source.is_default
    statement = refresh_statements.build_count_target(context.queue, source, is_distinct=is_distinct)
    total, populated = database.fetch(statement)[0]
    return TargetProgress(int(total), int(populated))


def find_in_target(database: Database, context: Context, keys: Sequence[Key]) -> set[Key]:
    """Those of `keys` that the target has, by the target's own equality."""
    present: set[Key] = set()
    for batch in batches(keys, _BATCH):
        statement = job_statements.build_in_target(context.queue, [key.parameters for key in batch])
        row = database.fetch(statement)[0]
        present.update(key for key, found in zip(batch, row, strict=True) if found)
    return present
