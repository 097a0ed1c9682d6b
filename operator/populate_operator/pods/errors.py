"""What can go wrong when the API server is asked, by what the caller can do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An answer of the API server that is not the one asked for.

    `status` is the HTTP status (0: no answer), `reason` Kubernetes' word for it (`AlreadyExists`,
    `Forbidden`, ...), `message` what was asked and its sentence, `sentence` that alone.
    """

    def __init__(self, message: str, *, reason: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message, self.reason, self.status = message, reason, status
        self.sentence = message


class NotFound(ApiError):
    """404: the object, or its namespace, does not exist."""


class Conflict(ApiError):
    """409: the name is taken (`already_exists`), or the object changed in between."""

    @property
    def already_exists(self) -> bool:
        """Whether the name is taken."""
        return self.reason == "AlreadyExists"


class Expired(ApiError):
    """410: the resource version or continue token is too old; list again."""


class Refused(ApiError):
    """The API server understood the request and says no: 400, 403, 422, quota, admission.

    Asking again without a change gets the same answer.
    """

    @property
    def is_quota(self) -> bool:
        """Whether a ResourceQuota is used up: time, not a change of the request, may mend it."""
        return self.status == 403 and "exceeded quota" in self.message

    @property
    def is_namespace_terminating(self) -> bool:
        """Whether the namespace is on its way out, so that nothing new is let in."""
        return self.status == 403 and "because it is being terminated" in self.message


class Unreachable(ApiError):
    """No usable answer after all retries: whether the request took effect is unknown.

    `retry_after` is the pause in seconds that the server asked for.
    """

    def __init__(
        self, message: str, *, reason: str = "", status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, status=status)
        self.retry_after = retry_after


def error_of(status: int, body: bytes, headers: Mapping[str, str], *, what: str) -> ApiError:
    """The error of an HTTP answer; `what` was asked, as `POST /api/v1/...`."""
    answer = _status_object(body)
    reason = str(answer.get("reason") or "")
    sentence = str(answer.get("message") or body[:200].decode(errors="replace").strip() or "no message")
    error = status_error(status, reason, f"{what}: {sentence}", _retry_after(headers, answer))
    error.sentence = sentence
    return error


def status_error(status: int, reason: str, message: str, retry_after: float | None = None) -> ApiError:
    """The error for an HTTP status with Kubernetes' reason and message."""
    match status:
        case 404:
            return NotFound(message, reason=reason, status=status)
        case 409:
            return Conflict(message, reason=reason, status=status)
        case 410:
            return Expired(message, reason=reason, status=status)
        # An admission webhook that fails closed answers 500, and so nothing was written.
        case 500 if "failed calling webhook" in message:
            return Refused(message, reason="WebhookFailed", status=status)
        # 401 says nothing of the request: the operator's own token is being rotated, or is wrong.
        case 400 | 402 | 403 | 405 | 406 | 413 | 415 | 422:
            return Refused(message, reason=reason, status=status)
        case _:
            return Unreachable(message, reason=reason, status=status, retry_after=retry_after)


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:  # a proxy's HTML page
        return {}
    return answer if isinstance(answer, dict) else {}


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    details = answer.get("details")
    asked = headers.get("Retry-After") or (
        details.get("retryAfterSeconds") if isinstance(details, dict) else None
    )
    try:
        return max(0.0, float(asked)) if asked is not None else None
    except (TypeError, ValueError):  # an HTTP date: Kubernetes never sends one
        return None
