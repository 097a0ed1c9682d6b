"""An operator of the whole cluster: namespaces deleted under its eyes go, whatever the database does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from enum import Enum, auto

import pytest

from dev.cluster import Cluster
from dev.databases import Instance
from dev.images.catalogue import OPERATOR
from tests.e2e.lab.audit import Audit
from tests.e2e.lab.gate import AT_THE_GATE, make_gated_tables, runs
from tests.e2e.lab.operator import Operator, installed
from tests.e2e.lab.playground import HostDatabase, host_instance
from tests.e2e.lab.queues import eventually
from tests.e2e.lab.workplace import opened


@pytest.fixture
def operator(small_cluster: Cluster) -> Iterator[Operator]:
    with installed(small_cluster, ()) as release:
        yield release


@pytest.fixture
def instance() -> Iterator[Instance]:
    with host_instance() as instance:
        yield instance


def test_namespaces_go_with_their_queues(
    small_cluster: Cluster, operator: Operator, instance: Instance
) -> None:
    for harm in Harm:
        go_with_a_queue(small_cluster, instance, harm)
    audit = Audit(small_cluster, operator.namespace, operator.release)
    assert audit.used()
    assert audit.forbidden() == []


class Harm(Enum):
    """What happens to the database just before."""

    NONE = auto()
    READ_ONLY = auto()
    AWAY = auto()


def set_read_only(instance: Instance, value: int) -> None:
    with instance.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL super_read_only = %s", (value,))


def go_with_a_queue(cluster: Cluster, instance: Instance, harm: Harm) -> None:
    """Delete a namespace whose queue has two pods at work."""
    name = f"e2e-wide-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    with opened(cluster, HostDatabase(cluster, "", instance.server.port), name) as place:
        make_gated_tables(place, keys=4)
        spec = place.spec("__spikes", place.template(AT_THE_GATE, image=OPERATOR), parallelism=2)
        spec["database"]["port"] = instance.server.port
        queue = place.queue().apply(spec)
        eventually("two pods work", lambda: len(runs(place)) == 2, queue=queue)
        match harm:
            case Harm.AWAY:
                instance.kill()
            case Harm.READ_ONLY:
                set_read_only(instance, 1)
        cluster.kubectl("delete", "namespace", name, "--timeout=120s")
        match harm:
            case Harm.AWAY:
                instance.start()
            case Harm.READ_ONLY:
                set_read_only(instance, 0)
