"""What tests against an API server share: the running cluster with the CRD, and a namespace of their own."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.kube_config import load_kube_config

from dev.cluster import Cluster, current
from dev.crds import CRD_FILE
from populate_operator.queue.crd import build_crd
from tests.integration.manifests import COPY_GROUP, Api, copied
from tests.integration.pods.faults import HttpProxy, TcpProxy


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster."""
    return current()


@pytest.fixture(scope="session")
def knowing(cluster: Cluster) -> Cluster:
    """The running cluster, which knows PopulateQueue."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRD_FILE))
    return cluster


@pytest.fixture(scope="module")
def api(knowing: Cluster) -> Iterator[Api]:
    """An API server that knows PopulateQueue, and a new namespace on it."""
    namespace = f"populate-test-{secrets.token_hex(4)}"
    knowing.kubectl("create", "namespace", namespace)
    yield Api(knowing, namespace)
    knowing.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def unattended(api: Api) -> Iterator[Api]:
    """The same with the CRD under another group: an operator that runs there would answer our own queues."""
    copy = json.dumps(copied(build_crd()))
    name = f"populatequeues.{COPY_GROUP}"
    api.kubectl("apply", "-f", "-", input=copy)
    api.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{name}")
    while name not in api.kubectl("api-resources", f"--api-group={COPY_GROUP}", "-o", "name"):
        pass  # discovery follows
    yield api
    api.kubectl("delete", "crd", name, "--wait=false")


@pytest.fixture
def here(api: Api) -> Iterator[Api]:
    """A namespace of the test's own on an API server that knows PopulateQueue."""
    namespace = f"populate-test-{secrets.token_hex(4)}"
    api.cluster.kubectl("create", "namespace", namespace)
    yield Api(api.cluster, namespace)
    api.cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    """The kubernetes package's client, for the proxies."""
    configuration = Configuration()
    await load_kube_config(str(cluster.kubeconfig), cluster.context, configuration)  # type: ignore[no-untyped-call]
    configuration.disable_strict_ssl_verification = True
    client = ApiClient(configuration)
    yield client
    await client.close()  # type: ignore[no-untyped-call]


@pytest.fixture
async def http_proxy(client: ApiClient) -> AsyncIterator[HttpProxy]:
    """Breaks single requests."""
    async with HttpProxy(client).running() as proxy:
        yield proxy


@pytest.fixture
async def tcp_proxy(client: ApiClient) -> AsyncIterator[TcpProxy]:
    """Breaks connections."""
    async with TcpProxy(client.configuration.host).running() as proxy:
        yield proxy
