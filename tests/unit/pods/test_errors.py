"""Answers of the API server as errors, by what can be done about them.

Cases: each status; quota and webhooks; Retry-After from header or body; answers that are no Status.
"""

from __future__ import annotations

import json

import pytest

from populate_operator.pods.errors import (
    ApiError,
    Conflict,
    Expired,
    NotFound,
    Refused,
    Unreachable,
    error_of,
)


def answer(status: int, reason: str = "", message: str = "no", **details: object) -> ApiError:
    body = {"kind": "Status", "reason": reason, "message": message, "details": details}
    return error_of(status, json.dumps(body).encode(), {}, what="POST /pods")


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (400, "BadRequest", "strict decoding error", Refused),
        (401, "Unauthorized", "Unauthorized", Unreachable),
        (403, "Forbidden", "cannot create pods", Refused),
        (403, "Forbidden", "exceeded quota: q", Refused),
        (404, "NotFound", "pods not found", NotFound),
        (409, "AlreadyExists", "exists", Conflict),
        (409, "Conflict", "modified", Conflict),
        (410, "Expired", "too old", Expired),
        (413, "RequestEntityTooLarge", "too large", Refused),
        (422, "Invalid", "spec.containers: Required", Refused),
        (429, "TooManyRequests", "later", Unreachable),
        (500, "InternalError", "etcdserver: request timed out", Unreachable),
        (500, "InternalError", "Internal error occurred: failed calling webhook", Refused),
        (502, "", "", Unreachable),
        (503, "ServiceUnavailable", "starting", Unreachable),
        (504, "Timeout", "timed out", Unreachable),
    ],
)
def test_each_status_has_its_error(status: int, reason: str, message: str, kind: type[ApiError]) -> None:
    error = answer(status, reason, message)
    assert type(error) is kind
    assert error.status == status
    assert str(error).startswith("POST /pods: ")


def test_quota_and_taken_names_are_told_apart() -> None:
    quota, rights = answer(403, "Forbidden", "exceeded quota: q"), answer(403, "Forbidden", "no rights")
    assert isinstance(quota, Refused)
    assert isinstance(rights, Refused)
    assert (quota.is_quota, rights.is_quota) == (True, False)
    taken, changed = answer(409, "AlreadyExists"), answer(409, "Conflict")
    assert isinstance(taken, Conflict)
    assert isinstance(changed, Conflict)
    assert (taken.already_exists, changed.already_exists) == (True, False)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "3"}, {}, 3.0),
        ({}, {"retryAfterSeconds": 7}, 7.0),
        ({"Retry-After": "3"}, {"retryAfterSeconds": 7}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "-5"}, {}, 0.0),
        ({}, {}, None),
    ],
)
def test_retry_after(headers: dict[str, str], details: dict[str, object], seconds: float | None) -> None:
    error = error_of(429, json.dumps({"details": details}).encode(), headers, what="GET /pods")
    assert isinstance(error, Unreachable)
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[1]", b"", b"\xff\xfe", b'{"details": []}'])
def test_an_answer_that_is_no_status(body: bytes) -> None:
    error = error_of(502, body, {}, what="GET /pods")
    assert isinstance(error, Unreachable)
    assert error.message.startswith("GET /pods: ")
    assert len(error.message) > len("GET /pods: ")
