"""Messages are cut as DataJoint cuts them; settled rows keep what a settlement does not change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from populate_operator.jobs import Complete, Error, Fence, Ignore, Job, Release, Settlement
from populate_operator.jobs.settle import _COLUMNS, build_settled_row
from populate_operator.jobs.settlements import fit_message
from tests.unit.jobs.builders import build_target

NOON = datetime(2026, 1, 1, 12)
KEY = build_target().keys.key({"subject": 1, "method": "otsu"})
FENCE = Fence("owner", "pod-1")
JOB = Job(
    KEY, "reserved", 3, NOON, NOON, NOON, None, None, "", None, *FENCE, pid=2, connection_id=0, version="v",
    reserved_seconds=5.0, completed_at=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("message", "cut"),
    [
        ("short", "short"),
        ("a" * 2047, "a" * 2047),
        ("a" * 2048, "a" * 2035 + "...truncated"),
        ("é" * 5000, "é" * 2035 + "...truncated"),
        ("half \ud83d pair", "half ? pair"),
    ],
)
def test_messages_are_cut_to_what_the_column_holds(message: str, cut: str) -> None:
    assert fit_message(message) == cut


@pytest.mark.parametrize(
    ("charset", "fitted"),
    [
        ("utf8mb4", "größer → 🐭 失"),
        ("utf8mb3", "größer → ? 失"),
        ("latin1", "größer ? ? ?"),
        ("koi8r", "gr??er ? ? ?"),
    ],
)
def test_what_a_character_set_lacks_becomes_a_question_mark(charset: str, fitted: str) -> None:
    assert fit_message("größer → 🐭 失", charset) == fitted


CASES: list[tuple[Settlement, dict[str, Any]]] = [
    (Complete(KEY, FENCE, 1.5), {"status": "success", "duration": 1.5, "host": "pod-1", "pid": 2}),
    (Error(KEY, FENCE, "bad", duration=2.0), {"status": "error", "duration": 2.0, "host": "pod-1"}),
    (Ignore(KEY, FENCE), {"status": "ignore", "priority": 3, "host": "pod-1", "reserved_time": NOON}),
    (Release(KEY, FENCE), {"status": "pending", "pid": 2, "host": "", "user": "", "reserved_time": None}),
    (Release(KEY, FENCE, counted=False), {"status": "pending", "pid": 1, "priority": 3, "version": ""}),
]


@pytest.mark.parametrize(("settlement", "expected"), CASES)
def test_what_a_settlement_writes(settlement: Settlement, expected: dict[str, Any]) -> None:
    row = dict(zip(_COLUMNS, build_settled_row(settlement, JOB, "utf8mb4"), strict=True))
    assert {name: row[name] for name in expected} == {n: ("%s", (v,)) for n, v in expected.items()}


def test_a_delay_is_counted_by_the_database() -> None:
    row = dict(zip(_COLUMNS, build_settled_row(Release(KEY, FENCE, 2.5), JOB, "utf8mb4"), strict=True))
    expression = "CURRENT_TIMESTAMP(3) + INTERVAL %s MICROSECOND"
    assert row["scheduled_time"] == (expression, (2_500_000,))
