"""What the operator writes to the PopulateQueue objects themselves: status, finalizer, annotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from populate_operator.pods.errors import Expired, NotFound, Refused, Unreachable
from populate_operator.pods.names import QUEUE_FINALIZER
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.session import MERGE, ApiSession, JsonObject

REFRESH_ANNOTATION = "populate.datajoint.io/refresh"
_GROUP_PATH = "/apis/populate.datajoint.io/v1alpha1"
_PLURAL = "populatequeues"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"  # a template may be large


class QueueApi:
    """Calls about PopulateQueues; all raise ApiError but where a method says otherwise."""

    def __init__(self, session: ApiSession, page: int = 500) -> None:
        self._session, self._page = session, page  # queues per page of a list

    async def patch_status(self, queue: QueueRef, status: JsonObject) -> None:
        """Write the status; nothing happens when the queue is gone."""
        # Another queue that has just taken the name gets it until its own is written: of a patch of the
        # status the server reads nothing else, no uid either.
        try:
            await self._patch(queue, {"status": status}, "/status")
        except NotFound:
            return

    async def set_finalizer(self, queue: QueueRef, metadata: Mapping[str, Any], *, present: bool) -> bool:
        """Add our finalizer or remove it; others' stay. `metadata` is the queue's as last observed.

        False when the queue is gone. Raises Conflict when it has changed since: observe it and try again.
        """
        finalizers = list(metadata.get("finalizers") or ())
        if (QUEUE_FINALIZER in finalizers) == present:
            return True
        others = [one for one in finalizers if one != QUEUE_FINALIZER]
        wanted = [*others, QUEUE_FINALIZER] if present else others
        version = metadata["resourceVersion"]  # custom resources have no strategic merge: hence the lock
        try:
            await self._patch(queue, {"metadata": {"finalizers": wanted, "resourceVersion": version}})
        except NotFound:
            return False
        return True

    async def clear_refresh_request(self, queue: QueueRef) -> None:
        """Remove the annotation that asked for a refresh, so that setting it again is a change."""
        # The uid makes the server refuse where another queue has taken the name.
        body: JsonObject = {"metadata": {"uid": queue.uid, "annotations": {REFRESH_ANNOTATION: None}}}
        try:
            await self._patch(queue, body)
        except NotFound:
            return
        except Refused as error:
            if "metadata.uid" not in error.message:
                raise

    async def get(self, queue: QueueRef) -> JsonObject | None:
        """The queue as it is now; None when it is gone, or another has taken its name."""
        try:
            found = await self._session.request("GET", _path(queue))
        except NotFound:
            return None
        return found if found["metadata"]["uid"] == queue.uid else None

    async def list_uids(self, namespaces: Sequence[str]) -> frozenset[str]:
        """The uids of all queues, of `namespaces` only where some are given."""
        return frozenset(metadata["uid"] for metadata in await self._list(namespaces, {}))

    async def list_generations(self, namespaces: Sequence[str]) -> dict[str, int]:
        """The generation of each queue by its uid, from the API server's cache: cheap, perhaps late."""
        listed = await self._list(namespaces, {"resourceVersion": "0"})
        return {metadata["uid"]: metadata["generation"] for metadata in listed}

    async def _list(self, namespaces: Sequence[str], query: Mapping[str, str]) -> list[JsonObject]:
        """The metadata of all queues."""
        paths = [f"{_GROUP_PATH}/namespaces/{one}/{_PLURAL}" for one in namespaces]
        found: list[JsonObject] = []
        for path in paths or [f"{_GROUP_PATH}/{_PLURAL}"]:
            found += await self._list_pages(path, query)
        return found

    async def _list_pages(self, path: str, query: Mapping[str, str]) -> list[JsonObject]:
        found: list[JsonObject] = []
        asked: dict[str, str | int] = {**query, "limit": self._page}
        while True:
            try:
                page = await self._session.request("GET", path, query=asked, accept=_METADATA)
            except Expired as error:  # its pages took minutes: to be asked for from the beginning
                raise Unreachable(error.message, reason=error.reason, status=error.status) from error
            found += [item["metadata"] for item in page["items"] or ()]  # null when empty
            position = page["metadata"].get("continue")
            if not position:
                return found
            asked["continue"] = position

    async def _patch(self, queue: QueueRef, body: JsonObject, part: str = "") -> None:
        await self._session.request("PATCH", _path(queue) + part, body=body, content_type=MERGE)


def _path(queue: QueueRef) -> str:
    return f"{_GROUP_PATH}/namespaces/{queue.namespace}/{_PLURAL}/{queue.name}"
