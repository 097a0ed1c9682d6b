"""The parts of Services that tests of single effects need, for them to record what is asked."""

from __future__ import annotations

from typing import Self

from populate_operator.queue.points import Point


class StandIn:
    """Stands for Services, and for its API and its watch: a test's own adds the calls that it records."""

    @property
    def api(self) -> Self:
        return self

    @property
    def watch(self) -> Self:
        return self

    @property
    def queues(self) -> Self:
        return self

    def fence(self) -> None:
        pass

    def reached(self, _point: Point) -> None:
        pass
