"""`Measurement` of `Sample`, for DataJoint and for us; every tenth sample cannot be measured."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from tests.integration.jobs.arena import Tables, declare

SAMPLES = 300
TOO_NOISY = "sample is too noisy: ± 0,5 µV"


def is_noisy(sample_id: int) -> bool:
    return sample_id % 10 == 7


def _make(table: Any, key: dict[str, Any]) -> None:
    """The `make` of a DataJoint class; `attempt` records who ran which key, outside the table's own key."""
    if is_noisy(key["sample_id"]):
        raise ValueError(TOO_NOISY)
    table.insert1({**key, "worker": "datajoint"})


def declare_measurement(instance: dj.Instance, name: str) -> Tables:
    """The classes, declared in schema `name` unless they are there."""
    tables: Tables = {}
    schema = instance.Schema(name)
    declare(schema, tables, dj.Manual, "Sample", "sample_id: int32")
    definition = "-> Sample\n---\nworker: varchar(20)"
    declare(schema, tables, dj.Computed, "Measurement", definition, make=_make)
    return tables
