"""The loop of one queue: a pass whenever something happened or is due, never two at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from populate_operator.metrics import FAILED_PASSES, PASS_SECONDS, forget_queue
from populate_operator.pods.errors import ApiError
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.memory import retry_seconds
from populate_operator.queue.reconcile import Reconciler
from populate_operator.queue.services import NotLeading, Services

log = structlog.get_logger(__name__)

# What happens within this is dealt with in one pass: many pods end at once when they began at once.
COALESCE_SECONDS = 0.05


class QueueLoop:
    """Runs the passes of one queue until it is gone."""

    def __init__(self, queue: QueueRef, services: Services) -> None:
        self._queue, self._services = queue, services
        self._wake = asyncio.Event()
        self.reconciler = Reconciler(queue, services, self.wake)
        self._pass_began: float | None = None
        self._failures = 0

    def wake(self) -> None:
        """Ask for a pass."""
        self._wake.set()

    def observe(self, body: Mapping[str, Any]) -> None:
        """Take in the queue as the API server last told it."""
        self.reconciler.observe(body)
        self.wake()

    def request_refresh(self) -> None:
        """Refresh as soon as may be: an upstream table has new rows."""
        self.reconciler.memory.refresh_requested = True
        self.wake()

    @property
    def busy_seconds(self) -> float:
        """How long the present pass has taken; 0.0 between passes."""
        return time.monotonic() - self._pass_began if self._pass_began is not None else 0.0

    async def run(self) -> None:
        """Pass after pass. Ends when a deleted queue is let go, or raises NotLeading."""
        await self._services.watch.synced.wait()
        try:
            while True:
                self._wake.clear()
                delay = await self._pass()
                if delay is None:
                    return
                await self._sleep(delay)
        finally:
            await self.reconciler.close()
            forget_queue(self._queue.namespace, self._queue.name)

    async def _pass(self) -> float | None:
        self._pass_began = time.monotonic()
        labels = (self._queue.namespace, self._queue.name)
        try:
            delay = await self.reconciler.reconcile()
        except NotLeading:
            raise
        except ApiError as error:
            log.warning(
                "pass failed", queue=self._queue.name, namespace=self._queue.namespace, error=str(error)
            )
            return self._failed(error.reason or "ApiError")
        except Exception as error:
            # A bug in one queue's pass must neither end its loop nor touch the other queues.
            log.exception("pass failed", queue=self._queue.name, namespace=self._queue.namespace)
            return self._failed(type(error).__name__)
        finally:
            PASS_SECONDS.labels(*labels).observe(self.busy_seconds)
            self._pass_began = None
        self._failures = 0
        return delay

    def _failed(self, reason: str) -> float:
        self._failures += 1
        FAILED_PASSES.labels(self._queue.namespace, self._queue.name, reason).inc()
        return retry_seconds(self._failures)

    async def _sleep(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(COALESCE_SECONDS)
