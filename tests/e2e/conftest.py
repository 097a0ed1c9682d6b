"""The cluster that the session runs on, and a namespace of its own for every test that asks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from dev.cluster import Cluster, current
from dev.cluster.nodes import ExtraNode, extra_node
from dev.console import SetupError
from tests.e2e.lab.database import ClusterDatabase, running_database
from tests.e2e.lab.operator import Operator, installed
from tests.e2e.lab.playground import small_cluster_beside
from tests.e2e.lab.queues import RESOURCE
from tests.e2e.lab.workplace import Workplace, opened


def _is_native() -> bool:
    try:
        return current().provider == "native"
    except SetupError:
        return False


# Losing a node, fake nodes and leaving no trace concern clusters of our own processes, not foreign ones.
# Only there is the API server's audit log at hand, and a pod's address reached from this machine.
NATIVE = [
    "test_cluster_wide.py",
    "test_availability.py",
    "test_bench_launch.py",
    "test_breaker.py",
    "test_chaos.py",
    "test_crash_points.py",
    "test_lost_node.py",
    "test_native_cluster.py",
    "test_outages.py",
    "test_outages_of_api.py",
    "test_outages_of_data.py",
    "test_rbac.py",
]
collect_ignore = [] if _is_native() else NATIVE


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running cluster, as `make cluster-up` left it."""
    return current()


@pytest.fixture(scope="session")
def small_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster beside it, which tests may damage: native ones alone."""
    with small_cluster_beside(cluster) as small:
        yield small


@pytest.fixture(scope="session")
def second_node(small_cluster: Cluster) -> Iterator[ExtraNode]:
    """A real node of the small cluster; who cuts it off heals it."""
    with extra_node(small_cluster) as node:
        yield node


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace, with the account that pods run as; it goes with the test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def cluster_database(cluster: Cluster) -> Iterator[ClusterDatabase]:
    """MySQL in the cluster, for the session."""
    with running_database(cluster) as database:
        yield database


@pytest.fixture(scope="session")
def watched(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Two namespaces that the session's operator serves, under Pod Security "restricted"."""
    names = tuple(f"e2e-{secrets.token_hex(3)}-{letter}" for letter in "ab")
    for name in names:
        cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield names[0], names[1]
    for name in names:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def operator(cluster: Cluster, watched: tuple[str, str]) -> Iterator[Operator]:
    """The operator, installed by its chart for the session's two namespaces."""
    with installed(cluster, watched) as release:
        yield release
        for namespace in watched:  # while it is there to settle and release their pods
            cluster.kubectl("delete", RESOURCE, "--all", "-n", namespace, "--timeout=120s")


@pytest.fixture
def make_workplace(
    cluster: Cluster, cluster_database: ClusterDatabase, operator: Operator
) -> Iterator[Callable[[str], Workplace]]:
    """Makes workplaces in a watched namespace, each with a schema of its own that goes with the test."""
    with ExitStack() as stack:
        yield lambda namespace: stack.enter_context(opened(cluster, cluster_database, namespace))


@pytest.fixture(scope="module")
def make_lasting_workplace(
    cluster: Cluster, cluster_database: ClusterDatabase, operator: Operator
) -> Iterator[Callable[[str], Workplace]]:
    """The same for a module: its tests look at what came of queues that ran side by side."""
    with ExitStack() as stack:
        yield lambda namespace: stack.enter_context(opened(cluster, cluster_database, namespace))


@pytest.fixture
def workplace(make_workplace: Callable[[str], Workplace], watched: tuple[str, str]) -> Workplace:
    """A schema and an account in the first watched namespace."""
    return make_workplace(watched[0])
