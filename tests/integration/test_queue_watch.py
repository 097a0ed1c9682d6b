"""Kopf's watch of PopulateQueues, in a real operator process: what it must notice, and what it must confess.

Cases: its connection goes silent; it alone is broken; the API server as a whole is away; it ends for good.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from populate_operator.handlers import build_settings
from tests.integration.manifests import Api, manifest
from tests.integration.pods.faults import Fault, HttpProxy, TcpProxy, is_watch
from tests.integration.processes import (
    Process,
    answers,
    ask,
    impatient,
    kubeconfig_through,
    operator,
    said,
)

HANG_SECONDS = 120.0


@pytest.fixture
def queues(here: Api) -> Iterator[Api]:
    """A namespace that goes with its queues although no operator is left."""
    yield here
    for name in here.kubectl("get", "pq", "-o", "name").split():
        here.kubectl("patch", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')


def create(api: Api, name: str) -> None:
    """A queue without a database: it is served all the same."""
    api.create(manifest() | {"metadata": {"name": name}})


async def served(process: Process, name: str) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while (await asyncio.to_thread(said, process, "queue served"))["queue"] != name:
            pass


def watches_queues(request: web.BaseRequest) -> bool:
    return is_watch(request) and "populatequeues" in request.path


def test_silence_is_noticed_within_a_minute_and_never_in_a_healthy_watch() -> None:
    watching = build_settings().watching
    assert watching.server_timeout is not None
    assert watching.client_timeout is not None
    assert watching.server_timeout < watching.client_timeout < watching.inactivity_timeout < 60


async def test_what_happens_while_the_watch_is_silent_is_noticed(
    queues: Api, slow_road: TcpProxy, tmp_path: Path
) -> None:
    create(queues, "early")
    kubeconfig = kubeconfig_through(queues.cluster, slow_road.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one") as process:
        await served(process, "early")
        create(queues, "watched")
        await served(process, "watched")  # told by the watch: the list was over
        slow_road.forget()
        create(queues, "unseen")
        queues.kubectl("patch", "pq", "early", "--type=merge", '--patch={"spec": {"suspend": true}}')
        await served(process, "unseen")
        observed = "--for=jsonpath={.status.observedGeneration}=2"
        await asyncio.to_thread(queues.kubectl, "wait", "pq", "early", observed, "--timeout=120s")
        assert process.poll() is None


async def test_a_watch_that_alone_is_broken_fails_the_liveness_probe(
    queues: Api, http_road: HttpProxy, tmp_path: Path
) -> None:
    http_road.faults = [Fault(watches_queues, status=500)] * 100
    create(queues, "listed")
    kubeconfig = kubeconfig_through(queues.cluster, http_road.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one", impatient(missed=1)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await served(process, "listed")
        assert await asyncio.to_thread(ask, port, "/livez") == (200, "ok")
        create(queues, "unseen")
        assert "the watch of queues has missed changes" in await answers(port, "/livez", 503)
        assert await asyncio.to_thread(ask, port, "/readyz") == (200, "ok")
        http_road.faults.clear()
        await served(process, "unseen")
        assert await answers(port, "/livez", 200) == "ok"


async def heard_until_the_end(process: Process, port: object) -> AsyncIterator[tuple[int, str]]:
    """What the liveness probe says while the process lives."""
    async with asyncio.timeout(HANG_SECONDS):
        while process.poll() is None:
            try:
                yield await asyncio.to_thread(ask, port, "/livez")
            except urllib.error.URLError:  # on its way out
                return
            await asyncio.sleep(0.2)


async def test_no_watch_is_blamed_while_the_api_server_is_away(
    queues: Api, slow_road: TcpProxy, tmp_path: Path
) -> None:
    create(queues, "listed")
    kubeconfig = kubeconfig_through(queues.cluster, slow_road.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one", impatient(missed=1)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await served(process, "listed")
        slow_road.refuse()
        create(queues, "unseen")
        assert "the API server cannot be used" in await answers(port, "/readyz", 503)
        assert {answer async for answer in heard_until_the_end(process, port)} == {(200, "ok")}
        assert await asyncio.to_thread(process.wait, HANG_SECONDS) == 1  # its lease is lost: it begins afresh


async def test_a_watch_that_ends_for_good_ends_the_process(
    queues: Api, http_road: HttpProxy, tmp_path: Path
) -> None:
    http_road.faults = [Fault(watches_queues, status=400)] * 100
    kubeconfig = kubeconfig_through(queues.cluster, http_road.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one") as process:
        assert await asyncio.to_thread(process.wait, HANG_SECONDS) == 1
    assert any(map(watches_queues, http_road.seen))
    lease = json.loads(queues.kubectl("get", "lease", "populate-operator", "-o", "json"))
    assert not lease["spec"].get("holderIdentity")
