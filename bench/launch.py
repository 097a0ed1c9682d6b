"""How many jobs a second run as pods: the operator beside an Indexed Job of the same pods on the same nodes.

`python -m bench.launch --jobs 2000 --parallelism 500` needs a cluster with fake nodes, whose pods end as soon
as they run (`make cluster-up FAKE_NODES=10`), and measures in one run, each round in another order:

ours   from the first reservation to the last settled row
peer   an Indexed Job of the same pods, from its creation to its last counted pod; the client limits of the
       controller manager are lifted
limit  bare parallel POSTs of the pods: nobody creates them faster
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fake_cluster import FakeCluster, Requests
from bench.launch_peers import create_bare_pods, run_indexed_job
from bench.launch_queue import build_pods, delete_queue, operator_process, pipeline, run_queue
from bench.queue_setting import setup
from dev.cluster import Cluster, current
from dev.console import main_or_exit, say
from dev.databases import Server, persistent


@dataclass(frozen=True)
class Launch:
    """What was measured: jobs/s, medians of the rounds; `ratio_to_peer` that of each round's ours / peer."""

    jobs: int
    parallelism: int
    rounds: int
    ours: float
    peer: float
    limit: float
    ratio_to_peer: float
    fraction_of_limit: float
    writes_per_job: float
    reads_per_job: float


@dataclass(frozen=True)
class Round:
    """Jobs/s of one round, and the requests that ours took."""

    ours: float
    peer: float
    limit: float
    requests: Requests


async def measure(
    fake: FakeCluster,
    server: Server,
    *,
    jobs: int,
    parallelism: int,
    rounds: int,
) -> Launch:
    """Run all contestants `rounds` times."""
    done = [await _round(fake, server, jobs, parallelism, number) for number in range(rounds)]
    return Launch(
        jobs=jobs,
        parallelism=parallelism,
        rounds=rounds,
        ours=statistics.median(one.ours for one in done),
        peer=statistics.median(one.peer for one in done),
        limit=statistics.median(one.limit for one in done),
        ratio_to_peer=statistics.median(one.ours / one.peer for one in done),
        fraction_of_limit=statistics.median(one.ours / one.limit for one in done),
        writes_per_job=statistics.median(one.requests.writes for one in done) / jobs,
        reads_per_job=statistics.median(one.requests.reads for one in done) / jobs,
    )


async def _round(fake: FakeCluster, server: Server, jobs: int, parallelism: int, number: int) -> Round:
    limit = jobs / await _limit(fake, jobs)
    say(f"limit {limit:.0f} pods/s")
    if number % 2:  # what runs first may find the cluster in another state
        peer = jobs / await _peer(fake, jobs, parallelism)
        seconds, requests = await _ours(fake, server, jobs, parallelism)
    else:
        seconds, requests = await _ours(fake, server, jobs, parallelism)
        peer = jobs / await _peer(fake, jobs, parallelism)
    result = Round(jobs / seconds, peer, limit, requests)
    verbs = ", ".join(f"{verb} {n:.0f}" for verb, n in sorted(requests.by_verb.items()) if n)
    say(f"round {number + 1}: ours {result.ours:.1f}, peer {peer:.1f} jobs/s; {verbs}")
    return result


async def _ours(fake: FakeCluster, server: Server, jobs: int, parallelism: int) -> tuple[float, Requests]:
    with pipeline(server, jobs) as work, tempfile.TemporaryDirectory() as folder:
        async with fake.namespace("operator") as own, fake.namespace("queue") as served:
            before = await fake.requests()
            async with operator_process(fake, served, own, Path(folder)):
                seconds = await run_queue(fake, served, work, parallelism=parallelism)
                requests = (await fake.requests()).since(before)
                await delete_queue(fake, served)
    return seconds, requests


async def _peer(fake: FakeCluster, jobs: int, parallelism: int) -> float:
    async with fake.namespace("job") as namespace:
        pod = build_pods(namespace, 1)[0]
        return await run_indexed_job(fake, namespace, pod, jobs=jobs, parallelism=parallelism)


async def _limit(fake: FakeCluster, jobs: int) -> float:
    async with fake.namespace("bare") as namespace:
        return await create_bare_pods(fake, namespace, build_pods(namespace, jobs))


def report(launch: Launch) -> str:
    """For people."""
    return (
        f"{launch.jobs} jobs, parallelism {launch.parallelism}, median of {launch.rounds}\n"
        f"ours   {launch.ours:8.1f} jobs/s   {launch.ratio_to_peer:.2f}x the Job controller\n"
        f"peer   {launch.peer:8.1f} jobs/s   Indexed Job\n"
        f"limit  {launch.limit:8.1f} pods/s   bare parallel POSTs\n"
        f"API requests per job: {launch.writes_per_job:.2f} writes, {launch.reads_per_job:.3f} reads"
    )


def find_server() -> Server:
    """The MySQL of POPULATE_TEST_MYSQL_URL, else the development server, started if it is down."""
    if url := os.environ.get("POPULATE_TEST_MYSQL_URL"):
        return Server.from_url("mysql", url)
    return next(server for server in persistent.start() if server.kind == "mysql")


def as_json(launch: Launch, cluster: Cluster, server: Server) -> str:
    """For programs, in the shape that all benchmarks share."""
    version = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    place = setup(server) | {"kubernetes": version, "provider": cluster.provider}
    return json.dumps({"unit": "jobs/s", **asdict(launch), "setup": place})


async def run(options: argparse.Namespace, cluster: Cluster, server: Server) -> Launch:
    async with FakeCluster.connected(cluster) as fake:
        return await measure(
            fake,
            server,
            jobs=options.jobs,
            parallelism=options.parallelism,
            rounds=options.rounds,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.launch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--parallelism", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    cluster, server = current(), find_server()
    launch = asyncio.run(run(options, cluster, server))
    print(as_json(launch, cluster, server) if options.json else report(launch))


if __name__ == "__main__":
    main_or_exit(main)
