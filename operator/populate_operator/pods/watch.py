"""The one watch of job pods for the whole operator, and the cache that it keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from populate_operator.pods.cache import PodCache
from populate_operator.pods.errors import ApiError
from populate_operator.pods.reflector import Reflector, WatchTiming
from populate_operator.pods.session import ApiSession
from populate_operator.pods.view import PodView


class PodWatch:
    """Knows every job pod of the cluster, or of `namespaces` when some are given.

    `on_change` is called in the event loop with the uid of a queue whenever one of its pods changed; it
    must neither block nor raise, and coalescing is the caller's part. Run `run()` as a task; until
    `synced` is set the cache is empty and proves nothing.
    """

    def __init__(
        self,
        api: ApiSession,
        on_change: Callable[[str], None],
        *,
        namespaces: Sequence[str] = (),
        timing: WatchTiming | None = None,
    ) -> None:
        self._cache = PodCache()
        self._reflectors = [
            Reflector(api, self._cache, namespace, on_change, timing or WatchTiming())
            for namespace in (namespaces or ("",))
        ]
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow the pods for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())
            for reflector in self._reflectors:
                await reflector.synced.wait()
            self.synced.set()

    def pods_of(self, queue_uid: str) -> tuple[PodView, ...]:
        """Every pod of a queue."""
        return self._cache.pods_of(queue_uid)

    def queue_uids(self) -> frozenset[str]:
        """The queues that have pods, whether or not the queues still exist."""
        return self._cache.queue_uids()

    def get(self, namespace: str, name: str) -> PodView | None:
        """The pod of that name, if there is one."""
        return self._cache.get(namespace, name)

    def has_ended(self, namespace: str, name: str) -> bool:
        """Whether a pod of that name was seen and is gone. A hint: confirm it with a live GET."""
        return self._cache.has_ended(namespace, name)

    def remember(self, pod: PodView) -> None:
        """Read your writes: take in a pod that we created or patched before the watch reports it."""
        self._cache.put_own(pod)

    @property
    def complete_since(self) -> datetime | None:
        """Start of the oldest complete list in force, by this machine's clock; None before `synced`.

        Every pod that existed then and is not in the cache is gone, or has lost its labels.
        """
        starts = [reflector.complete_since for reflector in self._reflectors]
        known = [start for start in starts if start is not None]
        return min(known) if len(known) == len(starts) else None

    @property
    def silence(self) -> float:
        """Seconds since the API server was last heard, of the watch that was silent longest.

        One that knows its trouble tries again by itself; it must not hide that another one is stuck.
        """
        heard = [reflector.heard_at for reflector in self._reflectors if reflector.trouble is None]
        return time.monotonic() - min(heard) if heard else 0.0

    @property
    def trouble(self) -> ApiError | None:
        """Why a watch is interrupted at present; None while all is well."""
        return next((one.trouble for one in self._reflectors if one.trouble), None)

    def __len__(self) -> int:
        return len(self._cache)
