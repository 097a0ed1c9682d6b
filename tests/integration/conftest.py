"""What tests against an API server share: the running cluster with the CRD, and a namespace of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from dev.cluster import current
from dev.crds import CRD_FILE
from tests.integration.manifests import Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An API server that knows PopulateQueue, and a new namespace on it."""
    cluster = current()
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRD_FILE))
    namespace = f"populate-test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    yield Api(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
