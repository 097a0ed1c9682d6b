"""A namespace of each test's own on the running cluster, and sessions through the proxies that break it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from dev.cluster import Cluster, current
from populate_operator.pods.build import DatabaseAccess, PodRequest, build_pod
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import NotFound
from populate_operator.pods.names import pod_name
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.session import STRATEGIC_MERGE, ApiSession, connect
from populate_operator.pods.view import PodView
from tests.integration.pods.faults import HttpProxy, TcpProxy

Json = dict[str, Any]

# Gated, so that no scheduler and kubelet of the cluster changes what a test sets.
TEMPLATE: Json = {
    "spec": {
        "schedulingGates": [{"name": "populate.datajoint.io/test"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "registry.invalid/none"}],
    }
}


@dataclass(frozen=True)
class Queue:
    """A queue's pods in a namespace of the test's own; the PopulateQueue itself need not exist."""

    ref: QueueRef
    session: ApiSession

    @property
    def pods(self) -> str:
        """The path of the namespace's pods."""
        return f"/api/v1/namespaces/{self.ref.namespace}/pods"

    def build(self, template: Json = TEMPLATE, **changes: Any) -> Json:
        """A new pod of this queue, not created yet."""
        database = DatabaseAccess("db", 3306, "account", "username", "password")
        request = PodRequest(
            name=pod_name(self.ref.name, os.urandom(8)), queue=self.ref, template=template, database=database,
            schema="lab", table="__spikes", key='{"a": 1}', attempt=1, **changes,
        )  # fmt: skip
        return build_pod(request)

    async def create(self, template: Json = TEMPLATE) -> PodView:
        """A new pod of this queue."""
        return await PodApi(self.session).create(self.build(template))

    async def patch(self, pod: PodView, patch: Json, subresource: str = "") -> None:
        """Change a pod as a user or, with `subresource="/status"`, as a kubelet would."""
        path = f"{self.pods}/{pod.name}{subresource}"
        await self.session.request("PATCH", path, body=patch, content_type=STRATEGIC_MERGE)

    async def raw(self, pod: PodView) -> Json:
        """The pod as the API server has it."""
        return await self.session.request("GET", f"{self.pods}/{pod.name}")

    async def remove(self, pod: PodView) -> None:
        """Make a pod vanish."""
        api = PodApi(self.session)
        await api.release(pod)
        await api.delete(pod)


@dataclass
class Changes:
    """Collects the notifications of a watch and lets a test wait for what they bring."""

    queue_uids: list[str] = field(default_factory=list)
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, queue_uid: str) -> None:
        self.queue_uids.append(queue_uid)
        self._event.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds`, asked again at each notification; TimeoutError after 60 seconds."""
        async with asyncio.timeout(60):
            while not holds():
                self._event.clear()
                await self._event.wait()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster."""
    return current()


@pytest.fixture
async def session(cluster: Cluster) -> AsyncIterator[ApiSession]:
    """The cluster's administrator."""
    session = await connect(cluster.kubeconfig, cluster.context)
    yield session
    await session.close()


async def is_served(session: ApiSession, path: str) -> bool:
    """Whether there is such an object."""
    try:
        await session.request("GET", path)
    except NotFound:
        return False
    return True


@pytest.fixture
async def create_queue(session: ApiSession) -> AsyncIterator[Callable[..., Any]]:
    """Makes queues, each in a new namespace or in that of another; all go with the test."""
    made: list[Queue] = []

    async def create(name: str = "spikes", namespace: str = "") -> Queue:
        if not namespace:
            namespace = f"populate-test-{secrets.token_hex(4)}"
            await session.request("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
            account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            async with asyncio.timeout(60):
                while not await is_served(session, account):  # noqa: ASYNC110 - no pod is let in without it
                    await asyncio.sleep(0.05)
        uid = f"00000000-0000-4000-8000-{secrets.token_hex(6)}"
        # An API group that no cluster serves: the garbage collector leaves the pods alone.
        made.append(Queue(QueueRef("test.populate.datajoint.io/v1", namespace, name, uid), session))
        return made[-1]

    yield create
    for queue in made:
        left = await session.request("GET", queue.pods)
        for raw in left["items"]:
            path = f"{queue.pods}/{raw['metadata']['name']}"
            await session.request(
                "PATCH", path, body={"metadata": {"finalizers": None}}, content_type=STRATEGIC_MERGE
            )
    for namespace in {queue.ref.namespace for queue in made}:
        await session.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture
async def queue(create_queue: Callable[..., Any]) -> Queue:
    """A queue in a namespace of its own."""
    made: Queue = await create_queue()
    return made


@pytest.fixture
async def via_http(http_proxy: HttpProxy) -> AsyncIterator[ApiSession]:
    """A session through `http_proxy`."""
    session = ApiSession(ApiClient(Configuration(host=http_proxy.url)))
    yield session
    await session.close()


@pytest.fixture
async def via_tcp(cluster: Cluster, tcp_proxy: TcpProxy, tmp_path: Path) -> AsyncIterator[ApiSession]:
    """A session through `tcp_proxy`, with TLS end to end."""
    kubeconfig = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    address = kubeconfig["clusters"][0]["cluster"]
    host = address["server"].split("://")[1].split(":")[0].split("/")[0]
    address |= {"server": tcp_proxy.url, "tls-server-name": address.get("tls-server-name") or host}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(kubeconfig))
    session = await connect(file)
    yield session
    await session.close()
