"""Which database errors are worth another try, and how long to wait before it."""

from __future__ import annotations

import random
from dataclasses import dataclass

# The server undid the transaction and asks for it again.
BUSY = frozenset({1213, 1205, 1020})  # deadlock, lock wait timeout, record changed since last read
# The connection is gone, and the transaction with it, unless it was being committed.
LOST = frozenset(
    {
        0,  # pymysql: the socket is closed already
        1053,  # server shutdown in progress
        1927,  # MariaDB: connection was killed
        2006,  # server has gone away
        2013,  # lost connection during query
        4031,  # MySQL: disconnected for inactivity
    }
)
REFUSED = frozenset({2002, 2003})  # nobody listens: a server that restarts looks like this for a while


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: before try n+1 wait up to `base * 2**n` seconds, or the cap."""

    attempts: int = 15
    base_seconds: float = 0.02
    cap_seconds: float = 2.0

    def delay(self, attempt: int, chance: random.Random) -> float:
        """Seconds to wait after failed try number `attempt` (from 1)."""
        limit: float = min(self.cap_seconds, self.base_seconds * 2**attempt)
        return chance.uniform(0.0, limit)
