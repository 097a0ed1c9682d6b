"""A test's workplace: a schema of its own, an account, a namespace that the operator watches, templates."""

from __future__ import annotations

import json
import secrets
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import ER

from dev.cluster import Cluster
from dev.images.catalogue import SEGMENTATION
from populate_operator.jobs import Database, Job, JobTable
from tests.e2e.lab.database import PASSWORD, USER, ClusterDatabase
from tests.e2e.lab.queues import RESOURCE, Queue

Json = dict[str, Any]
SECRET = "database"
CONNECTIONS = "SELECT id, host FROM information_schema.processlist WHERE user = %s AND id <> CONNECTION_ID()"


@dataclass(frozen=True)
class Workplace:
    """Where one test works."""

    cluster: Cluster
    database: ClusterDatabase
    namespace: str
    schema: str

    def queue(self, name: str = "") -> Queue:
        """A queue of a name that no other test has."""
        return Queue(self.cluster, self.namespace, name or f"q-{secrets.token_hex(4)}")

    def add_secret(self, user: str = USER, password: str = PASSWORD, name: str = SECRET) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "stringData": {"username": user, "password": password},
        }
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL in the test's own schema."""
        with self.database.connect(database=self.schema) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def drop_connections(self, user: str, *, but_of: tuple[str, ...] = ()) -> int:
        """Kill the account's connections, except those from the addresses `but_of`; how many there were."""
        found = [
            number
            for number, client in self.sql(CONNECTIONS, user)
            if client.rpartition(":")[0] not in but_of
        ]
        for number in found:
            self._kill(number)
        return len(found)

    def _kill(self, connection: int) -> None:
        """End a connection; one that has just ended by itself is as good."""
        try:
            self.sql(f"KILL {connection}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != ER.NO_SUCH_THREAD:
                raise

    def job(self, table: str, **key: object) -> Job:
        """The row of the table's job queue, which must be there."""
        host, port = "127.0.0.1", self.database.port
        account = Database(host=host, port=port, user=USER, password=PASSWORD)
        jobs = JobTable(account, schema=self.schema, table=table)
        states = (jobs.pending, jobs.reserved, jobs.completed, jobs.errors, jobs.ignored)
        (found,) = (job for state in states for job in state.where(key))
        return found

    def spec(self, table: str, template: Json, **changes: Any) -> Json:
        """A spec for `table` of this schema with short intervals."""
        return {
            "database": {"host": self.database.host, "credentials": {"secretName": SECRET}},
            "schema": self.schema,
            "table": table,
            "refresh": {"intervalSeconds": 5},
            "template": template,
            **changes,
        }

    def template(self, code: str = "", **container: Any) -> Json:
        """A pod that runs Python `code` in the example's image, which has DataJoint and PyMySQL.

        It is as Pod Security "restricted" asks.
        """
        main: Json = {
            "name": "populate",
            "image": SEGMENTATION,
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            **container,
        }
        if code:
            main["command"] = ["python", "-c", textwrap.dedent(code)]
        security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {"terminationGracePeriodSeconds": 1, "securityContext": security, "containers": [main]}
        return {"spec": spec}


@contextmanager
def opened(cluster: Cluster, database: ClusterDatabase, namespace: str) -> Iterator[Workplace]:
    """A workplace in `namespace`; its schema and the namespace's queues go with it."""
    place = Workplace(cluster, database, namespace, f"lab_{secrets.token_hex(4)}")
    database.execute(f"CREATE DATABASE `{place.schema}`")
    try:
        place.add_secret()
        yield place
    finally:
        cluster.kubectl("delete", RESOURCE, "--all", "-n", namespace, "--timeout=120s")
        database.execute(f"DROP DATABASE IF EXISTS `{place.schema}`")
