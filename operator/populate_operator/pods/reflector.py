"""One list+watch of job pods, kept alive for ever: feeds a PodCache."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from populate_operator.pods.cache import PodCache
from populate_operator.pods.errors import ApiError, Expired, Unreachable, status_error
from populate_operator.pods.names import JOB_PODS
from populate_operator.pods.parse import view_of
from populate_operator.pods.session import ApiSession, JsonObject
from populate_operator.pods.view import PodView

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Seconds. A watch ends by itself after `server`; one that says nothing for `silence` is dead.

    The server ends each watch before the client would call it silent, so a half-open connection is
    noticed within `silence` although an idle API server sends bookmarks only once a minute.
    """

    server: int = 40
    silence: float = 50.0
    longest_pause: float = 10.0
    # Pods per page of a list, which is read whole: a large template makes a pod of 500 KB, and 500 of them
    # cost 800 MiB where the chart allows 512.
    page: int = 100


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch; `version` is where the next watch may begin."""

    kind: str  # ADDED, MODIFIED, DELETED or BOOKMARK
    object: JsonObject
    version: str


def parse_event(line: bytes) -> WatchEvent:
    """Raises the error that an ERROR event tells, and Unreachable for a line that is no event."""
    try:
        event = json.loads(line)
        raw = event["object"]
        if event["type"] != "ERROR":
            return WatchEvent(event["type"], raw, str(raw["metadata"]["resourceVersion"]))
        status, reason, message = int(raw["code"]), str(raw.get("reason")), str(raw.get("message"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable(f"the pod watch sent what is no event: {line[:200]!r}") from error
    raise status_error(status, reason, f"pod watch: {message}")


def reconnect_pause(failures: int, chance: float, longest: float) -> float:
    """Seconds to wait after that many failures in a row; `chance` in [0, 1) spreads."""
    return min(longest, 0.1 * 2.0 ** min(failures, 20)) * (0.5 + 0.5 * chance) if failures else 0.0


class Reflector:
    """Follows the job pods of one namespace ("" for all)."""

    def __init__(
        self,
        api: ApiSession,
        cache: PodCache,
        namespace: str,
        on_change: Callable[[str], None],
        timing: WatchTiming,
    ) -> None:
        self._api, self._cache, self._on_change, self._timing = api, cache, on_change, timing
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        self._version = ""  # "": a list is due
        self._failures = 0
        self.synced = asyncio.Event()
        self.complete_since: datetime | None = None
        self.heard_at = time.monotonic()
        self.trouble: ApiError | None = None

    async def run(self) -> None:
        """List, then watch; relist when the API server says 410. Ends only by cancellation."""
        self.heard_at = time.monotonic()  # a replica may have stood by for days
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Expired as error:
                log.info("pod watch expired, listing again", extra=self._fields(error))
                self._version = ""
                self._failures += 1
            except ApiError as error:
                log.warning("pod watch interrupted", extra=self._fields(error))
                self.trouble = error
                self._failures += 1
            pause = reconnect_pause(self._failures, random.random(), self._timing.longest_pause)  # noqa: S311
            await asyncio.sleep(pause)

    async def _list(self) -> None:
        started = datetime.now(UTC)
        pods: list[PodView] = []
        query: dict[str, str | int] = {"labelSelector": JOB_PODS, "limit": self._timing.page}
        while True:
            page = await self._api.request("GET", self._path, query=query, timeout=60.0)
            self._heard()
            pods += map(view_of, page.get("items") or ())
            position = page["metadata"].get("continue")
            if not position:
                break
            query["continue"] = position
        version = page["metadata"]["resourceVersion"]
        self._notify(self._cache.replace(self._namespace, pods, version))
        self._version, self.complete_since = version, started
        self.synced.set()

    async def _watch(self) -> None:
        before = self._version
        async with aclosing(self._events()) as events:
            async for event in events:
                self._heard()
                self._failures = 0
                self._apply(event)
        # A server that ends each watch at once without a word must not be asked in a tight loop.
        self._failures = self._failures + 1 if self._version == before else 0

    async def _events(self) -> AsyncGenerator[WatchEvent, None]:
        query: dict[str, str | int] = {
            "labelSelector": JOB_PODS,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": self._timing.server,
        }
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=self._timing.silence)
        async with self._api.stream(self._path, query=query, limit=limit) as body:
            if self.trouble:  # it is over; a watch that is deaf from now on must not hide behind it
                self._heard()
            async for line in body:
                if not line.endswith(b"\n"):  # cut in the middle of an event: it comes again
                    return
                yield parse_event(line)

    def _apply(self, event: WatchEvent) -> None:
        match event.kind:
            case "ADDED" | "MODIFIED":
                self._notify(self._cache.put(view_of(event.object)))
            case "DELETED":
                self._notify(self._cache.drop(view_of(event.object)))
        self._version = event.version

    def _heard(self) -> None:
        self.heard_at = time.monotonic()
        self.trouble = None

    def _notify(self, queue_uids: frozenset[str]) -> None:
        for queue_uid in queue_uids:
            self._on_change(queue_uid)

    def _fields(self, error: ApiError) -> dict[str, object]:
        return {"namespace": self._namespace, "reason": error.reason, "error": error.message}
