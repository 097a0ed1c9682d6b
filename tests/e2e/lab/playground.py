"""A second cluster, which tests may damage: two fake nodes, the operator's image, a database on the host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dev.cluster import Cluster, current, node_images
from dev.databases import Instance
from dev.images.catalogue import OPERATOR
from tests.e2e.lab.database import PASSWORD, USER, ClusterDatabase

NAME = "playground"


def dev_cluster(command: str, name: str, *arguments: str) -> None:
    """Run `python -m dev.cluster`, which must succeed."""
    words = [sys.executable, "-m", "dev.cluster", command, "--name", name, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def small_cluster_beside(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with two fake nodes and the image of the operator that `cluster` has."""
    dev_cluster("up", NAME, "--fake-nodes", "2")
    try:
        small = current(NAME)
        node_images.copy(cluster.state.layout().node(1), small.state.layout().node(1), [OPERATOR])
        yield small
    finally:
        dev_cluster("down", NAME)


@dataclass(frozen=True)
class HostDatabase(ClusterDatabase):
    """A server on this machine, which the cluster's pods reach at the address of its bridge."""

    @property
    def host(self) -> str:
        return str(self.cluster.state.layout().address)


@contextmanager
def host_database(cluster: Cluster) -> Iterator[HostDatabase]:
    """MySQL on this machine with the account that the lab uses; no node can take it along."""
    with host_instance() as instance:
        yield HostDatabase(cluster, "", instance.server.port)


def add_lab_account(instance: Instance, user: str = USER) -> None:
    """Let the lab's account, or one like it, in from everywhere, as the database in a cluster does."""
    with instance.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'")
        cursor.execute(f"GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION")


@contextmanager
def host_instance() -> Iterator[Instance]:
    """The server of `host_database`, for tests that stop it."""
    with Instance("mysql", options=["--bind-address=0.0.0.0"]) as instance:
        add_lab_account(instance)
        yield instance
