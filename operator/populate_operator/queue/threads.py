"""The threads for blocking database calls of all queues."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

MOST = 21  # and half of it for what takes long: `jobs.pool` has a connection for each of them


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Lane:
    """The threads for one server. What a pass waits for never waits behind refreshes and counts."""

    prompt: Executor
    slow: Executor
    late: set[asyncio.Future[Any]] = field(default_factory=set)  # of passes; each holds a thread

    def close(self) -> None:
        """Begin nothing more. Calls under way go on: a thread cannot be stopped."""
        for one in (self.prompt, self.slow):
            one.shutdown(wait=False, cancel_futures=True)


class Threads:
    """A lane for each server, while a queue holds it: one that is silent holds up its own queues alone."""

    def __init__(self, number: int) -> None:
        """`number` threads in a lane for passes, and half as many for what takes long."""
        self._number = number
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()

    def lane(self, server: str) -> Lane:
        """The lane of `server`, as `host:port`."""
        lane = self._lanes.get(server)
        if lane is None:
            lane = self._lanes[server] = Lane(
                ThreadPoolExecutor(self._number, thread_name_prefix="database"),
                ThreadPoolExecutor((self._number + 1) // 2, thread_name_prefix="database-slow"),
            )  # whose threads end with it
        return lane

    def close(self) -> None:
        """Close every lane."""
        for lane in list(self._lanes.values()):
            lane.close()
