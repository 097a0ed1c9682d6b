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


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    """An API server that knows PopulateQueue, and a new namespace on it."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRD_FILE))
    namespace = f"populate-test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    yield Api(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def unattended(api: Api) -> Iterator[Api]:
    """The same with the CRD under another group: an operator that runs there would answer our own queues."""
    copy = json.dumps(copied(build_crd()))
    name = f"populatequeues.{COPY_GROUP}"
    api.kubectl("apply", "-f", "-", input=copy)
    api.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{name}")
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
async def slow_road(cluster: Cluster) -> AsyncIterator[TcpProxy]:
    """A way to the API server that can go silent."""
    server = json.loads(cluster.kubectl("config", "view", "--minify", "-o", "json"))
    async with TcpProxy(server["clusters"][0]["cluster"]["server"]).running() as proxy:
        yield proxy


@pytest.fixture
async def http_road(cluster: Cluster) -> AsyncIterator[HttpProxy]:
    """A way to the API server, as its administrator, that breaks single requests."""
    configuration = Configuration()
    await load_kube_config(str(cluster.kubeconfig), cluster.context, configuration)  # type: ignore[no-untyped-call]
    configuration.disable_strict_ssl_verification = True
    client = ApiClient(configuration)
    async with HttpProxy(client).running() as proxy:
        yield proxy
    await client.close()  # type: ignore[no-untyped-call]
