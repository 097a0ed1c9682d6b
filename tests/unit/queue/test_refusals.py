"""Which answers of the API server are a no to a pod, and what the queue says of them."""

from __future__ import annotations

import pytest

from populate_operator.pods.errors import status_error
from populate_operator.queue.effects import is_refusal, refusal


@pytest.mark.parametrize(
    ("status", "message", "is_no"),
    [
        (403, "exceeded quota", True),
        (404, "namespace", True),
        (422, "Invalid", True),
        (429, "too many requests", True),  # turned away unread
        (500, 'failed calling webhook "x"', True),
        (500, "internal", False),
        (503, "unavailable", False),
        (504, "timeout", False),  # it may have been done
    ],
)
def test_no_is_what_leaves_no_pod(status: int, message: str, is_no: bool) -> None:
    assert is_refusal(status_error(status, "", message)) == is_no


@pytest.mark.parametrize(
    ("status", "message", "reason", "remedy"),
    [
        (403, "exceeded quota: e2e", "QuotaExceeded", "raise the namespace's ResourceQuota"),
        (429, "too many requests", "ApiOverloaded", "tried again"),
        (422, "spec: Invalid value", "PodRefused", "Invalid value"),
        (
            422,
            "must be less than or equal to memory limit of 1Gi",
            "PodRefused",
            "LimitRange of the namespace",
        ),
    ],
)
def test_it_is_told_with_its_remedy(status: int, message: str, reason: str, remedy: str) -> None:
    told = refusal(status_error(status, "", message))
    assert told.reason == reason
    assert remedy in told.message
