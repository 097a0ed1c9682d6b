"""From the previous version to this one and back, by Helm, with queues at work: nothing is touched or lost.

- upgrade: running pods go on, jobs that wait are started by the new version, the CRD has new fields
- rollback by Helm under the new CRD, then the old CRD as well: the same
- upgraded again: every job has run once; uninstalled, nothing holds a namespace
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev import previous
from dev.cluster import Cluster
from dev.images import store
from dev.images.catalogue import OPERATOR, PREVIOUS
from tests.e2e.lab.database import ClusterDatabase
from tests.e2e.lab.gate import (
    AT_THE_GATE,
    is_at_rest,
    jobs,
    known_to_run,
    make_gated_tables,
    open_gate,
    populated,
    runs,
)
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.releases import THIS, Release, Version, absent_release
from tests.e2e.lab.workplace import Workplace, opened

PARALLELISM = 2


@pytest.fixture(scope="module")
def old(cluster: Cluster) -> Version:
    store.load(cluster, store.build(["previous-operator"]))
    return Version(previous.checkout(), PREVIOUS)


@pytest.fixture(scope="module")
def new() -> Version:
    return THIS


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    with absent_release(cluster, 1) as release:
        yield release


def test_versions_change_under_running_jobs(
    cluster: Cluster, cluster_database: ClusterDatabase, release: Release, old: Version, new: Version
) -> None:
    release.upgrade(old)
    with opened(cluster, cluster_database, release.watched[0]) as place:
        make_gated_tables(place, keys=6)
        queue = place.queue()
        queue.apply(place.spec("__spikes", place.template(AT_THE_GATE), parallelism=PARALLELISM))
        eventually("pods work", lambda: len(runs(place)) == PARALLELISM, queue=queue)
        fields = crd_fields(cluster)

        release.upgrade(new)
        assert release.image() == OPERATOR
        assert crd_fields(cluster) >= fields
        assert (crd_fields(cluster) > fields) == (old.crd() != new.crd())
        one_more_job(place, queue)

        release.helm("rollback", release.name, "1", "--wait", "--timeout", "90s")
        assert release.image() == PREVIOUS
        one_more_job(place, queue)
        old.apply_crd(cluster)
        one_more_job(place, queue)

        release.upgrade(new)
        open_gate(place)
        eventually("all done", lambda: populated(place) == [1, 2, 3, 4, 5, 6], queue=queue)
        eventually("at rest", lambda: is_at_rest(place, queue), queue=queue)
        assert sorted(runs(place)) == [1, 2, 3, 4, 5, 6]
        assert jobs(place) == {}
        queue.delete()
    release.helm("uninstall", release.name)
    cluster.kubectl("delete", "namespace", *release.watched, release.name, "--timeout=60s")


def one_more_job(place: Workplace, queue: Queue) -> None:
    """The pods that work still do; one of them may end, and this version settles it and starts the next."""
    begun, done = runs(place), populated(place)
    working = {pod["metadata"]["uid"] for pod in known_to_run(queue, PARALLELISM)}
    assert len(begun) == len(done) + PARALLELISM
    ends = next(session for session in begun if session not in done)
    open_gate(place, ends)
    eventually("another pod", lambda: len(runs(place)) == len(begun) + 1, queue=queue)
    assert ends in populated(place)
    still = {pod["metadata"]["uid"] for pod in queue.running()}
    assert len(still & working) == PARALLELISM - 1


def crd_fields(cluster: Cluster) -> set[str]:
    """The path of each field that the served schema names."""
    raw = cluster.kubectl("get", "crd", "populatequeues.populate.datajoint.io", "-o", "json")
    (version,) = json.loads(raw)["spec"]["versions"]
    return set(fields_of(version["schema"]["openAPIV3Schema"], ""))


def fields_of(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields_of(inner, f"{path}.{name}")
    if "items" in schema:
        yield from fields_of(schema["items"], f"{path}[]")
