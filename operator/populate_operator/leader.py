"""Leader election by a Lease: of several replicas one works, the others stand by.

The kubernetes package's own election ends with an exception on the first lost connection while its work
goes on, trusts the wall clock and never gives a lease back; hence this one, after client-go's algorithm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from populate_operator.pods.errors import ApiError, Conflict, NotFound
from populate_operator.pods.session import ApiSession, JsonObject, Method

log = logging.getLogger(__name__)


class LeadershipLost(Exception):
    """Another replica may lead now; the work was cancelled. Start afresh, as by a restart."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds, as client-go's: a leader that cannot renew stops before a follower may take over."""

    lease: float = 15.0  # followers wait this long after the last renewal they saw
    renew_by: float = 10.0  # the leader stops this long after its last successful renewal began
    retry: float = 2.0


def uptime() -> float:
    """Seconds of a clock that never jumps and goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaderElection:
    """Competes for one Lease. `identity` must differ between replicas, as a pod's name does.

    `annotate` makes the Lease's annotations from what they are, at every renewal.
    """

    def __init__(
        self,
        session: ApiSession,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming | None = None,
        annotate: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
    ) -> None:
        self._session, self._identity = session, identity
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._timing, self._annotate = timing or LeaseTiming(), annotate
        self._lease: JsonObject = {}
        self._changed_at = 0.0  # when the lease was last seen to change, by our clock
        self._valid_until = 0.0
        self.trouble: str | None = None  # why the lease could not be read or written at the last try

    def is_leader(self) -> bool:
        """Whether this replica leads at this moment: ask before each batch of writes."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """How long this replica surely leads still, without a further renewal; 0 for a follower."""
        return max(0.0, self._valid_until - uptime())

    @property
    def leader(self) -> str:
        """The holder as last seen; "" when there is none."""
        return str((self._lease.get("spec") or {}).get("holderIdentity") or "")

    @property
    def annotations(self) -> dict[str, str]:
        """Those of the Lease as last seen."""
        return (self._lease.get("metadata") or {}).get("annotations") or {}

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run `lead` while it is held; give it back when `lead` has ended.

        Raises LeadershipLost when it could not be renewed: `lead` was cancelled and has ended by then.
        Cancellation stops `lead`, then gives the lease back.
        """
        await self._acquire()
        log.info("leading", extra={"identity": self._identity})
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._renew())
        try:
            ended, _ = await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            # A process that was frozen may come to look at its lease before it comes to renew it.
            is_lost = work not in ended or not self.is_leader()
        finally:
            await _stop(work)  # renewed while it winds up
            await _stop(renewal)
            await self._give_back()
        if is_lost:
            cause = None if work.cancelled() else work.exception()
            raise LeadershipLost(
                f"{self._identity} could not renew the lease {self._name} in time"
            ) from cause
        work.result()

    async def _acquire(self) -> None:
        while True:
            if await self._try(self._claim):
                return
            await asyncio.sleep(self._timing.retry)

    async def _renew(self) -> None:
        """Renew until that fails for too long."""
        while self.is_leader():
            await asyncio.sleep(min(self._timing.retry, self.seconds_left()))
            await self._try(self._extend)

    async def _try(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(self._timing.renew_by):
                done = await attempt()
        except (ApiError, TimeoutError) as error:
            self.trouble = str(error) or f"no answer within {self._timing.renew_by:.0f} s"
            log.warning("lease not reached", extra={"lease": self._name, "error": self.trouble})
            return False
        self.trouble = None
        return done

    async def _claim(self) -> bool:
        try:
            self._observe(await self._ask("GET"))
        except NotFound:  # somebody deleted it: what it noted is not forgotten
            lost = {"name": self._name, "annotations": self.annotations}
            return await self._write("POST", {"metadata": lost})
        free_at = self._changed_at + self._timing.lease
        if self.leader and self.leader != self._identity and uptime() < free_at:
            return False
        return await self._write("PUT", self._lease)

    async def _extend(self) -> bool:
        if await self._write("PUT", self._lease) or await self._claim():
            return True
        if self.leader != self._identity:
            self._valid_until = 0.0  # deposed: waiting for the deadline would be pointless
        return False

    async def _write(self, method: Method, lease: JsonObject) -> bool:
        """Claim or renew on top of `lease`; False when someone else wrote in between."""
        started = uptime()
        try:
            written = await self._ask(method, self._held(lease))
        except (Conflict, NotFound):
            return False
        self._observe(written)
        self._valid_until = started + self._timing.renew_by
        return True

    async def _give_back(self) -> None:
        held, self._valid_until = self.is_leader(), 0.0
        if held:
            await self._try(self._vacate)

    async def _vacate(self) -> bool:
        """A renewal that was cancelled on its way may be written before the GET, or between GET and PUT."""
        for _ in range(2):
            with contextlib.suppress(Conflict):
                return await self._write_vacant()
        return await self._write_vacant()

    async def _write_vacant(self) -> bool:
        lease = await self._ask("GET")
        if lease["spec"].get("holderIdentity") != self._identity:
            return False
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        self._observe(await self._ask("PUT", {**lease, "spec": spec}))
        return True

    async def _ask(self, method: Method, lease: JsonObject | None = None) -> JsonObject:
        path = self._path if method == "POST" else f"{self._path}/{self._name}"
        seconds = self._timing.renew_by / 2
        return await self._session.request(method, path, body=lease, timeout=seconds, attempts=1)

    def _observe(self, lease: JsonObject) -> None:
        version = (lease.get("metadata") or {}).get("resourceVersion")
        if version != (self._lease.get("metadata") or {}).get("resourceVersion"):
            self._changed_at = uptime()
        self._lease = lease

    def _held(self, lease: JsonObject) -> JsonObject:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = lease.get("spec") or {}
        changed = old.get("holderIdentity") != self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.lease)),
            "renewTime": now,
            "acquireTime": now if changed else old.get("acquireTime", now),
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (changed and bool(old)),
        }
        metadata = lease.get("metadata") or {"name": self._name}
        metadata = {**metadata, "annotations": dict(self._annotate(metadata.get("annotations") or {}))}
        base = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**base, **lease, "metadata": metadata, "spec": {**old, **spec}}


async def _stop(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for its end, whatever that is; the caller reads the result."""
    task.cancel()
    await asyncio.wait({task})
