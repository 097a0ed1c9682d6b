"""Reads what the runner reports: the other side of `runner.py`, whose functions are its format.

A termination message is one JSON object: `error_message` and `error_stack` of a failure, or `key_source`.
The kubelet grants the messages of a pod 12288 bytes (`normalizeStatus` in its status manager) and cuts each
container's to an equal share: with four of them, init containers among them, the end may be missing.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from populate_operator.pods.runner import CUT, KEY_SOURCE_MARK

# What the runner writes before the message, and between it and the stack.
_BEGINNING, _BETWEEN = '{"error_message": "', '", "error_stack": "'
# The characters of a JSON string, perhaps the beginning of another where the text ends, and what follows.
_STRING = re.compile(
    r'\A((?:[^"\\\x00-\x1f]+|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)(?:\\(?:u[0-9a-fA-F]{0,3})?\Z)?(.*)', re.DOTALL
)
_CUT_BYTE = "\ufffd"  # what the kubelet sends for each byte of a character that it has cut


class ErrorReport(NamedTuple):
    """A failure as the runner saw it; what the kubelet has cut ends in `...truncated`."""

    message: str  # "ValueError: bad voltage"
    stack: str  # the traceback, its beginning cut where it is long; "" when the message says it all


def parse_termination_message(text: str) -> ErrorReport | None:
    """The failure that the runner reported, or None where the message is not the runner's."""
    report = _parse_object(text)
    message, stack = report.get("error_message"), report.get("error_stack")
    if isinstance(message, str) and isinstance(stack, str):
        return ErrorReport(message, stack)
    return _parse_cut_report(text)


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


def _parse_cut_report(text: str) -> ErrorReport | None:
    text = text.rstrip(_CUT_BYTE)
    if not text.startswith(_BEGINNING):
        return None
    message, rest = _read_string(text.removeprefix(_BEGINNING))
    if not rest:
        return ErrorReport(message + CUT, "")
    if _BETWEEN.startswith(rest):
        return ErrorReport(message, "")
    if not rest.startswith(_BETWEEN):
        return None
    stack, rest = _read_string(rest.removeprefix(_BETWEEN))
    if rest not in ("", '"'):
        return None
    return ErrorReport(message, stack if rest else stack + CUT)


def _read_string(text: str) -> tuple[str, str]:
    """The string that `text` begins with, and what follows it: nothing where it was cut."""
    [(characters, rest)] = _STRING.findall(text)
    return json.loads(f'"{characters}"'), rest


def _parse_object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: "[[[[..." of a program that means no report
        return {}
    return parsed if isinstance(parsed, dict) else {}
