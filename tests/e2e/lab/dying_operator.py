"""The operator, but it kills itself: `dying_operator.py POINT N` at the N-th time it comes to that point."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

from populate_operator.logs import configure_logs
from populate_operator.process import serve
from populate_operator.queue.points import Point
from populate_operator.settings import parse_settings


@dataclass
class Killer:
    """Counts how often a point is reached."""

    point: Point
    left: int

    def __call__(self, reached: Point) -> None:
        self.left -= reached is self.point
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    point, times = Point[sys.argv[1]], int(sys.argv[2])
    settings = parse_settings([])
    configure_logs(settings.log_format, settings.log_level)
    asyncio.run(serve(settings, Killer(point, times)))


if __name__ == "__main__":
    main()
