"""The threads for blocking database calls of all queues."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

MOST = 21  # and half of it for what takes long: `jobs.pool` has a connection for each of them


@dataclass(frozen=True, slots=True)
class Lane:
    """The threads for one server. What a pass waits for never waits behind refreshes and counts."""

    prompt: Executor
    slow: Executor
    late: set[asyncio.Future[Any]] = field(default_factory=set)  # of passes; each holds a thread


class Threads:
    """A lane for each server: one that is silent holds up none but its own queues."""

    def __init__(self, number: int) -> None:
        """`number` threads in a lane for passes, and half as many for what takes long."""
        self._number = number
        self._lanes: dict[str, Lane] = {}

    def lane(self, server: str) -> Lane:
        """The lane of `server`, as `host:port`."""
        if server not in self._lanes:
            self._lanes[server] = Lane(
                ThreadPoolExecutor(self._number, thread_name_prefix="database"),
                ThreadPoolExecutor((self._number + 1) // 2, thread_name_prefix="database-slow"),
            )
        return self._lanes[server]

    def close(self) -> None:
        """Begin nothing more. Calls under way go on: a thread cannot be stopped."""
        for lane in self._lanes.values():
            for one in (lane.prompt, lane.slow):
                one.shutdown(wait=False, cancel_futures=True)
