"""SIGTERM and SIGKILL at random moments, while pods are being created for hundreds of jobs.

The pods are gated: no scheduler and no kubelet has part in it. Each moment is a number of pods that exist;
the seed decides which. At the end each job is reserved by one pod, each pod has one job, and no other pod
ever was.
"""

from __future__ import annotations

import json
import random
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from dev.databases import Database, Server
from tests.integration.manifests import Api, manifest
from tests.integration.processes import GRACE_SECONDS, operator, said

KEYS = 300
SEED = 7
SIGNALS = [signal.SIGTERM, signal.SIGKILL] * 3
KEY = "populate.datajoint.io/key"
TEMPLATE = {
    "spec": {
        "schedulingGates": [{"name": "populate.datajoint.io/test"}],
        "containers": [{"name": "populate", "image": "registry.invalid/none"}],
    }
}


@pytest.fixture
def database(mysql: Server) -> Iterator[Database]:
    """A pipeline with as many keys to populate as there will be pods."""
    database = Database(mysql, f"populate_test_{secrets.token_hex(6)}").create()
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE session (session int PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE __spikes (session int PRIMARY KEY, "
            "FOREIGN KEY (session) REFERENCES session (session))"
        )
        cursor.executemany("INSERT INTO session VALUES (%s)", [(key,) for key in range(KEYS)])
    yield database
    database.drop()


@pytest.fixture
def queue(here: Api, database: Database) -> Api:
    """The namespace of the queue `sorting`, which would run all keys at once."""
    server = database.server
    account = {"username": server.user, "password": server.password}
    literals = [f"--from-literal={name}={value}" for name, value in account.items()]
    here.kubectl("create", "secret", "generic", "dj", *literals)
    address = {"host": server.host, "port": server.port}
    here.create(
        manifest(database=address, schema=database.name, table="Spikes", parallelism=KEYS, template=TEMPLATE)
    )
    return here


@dataclass
class Witness:
    """Sees every pod that ever is, by a watch of its own."""

    lines: subprocess.Popen[str]
    seen: set[str] = field(default_factory=set)

    def wait_for(self, pods: int) -> None:
        """Wait until so many pods have been seen."""
        assert self.lines.stdout is not None
        while len(self.seen) < pods:
            line = self.lines.stdout.readline()
            assert line, "the watch has ended"
            self.seen.add(line)

    def all_seen(self) -> set[str]:
        """Every pod until now; ends the watch."""
        assert self.lines.stdout is not None
        self.lines.terminate()
        self.seen.update(self.lines.stdout)
        return self.seen


@contextmanager
def witness(api: Api) -> Iterator[Witness]:
    command = [*api.cluster.kubectl_command(), "get", "pods", "-n", api.namespace, "--watch", "-o", "name"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Witness(process)
        finally:
            process.terminate()


def reservations(database: Database) -> dict[str, int]:
    """The key that each pod's name is reserved for."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT host, session FROM `~~spikes` WHERE status = 'reserved'")
        return dict(cursor.fetchall())


def statuses(database: Database) -> dict[str, int]:
    """How many jobs have each status."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status, count(*) FROM `~~spikes` GROUP BY status")
        return dict(cursor.fetchall())


def pods(api: Api) -> dict[str, int]:
    """The key of each pod."""
    found = [pod["metadata"] for pod in json.loads(api.kubectl("get", "pods", "-o", "json"))["items"]]
    return {pod["name"]: json.loads(pod["annotations"][KEY])["session"] for pod in found}


@pytest.mark.timeout(1800)
def test_no_job_is_lost_or_doubled_by_signals_at_random_moments(queue: Api, database: Database) -> None:
    moments = sorted(random.Random(SEED).sample(range(KEYS - 50), len(SIGNALS)))  # noqa: S311
    with witness(queue) as seen:
        for moment, number in zip(moments, SIGNALS, strict=True):
            with operator(queue.cluster.kubeconfig, queue.namespace, "one") as process:
                said(process, "leading")
                seen.wait_for(moment)
                process.send_signal(number)
                ended = process.wait(GRACE_SECONDS)
            assert ended == (0 if number is signal.SIGTERM else -signal.SIGKILL)
            lease = json.loads(queue.kubectl("get", "lease", "populate-operator", "-o", "json"))
            assert bool(lease["spec"].get("holderIdentity")) == (number is signal.SIGKILL)
        with operator(queue.cluster.kubeconfig, queue.namespace, "one"):
            seen.wait_for(KEYS)
            held = reservations(database)
            assert sorted(held.values()) == list(range(KEYS))
            assert pods(queue) == held
            queue.kubectl("delete", "pq", "sorting", "--timeout=600s")
        assert len(seen.all_seen()) == KEYS
    assert statuses(database) == {"pending": KEYS}
