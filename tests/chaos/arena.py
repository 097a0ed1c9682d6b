"""A cluster, a database, two replicas and one queue for a run, and all of it away afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cache import REPOSITORY
from dev.cluster import Cluster, current, node_images
from dev.images.catalogue import OPERATOR
from tests.chaos import pod
from tests.chaos.faults import Breaker
from tests.chaos.replica import Replica
from tests.chaos.witness import Witness
from tests.e2e.lab.api_way import api_way
from tests.e2e.lab.database import PASSWORD
from tests.e2e.lab.gateway import gateway
from tests.e2e.lab.host_operator import HostOperator
from tests.e2e.lab.playground import HostDatabase, add_lab_account, dev_cluster, host_instance
from tests.e2e.lab.queues import Queue
from tests.e2e.lab.releases import THIS
from tests.e2e.lab.workplace import Workplace, opened

NAMESPACE = "chaos"
RETRIES = 4
PARALLELISM = 24


@dataclass(frozen=True)
class Arena:
    """All that takes part; logs are in `folder`."""

    place: Workplace
    queue: Queue
    breaker: Breaker
    witness: Witness
    folder: Path


@contextmanager
def own_cluster(name: str) -> Iterator[Cluster]:
    """A cluster of one real node, with the operator's image that the developer's cluster has."""
    source = current().state.layout().node(1)
    dev_cluster("up", name)
    try:
        cluster = current(name)
        node_images.copy(source, cluster.state.layout().node(1), [OPERATOR])
        THIS.apply_crd(cluster)
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=60s")
        yield cluster
    finally:
        dev_cluster("down", name)


@contextmanager
def arena(cluster: Cluster, folder: Path, seed: int, keys: int) -> Iterator[Arena]:
    """The queue works when this is entered."""
    with ExitStack() as stack:
        address = str(cluster.state.layout().address)
        instance = stack.enter_context(host_instance())
        add_lab_account(instance, "worker")
        witness = Witness(address)
        stack.callback(witness.close)
        way = stack.enter_context(gateway(address, ("127.0.0.1", instance.server.port)))
        replicas = [stack.enter_context(running_replica(cluster, folder, name)) for name in "ab"]
        database = HostDatabase(cluster, "", instance.server.port)
        place = stack.enter_context(opened(cluster, database, NAMESPACE))
        queue = place.queue("chaos")
        worker = start_worker(place, witness, seed, keys, folder)
        stack.callback(os.killpg, worker.pid, signal.SIGKILL)
        queue.apply(_spec(place, witness, way.port, seed))
        yield Arena(place, queue, Breaker(place, queue, instance, way, replicas), witness, folder)


@contextmanager
def running_replica(cluster: Cluster, folder: Path, name: str) -> Iterator[Replica]:
    with api_way(cluster, folder / f"kubeconfig-{name}") as (seen, way):
        replica = Replica(HostOperator(seen, NAMESPACE, folder / f"operator-{name}.log", name), way)
        try:
            yield replica
        finally:
            replica.close()


def start_worker(
    place: Workplace, witness: Witness, seed: int, keys: int, folder: Path
) -> subprocess.Popen[bytes]:
    """Declare the tables with their keys, and let a DataJoint worker populate beside the queue.

    It leads a process group, and is started again whenever it ends.
    """
    environment = os.environ | {
        "DJ_HOST": "127.0.0.1",
        "DJ_PORT": str(place.database.port),
        "DJ_USER": "worker",
        "DJ_PASS": PASSWORD,
        "POPULATE_SCHEMA": place.schema,
        "PYTHONPATH": str(REPOSITORY),
        "SEED": str(seed),
        "WITNESS_HOST": witness.address,
        "WITNESS_PORT": str(witness.port),
    }
    declare = "from tests.chaos.pipeline import Session; " + (
        f"Session.insert({{'session': n}} for n in range(1, {keys + 1}))"
    )
    subprocess.run([sys.executable, "-c", declare], env=environment, check=True, capture_output=True)
    with (folder / "worker.log").open("ab") as log:
        command = ["sh", "-c", 'while :; do "$0" -m tests.chaos.pipeline; sleep 2; done', sys.executable]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _spec(place: Workplace, witness: Witness, port: int, seed: int) -> dict[str, Any]:
    environment = {"WITNESS_HOST": witness.address, "WITNESS_PORT": witness.port, "SEED": seed}
    memory = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}}
    template = place.template(
        Path(pod.__file__).read_text(),
        image=OPERATOR,
        resources=memory,
        env=[{"name": name, "value": str(value)} for name, value in environment.items()],
    )
    spec = place.spec(
        "Spikes",
        template,
        parallelism=PARALLELISM,
        retry={"limit": RETRIES, "backoffSeconds": 1, "maxBackoffSeconds": 2},
        refresh={"intervalSeconds": 5, "orphanTimeoutSeconds": 20},
        activeDeadlineSeconds=pod.DEADLINE,
    )
    spec["database"]["port"] = port
    return spec
