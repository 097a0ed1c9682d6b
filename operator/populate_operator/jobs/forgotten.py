"""Connections that wait for an answer which will never come, though the server is well.

A proxy or a firewall may lose a connection without a word and keep our side of it alive, so that TCP sees
nothing. The server knows better: it is not at work for that session, or has none of that number.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pymysql
from pymysql.connections import Connection

from populate_operator.jobs.connection import Identity, connect, driver_errors, identity_of
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


def is_comparable(ours: Identity, asking: Identity) -> bool:
    """Whether the server at the other end of `asking` can tell of our connection. Pure.

    A proxy's number is somebody else's session to the server, and an address may lead to several servers.
    """
    return ours.is_direct and asking.is_direct and ours.server == asking.server


def read_sessions(rows: Iterable[Sequence[Any]], asking: Identity) -> dict[int, Work] | None:
    """The sessions of the asking session's account, by number, from the rows of SHOW PROCESSLIST. Pure.

    None where the asking session is not among them: then another server has answered.
    """
    by_number = {row[0]: row for row in rows}
    if asking.number not in by_number:
        return None
    user = by_number[asking.number][1]
    return {number: Work(row[4], row[5] or 0) for number, row in by_number.items() if row[1] == user}


def break_off(pool: Pool, *, after: float) -> int:
    """Break off what waits in vain on connections of `pool`; how many. It fails as after any lost connection.

    An idle session is ended on the server, too: in the middle of a transaction it would keep its locks.
    Connections of which the server that is asked cannot tell are let be.

    Raises JobsError or the driver's error where the server cannot be asked.
    """
    in_use = {one: identity_of(one) for one in pool.in_use()}
    if not any(identity.is_direct for identity in in_use.values()):
        return 0
    with contextlib.closing(_open(pool)) as connection, driver_errors(), connection.cursor() as cursor:
        asking = identity_of(connection)
        cursor.execute("SHOW PROCESSLIST")
        known = read_sessions(cursor.fetchall(), asking)
        if known is None:
            return 0
        waiting = {one: who.number for one, who in in_use.items() if is_comparable(who, asking)}
        forgotten = find_forgotten(waiting.values(), known, after=after)
        for number in forgotten & known.keys():
            with contextlib.suppress(pymysql.err.OperationalError):  # it has ended by itself
                cursor.execute("KILL %s", (number,))
    for one in (lost := [one for one, number in waiting.items() if number in forgotten]):
        _shut(one)
    return len(lost)


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
