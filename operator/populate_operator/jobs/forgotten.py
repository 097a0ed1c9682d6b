"""Connections that wait for an answer which will never come, though the server is well.

A proxy or a firewall may lose a connection without a word and keep our side of it alive, so that TCP sees
nothing. The server knows better: it is not at work for that session, or has none of that number.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pymysql
from pymysql.connections import Connection

from populate_operator.jobs.connection import connect, driver_errors
from populate_operator.jobs.pool import Pool

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a session does, as SHOW PROCESSLIST tells it, and for how many seconds."""

    command: str
    seconds: int


def find_forgotten(ours: Collection[int], known: Mapping[int, Work], *, after: float) -> set[int]:
    """Those of `ours` that the server lacks, or for which it has been idle for `after` seconds. Pure."""
    return {number for number in ours if _is_idle(known.get(number), after)}


def _is_idle(work: Work | None, after: float) -> bool:
    return work is None or (work.command == "Sleep" and work.seconds >= after)


def break_off(pool: Pool, *, after: float) -> int:
    """Break off what waits in vain on connections of `pool`; how many. It fails as after any lost connection.

    An idle session is ended on the server, too: in the middle of a transaction it would keep its locks.

    Raises JobsError or the driver's error where the server cannot be asked.
    """
    waiting = {int(one.thread_id()): one for one in pool.in_use()}  # type: ignore[no-untyped-call]
    if not waiting:
        return 0
    with contextlib.closing(_open(pool)) as connection, driver_errors(), connection.cursor() as cursor:
        cursor.execute("SHOW PROCESSLIST")
        known = {row[0]: Work(row[4], row[5] or 0) for row in cursor.fetchall()}
        forgotten = find_forgotten(waiting.keys(), known, after=after)
        for number in forgotten & known.keys():
            with contextlib.suppress(pymysql.err.OperationalError):  # it has ended by itself
                cursor.execute("KILL %s", (number,))
    for number in forgotten:
        _shut(waiting[number])
    return len(forgotten)


def _open(pool: Pool) -> Connection[Any]:
    """A connection beside the pool, all of whose may be waiting."""
    timeouts = replace(pool.address.timeouts, read=_ANSWER_SECONDS)
    return connect(replace(pool.address, timeouts=timeouts))


def _shut(connection: Connection[Any]) -> None:
    """Wake the thread that reads from it. TLS' own way would pull the rug from under that read."""
    used = connection._sock  # type: ignore[attr-defined]  # it has no public name
    with contextlib.suppress(OSError):
        if used is not None:
            socket.socket.shutdown(used, socket.SHUT_RDWR)
