"""What tests against an API server share: the running cluster with the CRD, and a namespace of their own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster, current
from dev.crds import CRD_FILE
from populate_operator.queue.crd import build_crd
from tests.integration.manifests import COPY_GROUP, Api, copied


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
