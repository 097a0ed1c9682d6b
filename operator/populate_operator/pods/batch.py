"""Many pods at once: each gets its own answer, and one failure stops none of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import ApiError, Conflict, Refused, Unreachable
from populate_operator.pods.session import JsonObject
from populate_operator.pods.view import PodView


@dataclass(frozen=True, slots=True)
class CreateResult:
    """What became of one pod: either `pod` or `error` is set; both where the name is taken by `pod`.

    An `error` that is Unreachable leaves open whether the pod exists: create it again under the same
    name. Any other means that there is no such pod of ours.
    """

    name: str
    pod: PodView | None = None
    error: ApiError | None = None
    adopted: bool = False  # it existed already, and is ours


async def create_many(
    api: PodApi,
    pods: Sequence[JsonObject],
    on_created: Callable[[], None] = lambda: None,
    fence: Callable[[], None] = lambda: None,
) -> list[CreateResult]:
    """Create pods as `build_pod` made them, as many at once as `api` allows; results in their order.

    `on_created` is called after each pod that was created, while others are still on their way; `fence`
    before each try of each, and what it raises ends them all.
    """
    return list(await asyncio.gather(*(_create(api, pod, on_created, fence) for pod in pods)))


async def release_many(api: PodApi, pods: Iterable[PodView]) -> list[PodView | ApiError | None]:
    """Remove our finalizer from each pod: its new view, None when it is gone, or the error."""
    return list(await asyncio.gather(*(_release(api, pod) for pod in pods)))


async def delete_many(
    api: PodApi, pods: Iterable[PodView], *, grace_seconds: int | None = None
) -> list[PodView | ApiError | None]:
    """Ask for each pod's deletion: the pod on its way out, None when it is gone, or the error."""
    return list(await asyncio.gather(*(_delete(api, pod, grace_seconds) for pod in pods)))


async def _create(
    api: PodApi, pod: JsonObject, on_created: Callable[[], None], fence: Callable[[], None]
) -> CreateResult:
    name = pod["metadata"]["name"]
    try:
        created = await api.create(pod, fence)
    except Conflict:
        gone = f"pod {pod['metadata']['namespace']}/{name} was deleted"  # in between
        return await _adopt(api, pod, Refused(gone, reason="Gone"))
    except ApiError as error:
        # The server asks the quota before the name: an earlier try, whose answer was lost, may have made
        # the very pod that used it up.
        if isinstance(error, Refused) and error.is_quota:
            return await _adopt(api, pod, error)
        return CreateResult(name, error=error)
    on_created()
    return CreateResult(name, created)


async def _adopt(api: PodApi, pod: JsonObject, absent: Refused) -> CreateResult:
    """Look who has the name: our own pod of an earlier try, someone else's, or none, which is `absent`."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    try:
        found = await api.get(namespace, name)
    except ApiError as error:  # whatever it says of the question, it says nothing of the pod
        return CreateResult(name, error=Unreachable(error.message, reason=error.reason))
    if found is None:
        return CreateResult(name, error=absent)
    if found.queue_uid != pod["metadata"]["ownerReferences"][0]["uid"]:
        message = f"pod {namespace}/{name} exists and belongs to something else"
        return CreateResult(name, found, error=Refused(message, reason="NameTaken"))
    return CreateResult(name, found, adopted=True)


async def _release(api: PodApi, pod: PodView) -> PodView | ApiError | None:
    try:
        return await api.release(pod)
    except ApiError as error:
        return error


async def _delete(api: PodApi, pod: PodView, grace_seconds: int | None) -> PodView | ApiError | None:
    try:
        return await api.delete(pod, grace_seconds=grace_seconds)
    except ApiError as error:
        return error
