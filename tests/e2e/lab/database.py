"""MySQL in the cluster, reached by pods through its Service and by tests through `kubectl port-forward`."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pymysql

from dev.cluster import Cluster
from dev.demo.__main__ import MANIFESTS

USER, PASSWORD = "root", "demo-only"


@dataclass(frozen=True)
class ClusterDatabase:
    """The server: `host` for pods and the operator, `port` on 127.0.0.1 for tests."""

    cluster: Cluster
    namespace: str
    port: int
    address: str = ""

    @property
    def host(self) -> str:
        return self.address or f"mysql.{self.namespace}.svc"

    def seen_from_here(self) -> ClusterDatabase:
        """The same under an address that programs of this machine and pods share; native clusters only."""
        address = self.cluster.kubectl(
            "get", "pod", "-n", self.namespace, "-l", "app=mysql", "-o", "jsonpath={.items[0].status.podIP}"
        )
        return replace(self, address=address)

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, autocommit=True, **options
        )

    def execute(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())


@contextmanager
def running_database(cluster: Cluster) -> Iterator[ClusterDatabase]:
    namespace = f"e2e-db-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        cluster.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / "database.yaml"))
        cluster.kubectl("rollout", "status", "-n", namespace, "deployment/mysql", "--timeout=180s")
        with forwarded(cluster, namespace) as port:
            yield ClusterDatabase(cluster, namespace, port)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@contextmanager
def forwarded(cluster: Cluster, namespace: str) -> Iterator[int]:
    """A free local port that leads to the server.

    kubectl says a line for each connection; once the pipe is full of them, it lets none through.
    """
    command = [*cluster.kubectl_command(), "port-forward", "-n", namespace, "service/mysql", ":3306"]
    kubectl = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with kubectl as process, ThreadPoolExecutor(1) as reader:  # which ends first, and with the process
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"kubectl port-forward said {line!r}"
            reader.submit(process.stdout.read)
            yield int(found[1])
        finally:
            process.terminate()
