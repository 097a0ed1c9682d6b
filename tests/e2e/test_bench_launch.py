"""The launch benchmark at a tiny size: its contestants run to their end, and a job costs what we promise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.fake_cluster import FakeCluster, parse_requests
from bench.launch import as_json, measure, report
from dev.cache import REPOSITORY
from dev.cluster import Cluster
from dev.cluster.fake_nodes import SELECTOR
from dev.databases import Server

JOBS = 40

METRICS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",dry_run="",resource="pods",subresource="",verb="POST"} 7
apiserver_request_total{code="201",dry_run="All",resource="pods",subresource="",verb="POST"} 1
apiserver_request_total{code="201",dry_run="",resource="pods",subresource="binding",verb="POST"} 7
apiserver_request_total{code="200",dry_run="",resource="pods",subresource="",verb="DELETE"} 4
apiserver_request_total{code="404",dry_run="",resource="pods",subresource="",verb="DELETE"} 4
apiserver_request_total{code="200",dry_run="",resource="populatequeues",subresource="status",verb="PATCH"} 2
apiserver_request_total{code="200",dry_run="",resource="pods",subresource="",verb="GET"} 3
apiserver_request_total{code="200",dry_run="",resource="leases",subresource="",verb="PUT"} 9
"""


@pytest.fixture
def fake_nodes(cluster: Cluster) -> Cluster:
    """The session's cluster with fake nodes; they keep real pods away, so they may stay."""
    if not cluster.kubectl("get", "nodes", "-l", SELECTOR, "-o", "name"):
        command = [sys.executable, "-m", "dev.cluster", "up", "--fake-nodes", "10"]
        subprocess.run(command, check=True, cwd=REPOSITORY)
    return cluster


def test_requests_of_jobs_are_told_from_those_of_nodes_and_scheduler() -> None:
    counted = parse_requests(METRICS)
    assert counted.by_verb == {"POST": 7, "DELETE": 4, "PATCH": 2, "GET": 3}
    assert (counted.writes, counted.reads) == (13, 3)


async def test_all_contestants_run_every_job(fake_nodes: Cluster, mysql: Server) -> None:
    async with FakeCluster.connected(fake_nodes) as fake:
        launch = await measure(fake, mysql, jobs=JOBS, parallelism=20, rounds=1)
    assert launch.ours > 0
    assert launch.peer > 0
    assert launch.limit > 0
    # Each is created and released, and deleted but for the newest three; a status write a second is on top.
    assert 3 - 3 / JOBS <= launch.writes_per_job < 4 + 1 / launch.ours
    assert str(JOBS) in report(launch)
    found = json.loads(as_json(launch, fake_nodes, mysql))
    assert {"ours", "peer", "limit", "unit", "ratio_to_peer", "fraction_of_limit", "setup"} <= set(found)
