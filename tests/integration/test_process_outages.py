"""Probes that tell the truth, and a quick end, while the API server or the database is silent.

Cases: a follower without the API server; no CRD; a pass that hangs; a deaf watch; SIGTERM while the database,
or both, do not answer.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from populate_operator.pods.names import MANAGED_BY, MANAGED_BY_LABEL, QUEUE_UID_LABEL
from tests.e2e.lab.queues import eventually
from tests.integration.manifests import Api, manifest
from tests.integration.pods.faults import Fault, HttpProxy, TcpProxy, is_watch
from tests.integration.processes import (
    PROMISED_SECONDS,
    answers,
    ask,
    impatient,
    kubeconfig_through,
    operator,
    said,
    wait_for_reason,
)


class SilentServer:
    """Accepts and never says a word, as a database that is frozen does."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.port = 0

    def accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer  # kept, or it would be closed
        self.asked.set()


@pytest.fixture
async def silent_database(here: Api) -> AsyncIterator[SilentServer]:
    """The database of the queue `sorting`, which this makes."""
    silent = SilentServer()
    server = await asyncio.start_server(silent.accept, "127.0.0.1", 0)
    silent.port = server.sockets[0].getsockname()[1]
    here.kubectl(
        "create", "secret", "generic", "dj", "--from-literal=username=u", "--from-literal=password=p"
    )
    here.create(manifest(database={"host": "127.0.0.1", "port": silent.port}))
    yield silent
    # The operator is gone, and so is its part in the deletion.
    here.abandon_queues()
    server.close()


def holder(api: Api) -> str:
    lease = json.loads(api.kubectl("get", "lease", "populate-operator", "-o", "json"))
    return str(lease["spec"].get("holderIdentity") or "")


async def test_a_follower_without_the_api_server_is_unready_but_alive(
    here: Api, tcp_proxy: TcpProxy, tmp_path: Path
) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one") as leader:
        await asyncio.to_thread(said, leader, "leading")
        kubeconfig = kubeconfig_through(here.cluster, tcp_proxy.url, tmp_path)
        with operator(kubeconfig, here.namespace, "two") as follower:
            port = (await asyncio.to_thread(said, follower, "operator started"))["port"]
            await answers(port, "/readyz", 200)
            tcp_proxy.stall()
            assert "the API server cannot be used" in await answers(port, "/readyz", 503)
            assert await asyncio.to_thread(ask, port, "/livez") == (200, "ok")
            tcp_proxy.mend()
            await answers(port, "/readyz", 200)


async def test_without_the_crd_it_waits_unready(here: Api, http_proxy: HttpProxy, tmp_path: Path) -> None:
    absent = Fault(
        lambda request: "populatequeues" in request.path, path="/apis/populate.datajoint.io/v0/none"
    )
    http_proxy.faults = [absent] * 100  # the API server's own 404
    kubeconfig = kubeconfig_through(here.cluster, http_proxy.url, tmp_path)
    with operator(kubeconfig, here.namespace, "one") as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await asyncio.to_thread(wait_for_reason, process, "CRD is not installed")
        status, complaint = await asyncio.to_thread(ask, port, "/readyz")
        assert (status, "CRD is not installed" in complaint) == (503, True)
        assert await asyncio.to_thread(ask, port, "/livez") == (200, "ok")
        http_proxy.faults.clear()
        await answers(port, "/readyz", 200)


async def test_a_pass_that_hangs_fails_the_liveness_probe(here: Api, silent_database: SilentServer) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one", impatient(one_pass=1)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await silent_database.asked.wait()
        assert "a reconcile pass has taken" in await answers(port, "/livez", 503)
        assert await asyncio.to_thread(ask, port, "/readyz") == (200, "ok")


def create_a_pod(here: Api) -> None:
    """Of the queue `sorting`, for the watch to tell of."""
    uid = here.kubectl("get", "pq", "sorting", "-o", "jsonpath={.metadata.uid}")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "changing", "labels": {MANAGED_BY_LABEL: MANAGED_BY, QUEUE_UID_LABEL: uid}},
        "spec": {
            "schedulingGates": [{"name": "populate.datajoint.io/test"}],
            "containers": [{"name": "populate", "image": "registry.invalid/none"}],
        },
    }
    here.create(pod)


def is_alive_after_a_change(here: Api, port: object) -> bool:
    here.kubectl("annotate", "--overwrite", "pod", "changing", f"now={time.monotonic()}")
    return ask(port, "/livez") == (200, "ok")


def watches_pods(request: web.BaseRequest) -> bool:
    return is_watch(request) and request.path.endswith("/pods")


async def test_a_deaf_watch_fails_the_liveness_probe(
    here: Api, silent_database: SilentServer, http_proxy: HttpProxy, tmp_path: Path
) -> None:
    """Each watch ends in order without having said a word, for as long as the test wants."""
    mute = Fault(watches_pods, query={"allowWatchBookmarks": "false", "timeoutSeconds": "1"})
    http_proxy.faults = [mute] * 1000
    kubeconfig = kubeconfig_through(here.cluster, http_proxy.url, tmp_path)
    with operator(kubeconfig, here.namespace, "one", impatient(silence=5)) as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        assert "the pod watch has been silent" in await answers(port, "/livez", 503)
        http_proxy.faults.clear()
        await asyncio.to_thread(create_a_pod, here)
        check = partial(is_alive_after_a_change, here, port)
        await asyncio.to_thread(eventually, "the watch hears again", check)


async def test_sigterm_ends_it_while_the_database_is_silent(here: Api, silent_database: SilentServer) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one") as process:
        port = (await asyncio.to_thread(said, process, "operator started"))["port"]
        await silent_database.asked.wait()
        assert await asyncio.to_thread(ask, port, "/livez") == (200, "ok")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PROMISED_SECONDS) == 0
    assert holder(here) == ""


async def test_sigterm_ends_it_while_nothing_answers(
    here: Api, silent_database: SilentServer, tcp_proxy: TcpProxy, tmp_path: Path
) -> None:
    kubeconfig = kubeconfig_through(here.cluster, tcp_proxy.url, tmp_path)
    with operator(kubeconfig, here.namespace, "one") as process:
        await silent_database.asked.wait()
        tcp_proxy.stall()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PROMISED_SECONDS) == 0
