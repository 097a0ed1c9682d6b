"""Reads what the runner reports: the other side of `runner.py`, whose functions are its format.

A termination message is one JSON object: `error_message` and `error_stack` of a failure, or `key_source`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from populate_operator.pods.runner import KEY_SOURCE_MARK


class ErrorReport(NamedTuple):
    """A failure as the runner saw it."""

    message: str  # "ValueError: bad voltage"
    stack: str  # the traceback, its beginning cut where it is long; "" when the message says it all


def parse_termination_message(text: str) -> ErrorReport | None:
    """The failure that the runner reported, or None where the message is not the runner's."""
    report = _parse_object(text)
    message, stack = report.get("error_message"), report.get("error_stack")
    if not isinstance(message, str) or not isinstance(stack, str):
        return None
    return ErrorReport(message, stack)


def parse_key_source(message: str, log: str) -> str | None:
    """The SELECT that the runner reported: from the termination message, or from the log when it is long.

    DataJoint doubles each `%` in it. None where the runner reported no key source.
    """
    found = _parse_object(message).get("key_source")
    if isinstance(found, str):
        return found
    marked = [
        line.removeprefix(KEY_SOURCE_MARK) for line in log.splitlines() if line.startswith(KEY_SOURCE_MARK)
    ]
    logged = _parse_object(marked[-1]).get("key_source") if marked else None
    return logged if isinstance(logged, str) else None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: "[[[[..." of a program that means no report
        return {}
    return parsed if isinstance(parsed, dict) else {}
