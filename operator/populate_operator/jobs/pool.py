"""Open connections kept for reuse: one pool per server and account, shared by all who name the same."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Any

from pymysql.connections import Connection

from populate_operator.jobs.connection import Address, connect, is_alive
from populate_operator.jobs.errors import DatabaseUnreachable

_IDLE_SECONDS = 1.0  # after this an idle connection is proved alive before it is used
# As many as the operator may have threads for the calls to a server, so that none of them waits for another's
# connection, and far less than the 151 that a server grants. They are opened only when so many are needed.
_SIZE = 32


class Pool:
    """At most `size` connections to one address. Safe to use from any thread, and after a fork."""

    def __init__(self, address: Address, size: int = _SIZE) -> None:
        self.address = address
        self._size = size
        self._process = os.getpid()
        self.asking = threading.Lock()  # whether the server is at work for the connections in use
        self._reset()

    def _reset(self) -> None:
        self._slots = threading.BoundedSemaphore(self._size)
        self._idle: list[tuple[float, Connection[Any]]] = []
        self._in_use: set[Connection[Any]] = set()
        self._lock = threading.Lock()

    def acquire(self) -> Connection[Any]:
        """A live connection, opened if none is idle.

        Raises DatabaseUnreachable when all stay in use for longer than a statement may take, and what
        `connect` raises.
        """
        if self._process != os.getpid():  # a forked child must not talk over its parent's sockets
            self._process = os.getpid()
            self._reset()
        patience = self.address.timeouts.read
        if not self._slots.acquire(timeout=patience):
            raise DatabaseUnreachable(
                f"{self.address}: none of this program's {self._size} connections became free for "
                f"{patience:g} s; that is no fault of the database: try again, or make fewer calls at once"
            )
        try:
            connection = self._reuse() or connect(self.address)
        except BaseException:
            self._slots.release()
            raise
        with self._lock:
            self._in_use.add(connection)
        return connection

    def in_use(self) -> list[Connection[Any]]:
        """The connections on loan."""
        with self._lock:
            return list(self._in_use)

    def _reuse(self) -> Connection[Any] | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            is_fresh = time.monotonic() - since < _IDLE_SECONDS
            if is_fresh or is_alive(connection, self.address.timeouts.connect):
                return connection
            _close(connection)
            self.close_idle()  # each of them would cost a timeout of its own where the network is gone

    def release(self, connection: Connection[Any]) -> None:
        """Give back a connection that is outside any transaction."""
        with self._lock:
            self._in_use.discard(connection)
            self._idle.append((time.monotonic(), connection))
        self._slots.release()

    def discard(self, connection: Connection[Any]) -> None:
        """Give back a connection that is broken or in an unknown state."""
        with self._lock:
            self._in_use.discard(connection)
        _close(connection)
        self._slots.release()

    def close_idle(self) -> None:
        """Close what is not in use: after one connection broke, the others are suspect too."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            _close(connection)


def _close(connection: Connection[Any]) -> None:
    try:
        connection.close()
    except Exception:
        connection._force_close()  # type: ignore[attr-defined]


_pools: weakref.WeakValueDictionary[Address, Pool] = weakref.WeakValueDictionary()
_pools_lock = threading.Lock()


def pool_of(address: Address) -> Pool:
    """The pool for `address`; it lives as long as someone holds it, and its connections as long as it."""
    with _pools_lock:
        pool = _pools.get(address)
        if pool is None:
            pool = _pools[address] = Pool(address)
        return pool
