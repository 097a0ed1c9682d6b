"""Queues and operator are removed in every order, also without a database: nothing is stuck, nothing lost.

- operator first: pods go on; an operator that comes back settles them; without one, a deleted queue waits
  until `kubectl populate unblock` lets it go, and a new operator gives its jobs to the next queue
- operator first, and another one in another namespace goes on in its place
- operator and queue at once; a namespace together with the Role by which the operator served it
(A queue first, with its pods at work or the database down, is in test_lifecycle_ends.py; namespaces under an
operator of the whole cluster are in test_cluster_wide.py.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cache import REPOSITORY
from dev.cluster import Cluster
from populate_operator.pods.names import JOB_PODS
from tests.e2e.lab.database import ClusterDatabase
from tests.e2e.lab.gate import AT_THE_GATE, is_at_rest, jobs, make_gated_tables, open_gate, populated, runs
from tests.e2e.lab.queues import RESOURCE, Queue, eventually
from tests.e2e.lab.releases import THIS, Release, absent_release
from tests.e2e.lab.workplace import Workplace, opened


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    with absent_release(cluster, 1) as release:
        release.upgrade(THIS)
        yield release


def kubectl_populate(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin with this cluster's kubectl on the PATH, as a person has it."""
    path = f"{Path(cluster.kubectl_command()[0]).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY / "operator")}
    access = [f"--kubeconfig={cluster.kubeconfig}", f"--context={cluster.context}"]
    command = [sys.executable, "-m", "populate_operator.cli", *arguments, *access]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def released_plainly(cluster: Cluster, namespace: str) -> bool:
    """What docs/uninstall.md says for those without the plugin: kubectl alone takes all finalizers away.

    Raises SetupError where one of them is gone before it is patched.
    """
    for kind in (["pods", "-l", JOB_PODS], [RESOURCE]):
        for name in cluster.kubectl("get", *kind, "-n", namespace, "-o", "name").split():
            patch = '--patch={"metadata":{"finalizers":null}}'
            cluster.kubectl("patch", name, "-n", namespace, "--type=merge", patch)
    return True


def begin(place: Workplace) -> Queue:
    """Four keys, two pods at work."""
    make_gated_tables(place, keys=4)
    queue = place.queue()
    queue.apply(place.spec("__spikes", place.template(AT_THE_GATE), parallelism=2))
    eventually("two pods work", lambda: len(runs(place)) == 2, queue=queue)
    return queue


def test_operator_first(cluster: Cluster, cluster_database: ClusterDatabase, release: Release) -> None:
    with opened(cluster, cluster_database, release.watched[0]) as place:
        queue = begin(place)
        release.uninstall()
        first = runs(place)[0]
        open_gate(place, first)
        eventually("a pod ends by itself", lambda: populated(place) == [first], queue=queue)
        assert list(jobs(place).values()).count("reserved") == 2

        release.upgrade(THIS)
        eventually("settled, and the next begun", lambda: len(runs(place)) == 3, queue=queue)
        assert first not in jobs(place)

        refused = kubectl_populate(cluster, "unblock", "-n", place.namespace)
        assert refused.returncode == 1
        assert "an operator runs (" in refused.stderr
        assert f"{release.name}/{release.name}-" in refused.stderr
        release.uninstall()
        left = set(runs(place)) - {first}
        queue.delete(wait=False)
        queue.kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", f"{RESOURCE}/{queue.name}")
        done = kubectl_populate(cluster, "unblock", "-n", place.namespace, "--force")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"released PopulateQueue/{queue.name} in {place.namespace}" in done.stdout
        eventually("the queue is gone", lambda: not queue.exists())
        eventually("its pods are gone", lambda: queue.pods() == [])
        assert {key for key, status in jobs(place).items() if status == "reserved"} == left

        release.upgrade(THIS)
        open_gate(place)
        again = place.queue()
        again.apply(place.spec("__spikes", place.template(AT_THE_GATE), parallelism=4))
        eventually("all done", lambda: populated(place) == [1, 2, 3, 4], queue=again)
        eventually("at rest", lambda: is_at_rest(place, again), queue=again)
        assert Counter(runs(place)) == Counter([1, 2, 3, 4, *left])


def test_operator_moves_to_another_namespace(
    cluster: Cluster, cluster_database: ClusterDatabase, release: Release
) -> None:
    """As does one whose namespace was deleted and made anew: reservations carry its UID."""
    with opened(cluster, cluster_database, release.watched[0]) as place:
        queue = begin(place)
        first, second = runs(place)
        release.uninstall()
        open_gate(place, first)
        eventually("a pod ends by itself", lambda: populated(place) == [first], queue=queue)
        with absent_release(cluster, 0) as elsewhere:
            moved = replace(elsewhere, watched=release.watched)
            moved.upgrade(THIS)
            eventually("settled, and the next begun", lambda: len(runs(place)) == 3, queue=queue)
            assert second in {key for key, status in jobs(place).items() if status == "reserved"}
            open_gate(place)
            eventually("all done", lambda: populated(place) == [1, 2, 3, 4], queue=queue)
            eventually("at rest", lambda: is_at_rest(place, queue), queue=queue)
            assert sorted(runs(place)) == [1, 2, 3, 4]
            queue.delete()


def test_namespace_that_took_its_role_along_is_unblocked(
    cluster: Cluster, cluster_database: ClusterDatabase, release: Release
) -> None:
    """A release for listed namespaces has its rights from Roles in them, which go with the namespace."""
    with opened(cluster, cluster_database, release.watched[0]) as place:
        queue = begin(place)
        cluster.kubectl("delete", "namespace", place.namespace, "--wait=false")
        cluster.kubectl("wait", "--for=delete", "role", "--all", "-n", place.namespace, "--timeout=60s")
        eventually("let go", lambda: unblocked(cluster, place.namespace) and not queue.exists())
        cluster.kubectl("wait", "--for=delete", f"namespace/{place.namespace}", "--timeout=60s")


def test_operator_and_queue_at_once(
    cluster: Cluster, cluster_database: ClusterDatabase, release: Release
) -> None:
    with opened(cluster, cluster_database, release.watched[0]) as place:
        queue = begin(place)
        queue.delete(wait=False)
        release.uninstall()
        eventually("let go", lambda: released_plainly(cluster, place.namespace))
        eventually("the queue is gone", lambda: not queue.exists())
        eventually("its pods are gone", lambda: queue.pods() == [])
        cluster.kubectl("delete", "namespace", place.namespace, "--timeout=60s")


def unblocked(cluster: Cluster, namespace: str) -> bool:
    """Whether the command did its work; --force as other operators serve other namespaces of this cluster."""
    return kubectl_populate(cluster, "unblock", "-n", namespace, "--force").returncode == 0
