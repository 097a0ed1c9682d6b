"""Queues beside a database and an API server that a test may break: both are reached through gateways."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster import Cluster
from dev.databases import Instance
from dev.images.catalogue import SEGMENTATION
from tests.e2e.lab.api_way import api_way
from tests.e2e.lab.database import ClusterDatabase
from tests.e2e.lab.gateway import Gateway, Turnstile, gateway
from tests.e2e.lab.host_operator import HostOperator
from tests.e2e.lab.playground import add_lab_account
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.releases import THIS
from tests.e2e.lab.tables import CONNECT, make_tables
from tests.e2e.lab.workplace import Workplace, opened

Json = dict[str, Any]
KEYS = 3
FAILS = 2  # this key's pod makes no row and ends with exit code 3

WAIT = f"""{CONNECT}
import socket
def wait():
    gate = socket.create_connection((os.environ["GATE_HOST"], int(os.environ["GATE_PORT"])))
    gate.sendall((os.environ["POPULATE_POD"] + "\\n").encode())
    gate.recv(1)
"""
# The row is there before the pod waits, so that what follows hangs on the operator alone.
_PROGRAM = f"""{WAIT}
if key["session"] != {FAILS}:
    insert()
wait()
sys.exit(3 if key["session"] == {FAILS} else 0)
"""


@dataclass(frozen=True)
class Case:
    """One queue, with a schema, an account and a way to the database of its own."""

    place: Workplace
    way: Gateway
    gate: Turnstile
    account: str = field(default_factory=lambda: f"door_{secrets.token_hex(4)}")
    queue: Queue = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queue", self.place.queue())

    def begin(
        self,
        *,
        parallelism: int = 2,
        program: str = _PROGRAM,
        image: str = SEGMENTATION,
        keys: int = KEYS,
        **spec: Any,
    ) -> None:
        """Apply the queue; the first pods will wait at the gate."""
        make_tables(self.place, keys=keys)
        self.place.sql(f"CREATE USER '{self.account}'@'%%' IDENTIFIED BY 'secret'")
        self.grant()
        self.place.add_secret(self.account, "secret", self.account.replace("_", "-"))
        gate = {"GATE_HOST": self.gate.address, "GATE_PORT": str(self.gate.port)}
        template = self.place.template(
            program, image=image, env=[{"name": name, "value": value} for name, value in gate.items()]
        )
        spec |= {"parallelism": parallelism, "refresh": {"intervalSeconds": 1}}
        spec = self.place.spec("Spikes", template, **spec)
        credentials = {"secretName": self.account.replace("_", "-")}
        database = {"host": self.way.address, "port": self.way.port, "credentials": credentials}
        self.queue.apply(spec | {"database": database})

    def grant(self) -> None:
        self.place.sql(f"GRANT ALL ON `{self.place.schema}`.* TO '{self.account}'@'%%'")

    def drop_connections(self) -> None:
        self.place.drop_connections(self.account)

    def pods(self) -> dict[str, Json]:
        return {pod["metadata"]["name"]: pod for pod in self.queue.pods()}

    def at_the_gate(self) -> list[str]:
        """Its pods that wait, or were let through."""
        return [name for name in self.pods() if name in self.gate.waiting()]

    def let_end(self, names: list[str]) -> None:
        """Let pods end while the database is away: they are kept, by the finalizer, as they are."""
        self.gate.let_through(*names)
        ended = {"Succeeded", "Failed"}
        eventually("ended", lambda: all(self.pods()[name]["status"]["phase"] in ended for name in names))
        for name in names:
            metadata = self.pods()[name]["metadata"]
            assert metadata["finalizers"] == ["populate.datajoint.io/outcome"]
            assert "deletionTimestamp" not in metadata

    def is_told(self, reason: str, words: str) -> bool:
        """Whether the queue says so of its database."""
        found = self.queue.condition("DatabaseReachable")
        return (found["status"], found["reason"]) == ("False", reason) and words in found["message"]

    def jobs(self) -> dict[int, tuple[str, str]]:
        """Status and error of each job that is left."""
        found = self.place.sql("SELECT session, status, error_message FROM `~~spikes`")
        return {session: (status, error) for session, status, error in found}

    def is_done(self) -> bool:
        """Whether every key has its row or its true error, and nothing is held any more."""
        jobs = self.jobs()
        rows = {session for (session,) in self.place.sql("SELECT session FROM __spikes")}
        return (
            rows == set(range(1, KEYS + 1)) - {FAILS}
            and jobs.keys() == {FAILS}
            and jobs[FAILS][0] == "error"
            and "exit code 3" in jobs[FAILS][1]
            and not self.queue.pods_with_finalizer()
        )

    def event_counts(self, reason: str) -> list[int]:
        """How often each event of that reason happened."""
        field = f"involvedObject.name={self.queue.name},reason={reason}"
        found = json.loads(self.queue.kubectl("get", "events", "--field-selector", field, "-o", "json"))
        return [event["count"] for event in found["items"]]


@dataclass(frozen=True)
class Lab:
    """A server, an operator process and the gateway between that and the API server."""

    cluster: Cluster
    namespace: str
    instance: Instance
    operator: HostOperator
    api: Gateway
    gate: Turnstile
    stack: ExitStack

    def case(self, instance: Instance | None = None) -> Case:
        """A queue-to-be, on the lab's own server or another one that has the lab's account."""
        address, port = self.api.address, (instance or self.instance).server.port
        database = ClusterDatabase(self.cluster, "", port, address=address)
        way = self.stack.enter_context(gateway(address, ("127.0.0.1", port)))
        return Case(self.stack.enter_context(opened(self.cluster, database, self.namespace)), way, self.gate)


@contextmanager
def outage_lab(cluster: Cluster, topic: str, folder: Path) -> Iterator[Lab]:
    """Everything but queues, in a namespace named after `topic`.

    Native clusters only: pods reach this machine at the API server's address.
    """
    THIS.apply_crd(cluster)
    namespace = f"e2e-{topic}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    with ExitStack() as stack:
        instance = stack.enter_context(Instance("mysql"))
        add_lab_account(instance)
        seen, api = stack.enter_context(api_way(cluster, folder / "kubeconfig"))
        operator = HostOperator(seen, namespace, folder / "operator.log")
        gate = Turnstile(api.address)
        stack.callback(gate.close)
        stack.callback(operator.kill)
        operator.start()
        yield Lab(cluster, namespace, instance, operator, api, gate, stack)
        stack.callback(api.mend)  # first of all: the queues' pods are settled and let go
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
