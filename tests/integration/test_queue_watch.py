"""Kopf's watch of PopulateQueues, in a real operator process: what it must notice, and what it must confess.

Cases: its connection goes silent; it alone is broken; the API server as a whole is away; it ends for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from populate_operator.handlers import build_settings
from tests.e2e.lab.api_way import api_way
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


@pytest.fixture(scope="module", autouse=True)
def deaf(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """An operator whose connections were forgotten, before things happen; the other tests fill the time."""
    create(api, "early")
    kubeconfig = tmp_path_factory.mktemp("deaf") / "kubeconfig"
    with (
        api_way(api.cluster, kubeconfig) as (seen, way),
        operator(seen.kubeconfig, api.namespace, "one") as process,
    ):
        wait_until_served(process, "early")
        create(api, "watched")
        wait_until_served(process, "watched")  # told by the watch: the list is over
        way.forget()
        create(api, "unseen")
        api.kubectl("patch", "pq", "early", "--type=merge", '--patch={"spec": {"suspend": true}}')
        yield process
    api.abandon_queues()


@pytest.fixture
def queues(here: Api) -> Iterator[Api]:
    """A namespace that goes with its queues although no operator is left."""
    yield here
    here.abandon_queues()


def create(api: Api, name: str) -> None:
    """A queue without a database: it is served all the same."""
    api.create(manifest() | {"metadata": {"name": name}})


def wait_until_served(process: Process, name: str) -> None:
    while said(process, "queue served")["queue"] != name:
        pass


async def served(process: Process, name: str) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.to_thread(wait_until_served, process, name)


def watches_queues(request: web.BaseRequest) -> bool:
    return is_watch(request) and "populatequeues" in request.path


def test_silence_is_noticed_within_a_minute_and_never_in_a_healthy_watch() -> None:
    watching = build_settings().watching
    assert watching.server_timeout is not None
    assert watching.client_timeout is not None
    assert watching.server_timeout < watching.client_timeout < watching.inactivity_timeout < 60


async def test_a_watch_that_alone_is_broken_fails_the_liveness_probe(
    queues: Api, http_proxy: HttpProxy, tmp_path: Path
) -> None:
    http_proxy.faults = [Fault(watches_queues, status=500)] * 100
    create(queues, "listed")
    kubeconfig = kubeconfig_through(queues.cluster, http_proxy.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one", impatient(missed=1)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await served(process, "listed")
        assert await asyncio.to_thread(ask, port, "/livez") == (200, "ok")
        await asyncio.to_thread(create, queues, "unseen")  # the proxy goes on meanwhile
        assert "the watch of queues has missed changes" in await answers(port, "/livez", 503)
        assert await answers(port, "/readyz", 200) == "ok"
        http_proxy.faults.clear()
        await served(process, "unseen")
        assert await answers(port, "/livez", 200) == "ok"


async def heard_until_the_end(process: Process, port: object) -> set[tuple[int, str]]:
    """What the liveness probe says while the process lives."""
    heard = set[tuple[int, str]]()
    async with asyncio.timeout(HANG_SECONDS):
        while process.poll() is None:
            with contextlib.suppress(OSError):  # on its way out
                heard.add(await asyncio.to_thread(ask, port, "/livez"))
            await asyncio.sleep(0.2)
    return heard


async def test_no_watch_is_blamed_while_the_api_server_is_away(
    queues: Api, tcp_proxy: TcpProxy, tmp_path: Path
) -> None:
    create(queues, "listed")
    kubeconfig = kubeconfig_through(queues.cluster, tcp_proxy.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one", impatient(missed=1)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await served(process, "listed")
        heard = asyncio.create_task(heard_until_the_end(process, port))
        tcp_proxy.refuse()
        assert "the API server cannot be used" in await answers(port, "/readyz", 503)
        await asyncio.to_thread(create, queues, "unseen")
        assert await heard == {(200, "ok")}
        assert await asyncio.to_thread(process.wait, HANG_SECONDS) == 1  # its lease is lost: it begins afresh


async def test_a_watch_that_ends_for_good_ends_the_process(
    queues: Api, http_proxy: HttpProxy, tmp_path: Path
) -> None:
    http_proxy.faults = [Fault(watches_queues, status=400)] * 100
    kubeconfig = kubeconfig_through(queues.cluster, http_proxy.url, tmp_path)
    with operator(kubeconfig, queues.namespace, "one") as process:
        assert await asyncio.to_thread(process.wait, HANG_SECONDS) == 1
    assert any(map(watches_queues, http_proxy.seen))
    lease = json.loads(queues.kubectl("get", "lease", "populate-operator", "-o", "json"))
    assert not lease["spec"].get("holderIdentity")


def test_what_happened_while_the_watch_was_silent_is_noticed(api: Api, deaf: Process) -> None:
    for name, generation in (("unseen", 1), ("early", 2)):
        observed = f"--for=jsonpath={{.status.observedGeneration}}={generation}"
        api.kubectl("wait", "pq", name, observed, f"--timeout={HANG_SECONDS:.0f}s")
    assert deaf.poll() is None
