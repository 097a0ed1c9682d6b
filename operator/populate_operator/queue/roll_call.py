"""Whether the watch of PopulateQueues tells all: what it told, against what the API server has.

Kopf says neither when it last heard the API server nor that a watch of its own is stuck, and hands bookmarks
to nobody; so a list now and then is the only proof. It shows a missed deletion too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence, Set
from typing import Any

import structlog

from populate_operator.pods.errors import ApiError, Refused
from populate_operator.pods.queues import QueueApi

log = structlog.get_logger(__name__)


def unheard(heard: Mapping[str, int], listed: Mapping[str, int], served: Set[str]) -> set[str]:
    """The uids whose latest change, or deletion, was not heard; `heard` and `listed` are generations by uid.

    A generation grows with every change of the spec and with a deletion that finalizers hold up. One that
    is heard beyond the list is no fault: the list is older than it. A deletion matters while the queue is
    served: of one that was let go, Kopf may miss the end when it must list anew.
    """
    changed = {uid for uid, generation in listed.items() if heard.get(uid, -1) < generation}
    return changed | (served - listed.keys())


class RollCall:
    """Remembers what was heard of each queue, and since when a list has had more than that.

    `served` are the uids of the queues that are attended to at any moment.
    """

    def __init__(self, served: Set[str]) -> None:
        self._served = served
        self._heard: dict[str, int] = {}
        self._homes: dict[str, str] = {}  # the namespace of each that was heard of
        self._missed: dict[str, float] = {}
        self._called_at = 0.0
        self.is_complete = False  # whether the last list has shown that no queue is unheard

    def hear(self, event: str | None, metadata: Mapping[str, Any]) -> None:
        """Take in what the watch told of one queue."""
        uid = metadata["uid"]
        self._missed.pop(uid, None)
        if event == "DELETED":
            self._heard.pop(uid, None)
            self._homes.pop(uid, None)
        else:
            self._heard[uid], self._homes[uid] = metadata["generation"], metadata["namespace"]

    def compare(self, listed: Mapping[str, int], now: float, refused: Set[str] = frozenset()) -> None:
        """Take in a list that is complete but for the namespaces that `refused` one.

        `listed` are generations by uid, `now` is in seconds of a clock that never jumps.
        """
        served = {uid for uid in self._served if self._homes.get(uid) not in refused}
        missed = unheard(self._heard, listed, served)
        self._missed = {uid: self._missed.get(uid, now) for uid in missed}
        self._called_at, self.is_complete = now, not missed and not refused

    @property
    def homes(self) -> frozenset[str]:
        """The namespaces of the queues that were heard of."""
        return frozenset(self._homes.values())

    @property
    def missed_for(self) -> float:
        """Seconds between the first and the last list that had a change which is unheard to this day.

        The time since the last list proves nothing: the API server may be away.
        """
        return max((self._called_at - since for since in self._missed.values()), default=0.0)

    async def repeat(self, queues: QueueApi, namespaces: Sequence[str], seconds: float) -> None:
        """Compare every so many `seconds`; ends only by cancellation."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._call(queues, namespaces)
            except ApiError as error:
                log.warning("queues not listed", error=error.message)

    async def _call(self, queues: QueueApi, namespaces: Sequence[str]) -> None:
        listed: dict[str, int] = {}
        refused: set[str] = set()
        parts: list[tuple[str, ...]] = [(one,) for one in namespaces]
        for part in parts or [()]:
            try:
                listed |= await queues.list_generations(part)
            except Refused as error:
                if not part:
                    raise
                # One that was deleted took our rights there along; the others are looked after all the same.
                log.warning("queues not listed", namespaces=part, error=error.message)
                refused.update(part)
        self.compare(listed, time.monotonic(), refused)
