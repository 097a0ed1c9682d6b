"""One operator process: probes, leader election, the pod watch, the queues."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib import resources
from typing import Any

import structlog

from populate_operator.handlers import watch_queues
from populate_operator.leader import LeaderElection
from populate_operator.metrics import LEADER
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import NotFound
from populate_operator.pods.events import EventRecorder
from populate_operator.pods.queues import QueueApi
from populate_operator.pods.session import ApiSession, connect
from populate_operator.pods.watch import PodWatch
from populate_operator.probes import serve_probes
from populate_operator.queue.fleet import Fleet
from populate_operator.queue.points import Reached, nobody
from populate_operator.queue.services import NotLeading, Services
from populate_operator.settings import Settings

log = structlog.get_logger(__name__)

LEASE = "populate-operator"
SILENCE_LIMIT = 120.0  # seconds without a word from the API server while leading
CRD_SECONDS = 5.0  # between looks for a CRD that is not installed yet
PASS_LIMIT = 600.0  # seconds of one pass: every call in it has a timeout far below


async def serve(settings: Settings, reached: Reached = nobody) -> None:
    """Run until SIGTERM or SIGINT, and tell `reached` of each Point that a queue comes to.

    Raises LeadershipLost, after which the process should start afresh.
    """
    session = await connect()
    stop = asyncio.Event()
    operator = Operator(settings, session, stop, reached)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serve_probes(
            settings.health_port, live=operator.complaint, ready=operator.unready
        ) as port:
            log.info("operator started", port=port, namespaces=settings.namespaces or "all")
            await _until(stop, operator.run())
    finally:
        await session.close()


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends by itself or `stop` is set."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


class Operator:
    """What this process does while it leads, and what it says to the probes."""

    def __init__(
        self, settings: Settings, session: ApiSession, stop: asyncio.Event, reached: Reached
    ) -> None:
        self._settings, self._session, self._stop, self._reached = settings, session, stop, reached
        self._election = LeaderElection(
            session, namespace=settings.own_namespace, name=LEASE, identity=settings.identity
        )
        self._deposed = asyncio.Event()
        self._deposed_by: BaseException | None = None
        self._missing: str | None = None
        self._fleet = Fleet(self._on_deposed)
        self._watch = PodWatch(session, self._fleet.pods_changed, namespaces=settings.namespaces)

    async def run(self) -> None:
        """Stand by, then lead until cancelled. Raises NotFound when the own namespace does not exist."""
        api = PodApi(self._session, concurrency=self._settings.api_concurrency)
        installation = await api.namespace_uid(self._settings.own_namespace)
        await self._election.run(lambda: self._lead(api, installation))

    async def _lead(self, api: PodApi, installation: str) -> None:
        LEADER.set(1)
        threads = ThreadPoolExecutor(self._settings.database_threads, thread_name_prefix="database")
        try:
            services = self._build_services(api, threads, installation)
            await self._wait_for_crd(services.queues)
            self._fleet.equip(services)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch.run())
                tasks.create_task(self._watch_queues())
                tasks.create_task(self._wait_deposed())
        finally:
            LEADER.set(0)
            await self._fleet.close()
            threads.shutdown(wait=False, cancel_futures=True)

    def _build_services(self, api: PodApi, threads: Executor, installation: str) -> Services:
        return Services(
            session=self._session,
            api=api,
            queues=QueueApi(self._session),
            events=EventRecorder(self._session),
            watch=self._watch,
            threads=threads,
            installation=installation,
            namespaces=self._settings.namespaces,
            runner_script=resources.files("populate_operator.pods").joinpath("runner.py").read_text(),
            may_write=self._election.is_leader,
            on_completed=self._fleet.completed,
            reached=self._reached,
        )

    async def _wait_for_crd(self, queues: QueueApi) -> None:
        """Kopf looks for its resources once, at its start: it must not start before they are there."""
        while True:
            try:
                await queues.list_uids(self._settings.namespaces)
            except NotFound:
                self._missing = "the PopulateQueue CRD is not installed: kubectl apply -f crds/"
                log.warning("waiting for the CRD", remedy=self._missing)
                await asyncio.sleep(CRD_SECONDS)
            else:
                self._missing = None
                return

    async def _watch_queues(self) -> None:
        await watch_queues(self._fleet, self._settings.namespaces, self._settings.identity)
        self._stop.set()  # Kopf takes over the signal handlers and ends by itself on SIGTERM

    def _on_deposed(self, error: BaseException) -> None:
        self._deposed_by = error
        self._deposed.set()

    async def _wait_deposed(self) -> None:
        await self._deposed.wait()
        raise self._deposed_by or NotLeading("a queue's loop ended")

    def complaint(self) -> str | None:
        """Why this process should be restarted; None while it works."""
        if not self._election.is_leader():
            return None
        if self._watch.silence > SILENCE_LIMIT and self._watch.trouble is None:
            return f"the pod watch has been silent for {self._watch.silence:.0f} s"
        if self._fleet.longest_pass > PASS_LIMIT:
            return f"a reconcile pass has taken {self._fleet.longest_pass:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why this process is of no use now; a follower that stands by is ready."""
        if not self._election.leader:
            return "no leader is known yet"
        if self._missing:
            return self._missing
        if self._election.is_leader() and self._watch.trouble:
            return f"the API server cannot be used: {self._watch.trouble.message}"
        return None
