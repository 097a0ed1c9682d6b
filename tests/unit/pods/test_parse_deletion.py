"""What a pod's metadata tells of its deletion, and of who keeps it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from populate_operator.pods.parse import view_of

OURS, OTHERS = "populate.datajoint.io/outcome", "example.com/other"


def test_since_when_it_is_deleted() -> None:
    raw = {"metadata": {"deletionTimestamp": "2026-01-02T03:05:06Z"}}
    assert view_of(raw).deleting_since == datetime(2026, 1, 2, 3, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("finalizers", "is_ours"), [(None, False), ([], False), ([OTHERS], False), ([OTHERS, OURS], True)]
)
def test_only_our_finalizer_counts(finalizers: list[str] | None, is_ours: bool) -> None:
    assert view_of({"metadata": {"finalizers": finalizers}}).has_finalizer == is_ours


@pytest.mark.parametrize(
    ("grace", "finalizers", "is_kept"),
    [
        (0, [OTHERS], True),
        (0, [OURS, OTHERS], True),
        (30, [OTHERS], False),  # the kubelet is still asked
        (None, [OTHERS], False),
        (0, [OURS], False),
        (0, [], False),  # the API server failed between marking and removing it
        ("soon", [OTHERS], False),
    ],
)
def test_others_keep_it_where_no_grace_is_left(grace: Any, finalizers: list[str], is_kept: bool) -> None:
    raw = {"metadata": {"deletionGracePeriodSeconds": grace, "finalizers": finalizers}}
    assert view_of(raw).is_kept_by_others == is_kept
