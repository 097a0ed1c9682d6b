"""One operator process: probes, leader election, the pod watch, the queues."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import structlog

from populate_operator.handlers import watch_queues
from populate_operator.leader import LeaderElection
from populate_operator.metrics import LEADER
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Unreachable
from populate_operator.pods.events import EventRecorder
from populate_operator.pods.names import LEASE
from populate_operator.pods.queues import QueueApi
from populate_operator.pods.session import ApiSession, connect
from populate_operator.pods.watch import PodWatch
from populate_operator.probes import serve_probes
from populate_operator.queue.fleet import Fleet
from populate_operator.queue.homes import HOMES_ANNOTATION, plan_homes, plan_note, read_note, write_note
from populate_operator.queue.points import Reached, nobody
from populate_operator.queue.scope import NO_RIGHTS, Scope, survey
from populate_operator.queue.services import NotLeading, Services
from populate_operator.queue.threads import Threads
from populate_operator.settings import Settings

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0  # between looks for an API server that does not answer, or lacks the CRD
LEFT_OUT_SECONDS = 30.0  # between looks for a namespace to come back, which takes a person
ROLL_CALLS = 4  # within the patience for a watch that misses changes: one list alone proves nothing
DRAIN_SECONDS = 7.0  # to end in an orderly way; what is left half is finished by the next start


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds after which a restart is the remedy, above what outages alone can bring about."""

    silence: float = 120.0  # of the pod watch, which connects anew by itself within a minute
    one_pass: float = 1800.0  # a statement may take 600, and is tried again on a new connection
    missed: float = 120.0  # of a queue that the watch of queues has not told, though a list has it


async def serve(settings: Settings, reached: Reached = nobody, patience: Patience | None = None) -> None:
    """Run until SIGTERM or SIGINT, and tell `reached` of each Point that a queue comes to.

    Raises LeadershipLost, after which the process should start afresh.
    """
    session = await connect()
    stop = asyncio.Event()
    operator = Operator(settings, session, stop, reached, patience or Patience())
    _end_on_signals(stop)
    try:
        async with serve_probes(
            settings.health_port, live=operator.complaint, ready=operator.unready
        ) as port:
            log.info("operator started", port=port, namespaces=settings.namespaces or "all")
            await _until(stop, operator.run())
    finally:
        await session.close()


def _end_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _log_scope(scope: Scope) -> None:
    if scope.missing:
        log.warning("waiting", reason=scope.missing)
    elif scope.left_out:
        log.warning("namespaces left out", namespaces=scope.left_out, reason=NO_RIGHTS)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends by itself or `stop` is set; then it has DRAIN_SECONDS to end."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    task.cancel()
    ended, _ = await asyncio.wait({task}, timeout=DRAIN_SECONDS)
    if not ended:
        log.warning("ending in the middle of things", waited=DRAIN_SECONDS)
    elif not task.cancelled():
        task.result()


class Operator:
    """What this process does while it leads, and what it says to the probes."""

    def __init__(
        self,
        settings: Settings,
        session: ApiSession,
        stop: asyncio.Event,
        reached: Reached,
        patience: Patience,
    ) -> None:
        self._settings, self._session, self._stop, self._reached = settings, session, stop, reached
        self._patience = patience
        self._election = LeaderElection(
            session,
            namespace=settings.own_namespace,
            name=LEASE,
            identity=settings.identity,
            annotate=self._note_homes,
        )
        self._deposed = asyncio.Event()
        self._deposed_by: BaseException | None = None
        self._scope = Scope()  # as last asked; what is served while this process leads
        self._fleet = Fleet(self._on_deposed)
        self._watch: PodWatch | None = None  # once this process leads

    async def run(self) -> None:
        """Stand by, then lead until cancelled. Raises NotFound when the own namespace does not exist."""
        api = PodApi(self._session, concurrency=self._settings.api_concurrency)
        queues = QueueApi(self._session)
        await self._wait_for_api(api, queues)
        await self._election.run(lambda: self._lead(api, queues))

    async def _lead(self, api: PodApi, queues: QueueApi) -> None:
        LEADER.set(1)
        threads = Threads(self._settings.database_threads)
        try:
            # Asked again: namespaces may have come and gone while this replica stood by.
            installation = await self._wait_for_api(api, queues)
            services = self._build_services(api, queues, threads, installation)
            self._watch = services.watch
            self._fleet.equip(services)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(services.watch.run())
                tasks.create_task(self._watch_queues(started := asyncio.Event()))
                tasks.create_task(self._retake_signals(started))
                tasks.create_task(self._call_roll(queues))
                tasks.create_task(self._look_for_left_out(queues))
                tasks.create_task(self._wait_deposed())
        finally:
            LEADER.set(0)
            await self._fleet.close()
            threads.close()

    def _build_services(self, api: PodApi, queues: QueueApi, threads: Threads, installation: str) -> Services:
        return Services(
            session=self._session,
            api=api,
            queues=queues,
            events=EventRecorder(self._session),
            watch=PodWatch(self._session, self._fleet.pods_changed, namespaces=self._scope.namespaces),
            threads=threads,
            installation=installation,
            homes=self._homes,
            runner_script=resources.files("populate_operator.pods").joinpath("runner.py").read_text(),
            may_write=self._election.is_leader,
            on_completed=self._fleet.completed,
            reached=self._reached,
        )

    def _note_homes(self, annotations: Mapping[str, str]) -> Mapping[str, str]:
        known, listed = self._fleet.roll_call, self._settings.namespaces
        is_complete = known.is_complete and not self._scope.left_out
        homes = plan_note(read_note(annotations), known.homes, listed, is_complete=is_complete)
        return {**annotations, HOMES_ANNOTATION: write_note(homes)}

    def _homes(self) -> tuple[str, ...]:
        """All that are listed, served or not, and those that were: a queue is dead where the API says so."""
        return plan_homes(read_note(self._election.annotations), self._settings.namespaces)

    async def _wait_for_api(self, api: PodApi, queues: QueueApi) -> str:
        """The installation, once the API server answers and something can be served: `_scope` says what.

        To end instead would bring Kubernetes' growing pauses between restarts; and Kopf looks for its
        resources once, at its start.
        """
        while True:
            try:
                installation = await api.namespace_uid(self._settings.own_namespace)
                scope = await survey(queues, self._settings.namespaces)
            except Unreachable as error:
                scope = Scope(missing=f"the API server cannot be used: {error.message}")
            before, self._scope = self._scope, scope
            if scope != before:
                _log_scope(scope)
            if not scope.missing:
                return installation
            await asyncio.sleep(LOOK_SECONDS)

    async def _watch_queues(self, started: asyncio.Event) -> None:
        await watch_queues(self._fleet, self._scope.namespaces, self._settings.identity, started)
        self._stop.set()  # a signal that came to Kopf, before the handlers were taken back

    async def _retake_signals(self, started: asyncio.Event) -> None:
        """Kopf replaces the handlers, and on SIGTERM waits for its own connections before it ends."""
        await started.wait()
        _end_on_signals(self._stop)

    async def _call_roll(self, queues: QueueApi) -> None:
        pace = self._patience.missed / ROLL_CALLS
        await self._fleet.roll_call.repeat(queues, self._scope.namespaces, pace)

    async def _look_for_left_out(self, queues: QueueApi) -> None:
        """End in order once a namespace that was left out can be served: the next start takes it in."""
        back: tuple[str, ...] = ()
        while self._scope.left_out and not back:
            await asyncio.sleep(LEFT_OUT_SECONDS)
            with contextlib.suppress(Unreachable):
                back = (await survey(queues, self._scope.left_out)).namespaces
        if back:
            log.info("namespaces are back: starting afresh", namespaces=back)
            self._stop.set()

    def _on_deposed(self, error: BaseException) -> None:
        self._deposed_by = error
        self._deposed.set()

    async def _wait_deposed(self) -> None:
        await self._deposed.wait()
        raise self._deposed_by or NotLeading("a queue's loop ended")

    def complaint(self) -> str | None:
        """Why this process should be restarted; None while it works, or waits for others to work again."""
        if self._watch is None or not self._election.is_leader():
            return None
        if self._watch.silence > self._patience.silence:
            return f"the pod watch has been silent for {self._watch.silence:.0f} s"
        if self._fleet.roll_call.missed_for > self._patience.missed:
            return f"the watch of queues has missed changes for {self._fleet.roll_call.missed_for:.0f} s"
        if self._fleet.longest_pass > self._patience.one_pass:
            return f"a reconcile pass has taken {self._fleet.longest_pass:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why this process is of no use now; a follower that stands by is ready."""
        if self._scope.missing:
            return self._scope.missing
        if self._election.trouble:
            return f"the API server cannot be used: {self._election.trouble}"
        if not self._election.leader:
            return "no leader is known yet"
        if self._watch and self._watch.trouble and self._election.is_leader():
            return f"the API server cannot be used: {self._watch.trouble.message}"
        return None
