"""The cluster that the session runs on, and a namespace of its own for every test that asks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster, current
from dev.console import SetupError


def _is_native() -> bool:
    try:
        return current().provider == "native"
    except SetupError:
        return False


# Losing a node and leaving no trace concern clusters of our own processes, not kind and foreign ones.
collect_ignore = [] if _is_native() else ["test_native_cluster.py"]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster, as `make cluster-up` left it."""
    return current()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace, with the account that pods run as; it goes with the test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
