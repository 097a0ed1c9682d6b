"""One session's requests against a real API server: what is repeated, and how much may come at once.

Cases: patches of a version that is past; a queue whose name another has; lists of queues; watch lines of
megabytes, and one that is too long; more watches than a pool of connections has by default.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from populate_operator.pods.errors import Conflict, Unreachable
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.queues import REFRESH_ANNOTATION, QueueApi
from populate_operator.pods.session import MERGE, ApiSession
from tests.integration.manifests import Api, manifest
from tests.integration.pods.conftest import TEMPLATE, Queue
from tests.integration.pods.faults import Fault, HttpProxy, is_method

Json = dict[str, Any]
LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0)
WATCHES = 120  # aiohttp's own limit is 100 connections


def ref_of(created: Json, **changes: str) -> QueueRef:
    metadata = created["metadata"] | changes
    return QueueRef(created["apiVersion"], metadata["namespace"], metadata["name"], metadata["uid"])


# --- patches --------------------------------------------------------------------------------------


async def test_a_patch_of_a_version_that_is_past_is_not_repeated(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    pod = await queue.create()
    await queue.patch(pod, {"metadata": {"labels": {"changed": "since"}}})
    patch = {"metadata": {"labels": {"changed": "again"}, "resourceVersion": pod.resource_version}}
    with pytest.raises(Conflict):
        await via_http.request("PATCH", f"{queue.pods}/{pod.name}", body=patch, content_type=MERGE)
    assert len(http_proxy.seen) == 1


async def test_a_finalizer_of_a_queue_that_changed_since_is_a_conflict(
    via_http: ApiSession, http_proxy: HttpProxy, here: Api
) -> None:
    created = here.create(manifest(suspend=True))
    here.kubectl("label", "pq", "sorting", "changed=since")
    with pytest.raises(Conflict):
        await QueueApi(via_http).set_finalizer(ref_of(created), created["metadata"], present=True)
    assert sum(map(is_method("PATCH"), http_proxy.seen)) == 1


async def test_a_refresh_that_was_asked_of_a_namesake_stays(session: ApiSession, here: Api) -> None:
    created = here.create(manifest(suspend=True))
    gone = ref_of(created, uid="00000000-0000-4000-8000-0000000000ff")
    patch = {"metadata": {"annotations": {REFRESH_ANNOTATION: "now"}}}
    here.kubectl("patch", "pq", "sorting", "--type=merge", f"--patch={json.dumps(patch)}")
    await QueueApi(session).clear_refresh_request(gone)
    found = json.loads(here.kubectl("get", "pq", "sorting", "-o", "json"))
    assert found["metadata"]["annotations"] == {REFRESH_ANNOTATION: "now"}
    await QueueApi(session).clear_refresh_request(ref_of(created))
    found = json.loads(here.kubectl("get", "pq", "sorting", "-o", "json"))
    assert not found["metadata"].get("annotations")


# --- lists of queues -------------------------------------------------------------------------------


class Recording(ApiSession):
    """Keeps the server's answers as they came."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__(client)
        self.answers: list[Json] = []

    async def request(self, *args: Any, **options: Any) -> Json:
        self.answers.append(await super().request(*args, **options))
        return self.answers[-1]


def create_queues(here: Api, count: int) -> dict[str, int]:
    """The generations of new queues by uid."""
    bodies = [manifest(suspend=True) | {"metadata": {"name": f"sorting-{n}"}} for n in range(count)]
    made = [here.create(body)["metadata"] for body in bodies]
    return {metadata["uid"]: metadata["generation"] for metadata in made}


async def test_queues_are_listed_in_pages_of_metadata(client: ApiClient, here: Api) -> None:
    session = Recording(client)
    queues, namespaces = QueueApi(session, page=2), [here.namespace]
    assert await queues.list_uids(namespaces) == frozenset()
    made = create_queues(here, 5)
    session.answers.clear()
    assert await queues.list_uids(namespaces) == made.keys()
    assert [len(page["items"]) for page in session.answers] == [2, 2, 1]
    async with asyncio.timeout(60):
        while await queues.list_generations(namespaces) != made:  # noqa: ASYNC110 - perhaps late
            await asyncio.sleep(0.1)
    items = [item for page in session.answers for item in page["items"] or ()]
    assert all(item.keys() == {"kind", "apiVersion", "metadata"} for item in items)


async def test_a_page_of_queues_that_expired_is_no_answer(
    via_http: ApiSession, http_proxy: HttpProxy, here: Api
) -> None:
    create_queues(here, 2)
    http_proxy.faults.append(Fault(lambda request: "continue" in request.query, 410, "Expired"))
    with pytest.raises(Unreachable):
        await QueueApi(via_http, page=1).list_uids([here.namespace])


# --- streams --------------------------------------------------------------------------------------


async def first_line(session: ApiSession, path: str) -> bytes:
    async with session.stream(path, query={"watch": "1", "timeoutSeconds": 30}, limit=LIMIT) as body:
        async for line in body:
            return line
    raise AssertionError("the watch has ended")


async def test_a_watch_line_of_megabytes_is_read(session: ApiSession, queue: Queue) -> None:
    """Each `<` has six bytes in the server's JSON, and one in etcd."""
    pod = queue.build(env_of("<" * 1_100_000))
    await session.request("POST", queue.pods, body=pod)
    line = await first_line(session, queue.pods)
    assert len(line) > 6_000_000
    assert json.loads(line)["object"]["metadata"]["name"] == pod["metadata"]["name"]


def env_of(value: str) -> Json:
    """The template with a variable of that value."""
    container = TEMPLATE["spec"]["containers"][0] | {"env": [{"name": "LONG", "value": value}]}
    return {"spec": TEMPLATE["spec"] | {"containers": [container]}}


async def test_a_watch_line_beyond_the_buffer_is_no_answer(http_proxy: HttpProxy, queue: Queue) -> None:
    pod = await queue.create(env_of("x" * 10_000))
    configuration = Configuration(host=http_proxy.url, client_session_kwargs={"read_bufsize": 1024})
    session = ApiSession(ApiClient(configuration))
    with pytest.raises(Unreachable, match="does not answer: Got more than 2048 bytes"):
        await first_line(session, queue.pods)
    await session.close()
    assert json.loads(await first_line(queue.session, queue.pods))["object"]["metadata"]["name"] == pod.name


async def test_a_request_gets_a_connection_however_many_watches_there_are(
    session: ApiSession, queue: Queue
) -> None:
    query: dict[str, str | int] = {"watch": "1", "timeoutSeconds": 60}
    async with asyncio.timeout(60), AsyncExitStack() as watches:
        for _ in range(WATCHES):
            await watches.enter_async_context(session.stream(queue.pods, query=query, limit=LIMIT))
        found = await session.request("GET", queue.pods, timeout=10.0, attempts=1)
    assert found["items"] == []
