"""The threads for blocking database calls of all queues."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threads:
    """What a pass waits for never waits behind refreshes and counts, which may take long."""

    prompt: Executor
    slow: Executor

    @classmethod
    def start(cls, number: int) -> Threads:
        """`number` for passes, and half as many for what takes long."""
        return cls(
            ThreadPoolExecutor(number, thread_name_prefix="database"),
            ThreadPoolExecutor((number + 1) // 2, thread_name_prefix="database-slow"),
        )

    def close(self) -> None:
        """Begin nothing more. Calls under way go on: a thread cannot be stopped."""
        for one in (self.prompt, self.slow):
            one.shutdown(wait=False, cancel_futures=True)
