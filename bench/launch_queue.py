"""A PopulateQueue on fake nodes: its tables, the operator as a process of this machine, and its end.

Fake pods run no code, so a trigger stands in for `make`: the moment a job is reserved, the database inserts
its row into the target, at the cost that the pod's own INSERT would have. The operator takes the path of
every successful job: it finds the key in the target, settles the job as complete and deletes its row.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fake_cluster import TEMPLATE, FakeCluster, Json
from dev.cache import REPOSITORY
from dev.console import SetupError
from dev.databases import Database, Server
from populate_operator.jobs import Database as JobDatabase
from populate_operator.jobs import JobTable
from populate_operator.pods.build import DatabaseAccess, PodRequest, build_pod
from populate_operator.pods.owner import QueueRef

API = "populate.datajoint.io/v1alpha1"
QUEUE, SECRET = "bench", "database"
_POLL = 0.05
_LEFT = "SELECT EXISTS (SELECT 1 FROM `~~result` WHERE status IN ('pending', 'reserved'))"
_SCHEMA = (
    "CREATE TABLE source (id int NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB",
    "CREATE TABLE __result (id int NOT NULL, reserved_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), "
    "PRIMARY KEY (id), FOREIGN KEY (id) REFERENCES source (id)) ENGINE=InnoDB",
)
_MAKE = (
    "CREATE TRIGGER make AFTER UPDATE ON `~~result` FOR EACH ROW BEGIN "
    "IF NEW.status = 'reserved' AND OLD.status = 'pending' THEN "
    "INSERT IGNORE INTO __result (id) VALUES (NEW.id); END IF; END"
)


@dataclass(frozen=True)
class Pipeline:
    """A key source of `jobs` keys, a target that a trigger fills, and a queue of pending jobs."""

    database: Database
    jobs: int

    def create(self) -> None:
        with self.database.connect() as connection, connection.cursor() as cursor:
            for statement in _SCHEMA:
                cursor.execute(statement)
            cursor.executemany("INSERT INTO source VALUES (%s)", [(n,) for n in range(1, self.jobs + 1)])
            server = self.database.server
            account = JobDatabase(
                host=server.host, port=server.port, user=server.user, password=server.password
            )
            JobTable(account, schema=self.database.name, table="Result").refresh()
            cursor.execute(_MAKE)

    async def seconds_to_settle(self) -> float:
        """Wait for the last settled row; seconds since the first reservation, by the database's clock."""
        with self.database.connect() as connection, connection.cursor() as cursor:

            def ask(sql: str) -> Any:
                cursor.execute(sql)
                row = cursor.fetchone()
                return row[0] if row else None

            while ask(_LEFT):
                await asyncio.sleep(_POLL)
            seconds = float(
                ask("SELECT TIMESTAMPDIFF(MICROSECOND, MIN(reserved_at), NOW(6)) / 1e6 FROM __result")
            )
            if left := ask("SELECT CONCAT(status, ': ', error_message) FROM `~~result` LIMIT 1"):
                raise SetupError(f"not every job was completed: {left}")
            if (made := ask("SELECT COUNT(*) FROM __result")) != self.jobs:
                raise SetupError(f"{made} instead of {self.jobs} rows were made")
            return seconds


@contextmanager
def pipeline(server: Server, jobs: int) -> Iterator[Pipeline]:
    """A pipeline in a database of its own, which goes afterwards."""
    database = Database(server, f"bench_launch_{secrets.token_hex(4)}").create()
    try:
        made = Pipeline(database, jobs)
        made.create()
        yield made
    finally:
        database.drop()


@asynccontextmanager
async def operator_process(fake: FakeCluster, served: str, own: str, folder: Path) -> AsyncIterator[None]:
    """The operator on this machine for one namespace."""
    environment = os.environ | {
        "KUBECONFIG": str(fake.write_kubeconfig(folder)),
        "PYTHONPATH": str(REPOSITORY / "operator"),
        "POPULATE_NAMESPACES": served,
        "POPULATE_OWN_NAMESPACE": own,
        "POPULATE_HEALTH_PORT": "0",
    }
    with (folder / "operator.log").open("wb") as log:
        command = [sys.executable, "-m", "populate_operator"]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=log, stderr=log, cwd=folder
        )
        try:
            yield
            if process.returncode is not None:
                raise SetupError(f"the operator ended: {(folder / 'operator.log').read_text()[-2000:]}")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def run_queue(
    fake: FakeCluster, namespace: str, work: Pipeline, *, parallelism: int, wait_seconds: float = 900.0
) -> float:
    """Apply a queue for `work` and wait until it is done, then delete it; seconds as `seconds_to_settle`."""
    server = work.database.server
    base = f"/apis/{API}/namespaces/{namespace}/populatequeues"
    await fake.session.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=_secret(server))
    spec = {
        "database": {
            "host": server.host,
            "port": server.port,
            "credentials": {"secretName": SECRET},
        },
        "schema": work.database.name,
        "table": "Result",
        "parallelism": parallelism,
        "template": TEMPLATE,
    }
    queue = {"apiVersion": API, "kind": "PopulateQueue", "metadata": {"name": QUEUE}, "spec": spec}
    await fake.session.request("POST", base, body=queue)
    async with asyncio.timeout(wait_seconds):
        seconds = await work.seconds_to_settle()
        while not await _is_tidy(fake, namespace):
            await asyncio.sleep(0.2)
    return seconds


async def delete_queue(fake: FakeCluster, namespace: str) -> None:
    """Delete the queue and wait until the operator has let it go."""
    path = f"/apis/{API}/namespaces/{namespace}/populatequeues/{QUEUE}"
    await fake.session.request("DELETE", path, body={})
    async with asyncio.timeout(60):
        while await fake.exists(path):
            await asyncio.sleep(0.2)


async def _is_tidy(fake: FakeCluster, namespace: str) -> bool:
    kept = 3  # the default of podRetention.succeeded
    pods = await fake.pods(namespace, limit=kept + 1)
    return len(pods) <= kept and not any(pod["metadata"].get("finalizers") for pod in pods)


def build_pods(namespace: str, count: int) -> list[Json]:
    """The pods that the operator makes of the template, for the peers."""
    queue = QueueRef(API, namespace, QUEUE, "00000000-0000-0000-0000-000000000000")
    access = DatabaseAccess("127.0.0.1", 3306, SECRET, "username", "password")
    return [
        build_pod(
            PodRequest(
                name=f"{QUEUE}-{number}",
                queue=queue,
                template=TEMPLATE,
                database=access,
                schema="bench_launch",
                table="Result",
                key=f'{{"id":{number}}}',
                attempt=1,
            )
        )
        for number in range(count)
    ]


def _secret(server: Server) -> Json:
    data = {"username": server.user, "password": server.password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": data}
