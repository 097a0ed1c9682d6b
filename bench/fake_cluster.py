"""Fake nodes of the local cluster as a place to measure: namespaces, one kind of pod, requests counted."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster import Cluster
from dev.cluster.fake_nodes import KEY, SELECTOR, VALUE
from dev.console import SetupError
from populate_operator.pods.errors import NotFound
from populate_operator.pods.session import ApiSession, connect

Json = dict[str, Any]

TEMPLATE: Json = {
    "spec": {
        "containers": [{"name": "populate", "image": "bench.invalid/nothing:1"}],
        "nodeSelector": {KEY: VALUE},
        "tolerations": [{"key": KEY, "operator": "Equal", "value": VALUE, "effect": "NoSchedule"}],
        "terminationGracePeriodSeconds": 0,
    }
}

# The requests that a job costs: about pods themselves (not their status or binding, which are the nodes'
# and the scheduler's) and about the queue.
_COUNTED = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
WRITES = ("POST", "PUT", "PATCH", "DELETE", "APPLY", "DELETECOLLECTION")
READS = ("GET", "LIST")


@dataclass(frozen=True)
class Requests:
    """Requests about pods and PopulateQueues that the API server has answered so far, by verb."""

    by_verb: Mapping[str, float]

    def since(self, before: Requests) -> Requests:
        return Requests({verb: n - before.by_verb.get(verb, 0) for verb, n in self.by_verb.items()})

    @property
    def writes(self) -> float:
        return sum(self.by_verb.get(verb, 0) for verb in WRITES)

    @property
    def reads(self) -> float:
        return sum(self.by_verb.get(verb, 0) for verb in READS)


def parse_requests(metrics: str) -> Requests:
    """From the API server's /metrics.

    Dry runs are none of a job's, nor are deletions answered 404: kwok sends one for every pod that is gone.
    """
    counts: Counter[str] = Counter()
    for match in _COUNTED.finditer(metrics):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        is_pod = labels["resource"] == "pods" and labels["subresource"] == ""
        if (is_pod or labels["resource"] == "populatequeues") and not labels["dry_run"]:
            if labels["verb"] == "DELETE" and labels["code"] == "404":
                continue
            counts[labels["verb"]] += round(float(match["count"]))
    return Requests(counts)


class FakeCluster:
    """The API server and its fake nodes, seen by `cluster`'s administrator."""

    def __init__(self, cluster: Cluster, session: ApiSession) -> None:
        self.cluster, self.session = cluster, session

    @classmethod
    @asynccontextmanager
    async def connected(cls, cluster: Cluster) -> AsyncIterator[FakeCluster]:
        """Raises SetupError where there is no fake node."""
        if not cluster.kubectl("get", "nodes", "-l", SELECTOR, "-o", "name"):
            raise SetupError("the cluster has no fake nodes: make cluster-up FAKE_NODES=10")
        session = await connect(cluster.kubeconfig, cluster.context)
        try:
            yield cls(cluster, session)
        finally:
            await session.close()

    @asynccontextmanager
    async def namespace(self, purpose: str) -> AsyncIterator[str]:
        """A new namespace. It is emptied of pods before it goes, lest the next measurement pays for that."""
        name = f"bench-{purpose}-{secrets.token_hex(3)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.session.request("POST", "/api/v1/namespaces", body=body)
        try:
            while not await self.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"):
                await asyncio.sleep(0.1)
            yield name
            await self.empty(name)
        finally:
            await self.session.request("DELETE", f"/api/v1/namespaces/{name}", body={})

    async def exists(self, path: str) -> bool:
        try:
            await self.session.request("GET", path)
        except NotFound:
            return False
        return True

    async def empty(self, namespace: str) -> None:
        """Delete every pod at once and wait until none is left."""
        path, now = f"/api/v1/namespaces/{namespace}/pods", {"gracePeriodSeconds": 0}
        await self.session.request("DELETE", path, body=now, timeout=300.0)
        while await self.pods(namespace, limit=1):
            await asyncio.sleep(0.2)

    async def pods(self, namespace: str, *, limit: int) -> list[Json]:
        """Some of its pods."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        return list((await self.session.request("GET", path, query={"limit": limit}))["items"])

    async def requests(self) -> Requests:
        return parse_requests(await self.session.text("/metrics", timeout=30.0))

    def write_kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig of this cluster alone, for a process that is not told a context."""
        file = folder / "kubeconfig"
        file.write_text(self.cluster.kubectl("config", "view", "--minify", "--flatten"))
        return file
