"""How long to wait before asking again, and what a line of a watch means.

Cases: growth, bounds, spread and the server's own wish; every kind of event; errors inside a watch; noise.
"""

from __future__ import annotations

import json

import pytest

from populate_operator.pods.errors import ApiError, Expired, Unreachable
from populate_operator.pods.reflector import WatchEvent, parse_event, reconnect_pause
from populate_operator.pods.session import retry_pause


def test_pauses_grow_to_a_bound() -> None:
    pauses = [retry_pause(attempt, None, 0.5) for attempt in range(1, 12)]
    assert pauses[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


def test_pauses_are_spread() -> None:
    assert retry_pause(3, None, 0.0) < retry_pause(3, None, 0.9)


@pytest.mark.parametrize(("asked", "least", "most"), [(0.0, 0.0, 0.1), (5.0, 5.0, 5.1), (3600.0, 30.0, 30.1)])
def test_the_servers_wish_is_followed_within_reason(asked: float, least: float, most: float) -> None:
    assert least <= retry_pause(1, asked, 0.5) <= most


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [(0, 0.9, 0.0), (1, 1.0, 0.2), (1, 0.0, 0.1), (3, 1.0, 0.8), (8, 1.0, 10.0), (10_000, 0.0, 5.0)],
)
def test_a_watch_reconnects_at_once_and_then_ever_slower(
    failures: int, chance: float, seconds: float
) -> None:
    assert reconnect_pause(failures, chance, 10.0) == pytest.approx(seconds)


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])
def test_an_event(kind: str) -> None:
    pod = {"metadata": {"resourceVersion": "7"}}
    assert parse_event(json.dumps({"type": kind, "object": pod}).encode()) == WatchEvent(kind, pod, "7")


@pytest.mark.parametrize(("code", "error"), [(410, Expired), (500, Unreachable), (429, Unreachable)])
def test_an_error_inside_a_watch(code: int, error: type[ApiError]) -> None:
    status = {"kind": "Status", "metadata": {}, "code": code, "reason": "R", "message": "why"}
    with pytest.raises(error, match="pod watch: why"):
        parse_event(json.dumps({"type": "ERROR", "object": status}).encode())


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"<html>", b"[]", b"1", b"{}", b"\xff\n"),
        *(b'{"type": "ADDED"}', b'{"type": "ADDED", "object": {}}'),
        *(b'{"type": "ERROR", "object": {}}', b'{"type": "ERROR", "object": {"code": "x"}}'),
    ],
)
def test_a_line_that_is_no_event(line: bytes) -> None:
    with pytest.raises(Unreachable, match="no event"):
        parse_event(line)
