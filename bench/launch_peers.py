"""What launching is measured against: the Job controller on the same pods, and their bare creation."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import Any

import aiohttp

from bench.fake_cluster import FakeCluster, Json
from dev.console import SetupError
from populate_operator.pods.names import FINALIZER

CONNECTIONS = 32  # as many as the operator has
_POLL = 0.05


async def run_indexed_job(
    fake: FakeCluster, namespace: str, pod: Json, *, jobs: int, parallelism: int
) -> float:
    """Seconds from the creation of an Indexed Job until its last pod is counted as succeeded."""
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "peer", "namespace": namespace},
        "spec": {
            "completionMode": "Indexed",
            "completions": jobs,
            "parallelism": parallelism,
            "backoffLimit": 0,
            "template": {
                "metadata": {part: pod["metadata"][part] for part in ("labels", "annotations")},
                "spec": pod["spec"],
            },
        },
    }
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    started = time.perf_counter()
    await fake.session.request("POST", path, body=job)
    while (status := (await fake.session.request("GET", f"{path}/peer"))["status"]).get("succeeded") != jobs:
        if status.get("failed"):
            raise SetupError(f"pods of the Job failed: {status}")
        await asyncio.sleep(_POLL)
    return time.perf_counter() - started


async def create_bare_pods(fake: FakeCluster, namespace: str, pods: list[Json]) -> float:
    """Seconds to POST `pods` over parallel connections: no client can create them faster."""
    bodies: asyncio.Queue[bytes] = asyncio.Queue()
    for pod in pods:
        bodies.put_nowait(json.dumps(_unowned(pod)).encode())
    configuration = fake.session._configuration
    trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    trust.load_cert_chain(configuration.cert_file, configuration.key_file)
    url = f"{configuration.host}/api/v1/namespaces/{namespace}/pods?fieldValidation=Ignore"

    async def post(client: aiohttp.ClientSession) -> None:
        while not bodies.empty():
            async with client.post(url, data=bodies.get_nowait(), headers=_HEADERS) as response:
                answer = await response.read()
                if response.status != 201:
                    raise SetupError(f"a bare pod was refused: {answer[:300]!r}")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=CONNECTIONS)) as client:
        started = time.perf_counter()
        await asyncio.gather(*(post(client) for _ in range(CONNECTIONS)))
        return time.perf_counter() - started


_HEADERS = {"Content-Type": "application/json"}


def _unowned(pod: Json) -> dict[str, Any]:
    metadata = {name: value for name, value in pod["metadata"].items() if name != "ownerReferences"}
    metadata["finalizers"] = [one for one in metadata["finalizers"] if one != FINALIZER]
    return {**pod, "metadata": metadata}
