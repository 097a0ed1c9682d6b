"""Letting finished pods go, beside the passes: neither settling nor new pods wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from populate_operator.pods.batch import delete_many, release_many
from populate_operator.pods.errors import ApiError, Refused
from populate_operator.pods.view import PodView
from populate_operator.queue import plan as p
from populate_operator.queue.clock import utc_now
from populate_operator.queue.conditions import Trouble
from populate_operator.queue.points import Point
from populate_operator.queue.services import Services

log = structlog.get_logger(__name__)

Tidying = p.ReleasePod | p.DeletePod
_Id = tuple[type, str]

RETRY_SECONDS, LONGEST_RETRY = 1.0, 60.0
PORTION = 100  # pods between two looks at the lease


class Tidier:
    """Releases and deletes the pods of one queue, and calls `wake` when it has.

    What it does needs no order: a pod is released after its job was settled, or where nothing will be learned
    from it, and a deleted one is settled once it has ended.
    """

    def __init__(self, services: Services, wake: Callable[[], None]) -> None:
        self._services, self._wake = services, wake
        self._busy: set[_Id] = set()
        self._refused: dict[str, Refused] = {}  # by the uid of the pod
        self._refusals = 0  # in a row
        self._tasks: set[asyncio.Task[None]] = set()

    def is_busy_with(self, action: p.Action) -> bool:
        """Whether that is under way, or has just failed."""
        return isinstance(action, Tidying) and _id(action) in self._busy

    def trouble(self, pods: Iterable[PodView]) -> Trouble | None:
        """Why one of `pods` cannot be let go, where the API server has said no to it."""
        there = [pod.uid for pod in pods if pod.uid in self._refused]
        self._refused = {uid: self._refused[uid] for uid in there}
        if not there:
            return None
        why = self._refused[there[0]].message
        message = f"pods cannot be released or deleted: {why}; let the operator patch and delete them"
        return Trouble("PodsNotReleased", message)

    def start(self, actions: Sequence[p.Action]) -> None:
        """Begin with those of `actions` that are for it."""
        ours = [action for action in actions if isinstance(action, Tidying)]
        if ours:
            self._busy.update(map(_id, ours))
            task = asyncio.create_task(self._tidy(ours))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is under way; the next operator plans it again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tidy(self, actions: Sequence[Tidying]) -> None:
        try:
            failed: list[Tidying] = []
            for start in range(0, len(actions), PORTION):
                if not self._services.may_write():  # another replica plans the same
                    return
                portion = actions[start : start + PORTION]
                failed += [*await self._release(portion), *await self._delete(portion)]
            self._busy.difference_update({_id(one) for one in actions} - {_id(one) for one in failed})
            is_refused = any(one.pod.uid in self._refused for one in failed)
            self._refusals = self._refusals + 1 if is_refused else 0
            self._wake()
            if failed:  # tried again, but not at once, and what is refused ever less: that takes a person
                await asyncio.sleep(min(RETRY_SECONDS * 2.0 ** min(self._refusals, 10), LONGEST_RETRY))
        finally:
            self._busy.difference_update(map(_id, actions))
            self._wake()

    async def _release(self, actions: Sequence[Tidying]) -> list[Tidying]:
        releases = [action for action in actions if isinstance(action, p.ReleasePod)]
        if releases:
            self._services.reached(Point.RELEASE)
        answers = await release_many(self._services.api, [action.pod for action in releases])
        if releases:
            self._services.reached(Point.RELEASED)
        return self._take_in(releases, answers)

    async def _delete(self, actions: Sequence[Tidying]) -> list[Tidying]:
        failed: list[Tidying] = []
        for force in (False, True):
            some = [one for one in actions if isinstance(one, p.DeletePod) and one.force == force]
            answers = await delete_many(
                self._services.api, [one.pod for one in some], grace_seconds=0 if force else None
            )
            # Known before the watch tells, so that it is not asked for twice.
            failed += self._take_in(some, [_deleted(*one) for one in zip(some, answers, strict=True)])
            if some:
                self._services.reached(Point.DELETED)
        return failed

    def _take_in(
        self, actions: Sequence[Tidying], answers: Sequence[PodView | ApiError | None]
    ) -> list[Tidying]:
        """Remember what the API server says of the pods; the actions that it did not carry out."""
        failed: list[Tidying] = []
        for action, answer in zip(actions, answers, strict=True):
            if isinstance(answer, ApiError):
                failed.append(action)
                self._note_refusal(action.pod, answer)
                continue
            self._refused.pop(action.pod.uid, None)
            if answer:
                self._services.watch.remember(answer)
        return failed

    def _note_refusal(self, pod: PodView, error: ApiError) -> None:
        if isinstance(error, Refused):
            if pod.uid not in self._refused:
                log.warning("pod not let go", pod=pod.name, error=error.message)
            self._refused[pod.uid] = error


def _deleted(action: p.DeletePod, answer: PodView | ApiError | None) -> PodView | ApiError:
    """The pod as it is now, if it is there at all: after a forced deletion others' finalizers keep it.

    By the answer, for it may have been bound to a node since it was last seen.
    """
    if isinstance(answer, ApiError):
        return answer
    pod = answer or action.pod
    is_kept = action.force or pod.is_kept_by_others
    return replace(pod, deleting_since=pod.deleting_since or utc_now(), is_kept_by_others=is_kept)


def _id(action: Tidying) -> _Id:
    return type(action), action.pod.uid
