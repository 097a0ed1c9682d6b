"""What the operator asks of the API server about pods and the few objects around them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

from populate_operator.pods.errors import ApiError, Conflict, NotFound, Refused
from populate_operator.pods.names import FINALIZER, MANAGED_BY, MANAGED_BY_LABEL, QUEUE_LABEL, label_value
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.parse import view_of
from populate_operator.pods.session import MERGE, STRATEGIC_MERGE, ApiSession, JsonObject
from populate_operator.pods.view import PodView

LOG_LINES = 50
LOG_CHARACTERS = 8192


class PodApi:
    """Calls about pods, at most `concurrency` at once; all raise ApiError (see its subclasses)."""

    def __init__(self, session: ApiSession, *, concurrency: int = 32) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(concurrency)
        # An admission webhook of one namespace may take half a minute: the others' calls find slots still.
        portion = max(1, concurrency - concurrency // 4)
        self._creations = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(portion))

    async def create(self, pod: JsonObject, fence: Callable[[], None] = lambda: None) -> PodView:
        """Create a pod as `build_pod` made it. Raises Conflict when the name is taken, and what `fence` does.

        `fence` is called before each try: a replica that was frozen in the middle of many must not go on.
        """
        # Unknown fields were proved absent by `prove`; checking them again costs the server time.
        return await self._post(pod, {"fieldValidation": "Ignore"}, fence)

    async def prove(self, pod: JsonObject) -> PodView | None:
        """Server-side dry run, unknown fields refused: the pod as it would be, None where its name is taken.

        Raises Refused with the API server's reason.
        """
        try:
            return await self._post(pod, {"dryRun": "All", "fieldValidation": "Strict"})
        except Conflict as error:
            if not error.already_exists:  # which is found out last
                raise
            return None

    async def _post(
        self, pod: JsonObject, query: dict[str, str | int], fence: Callable[[], None] = lambda: None
    ) -> PodView:
        namespace = pod["metadata"]["namespace"]
        async with self._creations[namespace], self._slots:
            path = _pods(namespace)
            return view_of(await self._session.request("POST", path, query=query, body=pod, fence=fence))

    async def get(self, namespace: str, name: str) -> PodView | None:
        """The pod as it is now; None when the API server says 404."""
        async with self._slots:
            try:
                return view_of(await self._session.request("GET", f"{_pods(namespace)}/{name}"))
            except NotFound:
                return None

    async def release(self, pod: PodView) -> PodView | None:
        """Remove our finalizer, never another's; None when the pod is gone."""
        # Strategic merge deletes this one value whatever else the list holds by now, and the uid makes
        # the server refuse where another pod has taken the name.
        patch: JsonObject = {
            "metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]},
        }
        return await self._patch(pod, patch, STRATEGIC_MERGE)

    async def _patch(self, pod: PodView, patch: JsonObject, content_type: str) -> PodView | None:
        async with self._slots:
            try:
                path = f"{_pods(pod.namespace)}/{pod.name}"
                return view_of(
                    await self._session.request("PATCH", path, body=patch, content_type=content_type)
                )
            except NotFound:
                return None
            except Refused as error:
                if "metadata.uid" in error.message:
                    return None
                raise

    async def restore(self, pod: PodView, queue: QueueRef) -> PodView | None:
        """Give a pod of `queue` back the labels and the owner that someone edited; None when it is gone."""
        metadata = {"uid": pod.uid, "labels": queue.labels(), "ownerReferences": [queue.owner_reference()]}
        return await self._patch(pod, {"metadata": metadata}, MERGE)

    async def delete(self, pod: PodView, *, grace_seconds: int | None = None) -> PodView | None:
        """Ask for the pod's deletion: the pod on its way out, None when it is gone already.

        `grace_seconds`: instead of the pod's own terminationGracePeriodSeconds. 0 removes the object while
        its containers may still run: only for a node that is lost.
        """
        options: JsonObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pod.uid},
            "propagationPolicy": "Background",
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        async with self._slots:
            path = f"{_pods(pod.namespace)}/{pod.name}"
            try:
                answer = await self._session.request("DELETE", path, body=options)
            except (NotFound, Conflict):  # Conflict: another pod has taken the name
                return None
        return view_of(answer) if answer.get("kind") == "Pod" else None

    async def log_tail(
        self, namespace: str, name: str, container: str, *, characters: int = LOG_CHARACTERS
    ) -> str:
        """The last 50 lines of a container's log, their last `characters`; "" where there is no log.

        A log is a courtesy in an error message: an unreachable kubelet must not hold up the outcome.
        """
        # The kubelet applies limitBytes from the start of the tail, so a tight one would cut off the end.
        query: dict[str, str | int] = {
            "container": container,
            "tailLines": LOG_LINES,
            "limitBytes": 1 << 20,
        }
        async with self._slots:
            try:
                text = await self._session.text(f"{_pods(namespace)}/{name}/log", query=query)
            except ApiError:
                return ""
        return text[-characters:]

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The decoded data of a Secret. Raises NotFound."""
        async with self._slots:
            found = await self._session.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def ensure_config_map(self, owner: QueueRef, file: str, content: str) -> str:
        """Name of the queue's ConfigMap with `content` as its only file; it goes when the queue goes.

        The name tells the content, so pods started by an older operator keep theirs. One that was deleted
        is made again.
        """
        digest = hashlib.sha256(f"{owner.uid} {content}".encode()).hexdigest()[:12]
        name = f"populate-{PurePosixPath(file).stem.replace('_', '-')}-{digest}"
        config_map: JsonObject = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "labels": {MANAGED_BY_LABEL: MANAGED_BY, QUEUE_LABEL: label_value(owner.name)},
                "ownerReferences": [owner.owner_reference()],
            },
            "data": {file: content},
            "immutable": True,
        }
        path = f"/api/v1/namespaces/{owner.namespace}/configmaps"
        async with self._slots:
            # Looked for first: a POST of a name that is taken counts against the namespace's ResourceQuota
            # until that is counted anew, and is refused once nothing is left of it.
            try:
                await self._session.request("GET", f"{path}/{name}")
            except NotFound:
                with suppress(Conflict):  # immutable, and named by its content: it is the same one
                    await self._session.request("POST", path, body=config_map)
        return name

    async def is_terminating(self, namespace: str) -> bool:
        """Whether the namespace is being deleted: asked by a dry run, as nothing new is let in then."""
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "populate-"}}
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        async with self._slots:
            try:
                await self._session.request("POST", path, query={"dryRun": "All"}, body=config_map)
            except Refused as error:
                return error.is_namespace_terminating
            except NotFound:
                return True
        return False

    async def namespace_uid(self, namespace: str) -> str:
        """The UID of a namespace. Raises NotFound; not retried: whoever needs it at once looks often."""
        async with self._slots:
            found = await self._session.request(
                "GET", f"/api/v1/namespaces/{namespace}", timeout=5.0, attempts=1
            )
        return str(found["metadata"]["uid"])


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
