"""Pods whose PopulateQueue is gone although it was never let go, as when its finalizer was removed by hand.

The garbage collector deletes such pods; only our finalizer would hold them for ever. Their rows are given
back by the next refresh of any queue of that table.
"""

from __future__ import annotations

import asyncio

import structlog

from populate_operator.pods.batch import release_many
from populate_operator.pods.errors import ApiError
from populate_operator.pods.view import PodView
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.services import Services

log = structlog.get_logger(__name__)

# The watch of queues and that of pods are not in step: a queue that is new here may just not be known yet.
PATIENCE_SECONDS = 2.0
LONGEST_PAUSE = 60.0  # between tries that fail: rights may be missing for good


class Strays:
    """Releases the pods of queues that the API server does not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._suspects: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def suspect(self, queue_uid: str) -> None:
        """There are pods of a queue that is not known."""
        self._suspects.add(queue_uid)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._release())

    async def close(self) -> None:
        """Stop."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _release(self) -> None:
        pause = PATIENCE_SECONDS
        while self._suspects:
            await asyncio.sleep(pause)
            suspects, self._suspects = self._suspects, set()
            left = await self._try(suspects)
            self._suspects |= left
            pause = min(2 * pause, LONGEST_PAUSE) if left else PATIENCE_SECONDS

    async def _try(self, suspects: set[str]) -> set[str]:
        """Release the pods of those queues that are gone; those for which it did not work."""
        pods_of = self._services.watch.pods_of
        held = [pod for uid in suspects for pod in pods_of(uid) if pod.has_finalizer and has_ended(pod)]
        errors: dict[str, ApiError] = {}
        for namespace in {pod.namespace for pod in held}:
            errors |= await self._try_in(namespace, [pod for pod in held if pod.namespace == namespace])
        if errors:
            one = next(iter(errors.values()))
            log.warning("pods without a queue not released", queues=len(errors), error=one.message)
        return set(errors)

    async def _try_in(self, namespace: str, pods: list[PodView]) -> dict[str, ApiError]:
        """One error of each queue of which not every pod could be released; asked in its namespace alone."""
        try:
            living = await self._services.queues.list_uids((namespace,))
        except ApiError as error:
            return {pod.queue_uid: error for pod in pods}
        self._services.fence()
        return await self._release_pods([pod for pod in pods if pod.queue_uid not in living])

    async def _release_pods(self, pods: list[PodView]) -> dict[str, ApiError]:
        answers = await release_many(self._services.api, pods)
        failed = {
            pod.queue_uid: answer
            for pod, answer in zip(pods, answers, strict=True)
            if isinstance(answer, ApiError)
        }
        if released := sum(not isinstance(answer, ApiError) for answer in answers):
            log.info("pods without a queue released", pods=released)
        return failed
