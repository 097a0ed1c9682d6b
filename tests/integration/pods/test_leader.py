"""Leader election by a Lease on a real API server.

Cases: one leads, the other stands by and follows at once or late; a leader that is cut off stops before the
next one starts; deposed; a lease deleted, left by a crash, taken by hand; work that ends or fails; an
outage that is short enough; a renewal that is written late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from populate_operator.leader import LeaderElection, LeadershipLost, LeaseTiming
from populate_operator.pods.errors import NotFound
from populate_operator.pods.session import MERGE, ApiSession, Method
from tests.integration.pods.conftest import Json, Queue
from tests.integration.pods.faults import Fault, HttpProxy, TcpProxy, is_method

FAST = LeaseTiming(lease=6.0, renew_by=4.0, retry=0.1)

Elect = Callable[..., "Replica"]


class Replica:
    """One candidate whose work lasts until it is cancelled; `log` is shared by all."""

    def __init__(self, session: ApiSession, namespace: str, identity: str, log: list[str]) -> None:
        self.election = LeaderElection(
            session, namespace=namespace, name="operator", identity=identity, timing=FAST
        )
        self.leading = asyncio.Event()
        self._identity, self._log = identity, log
        self.task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], Awaitable[None]] | None = None) -> Replica:
        """Begin to compete."""
        self.task = asyncio.create_task(self.election.run(work or self._work))
        return self

    async def end(self) -> None:
        """The outcome of the election; raises what it raised."""
        assert self.task is not None
        async with asyncio.timeout(30):
            await self.task

    async def stop(self) -> None:
        """End in order, as on SIGTERM."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _work(self) -> None:
        assert self.election.is_leader()
        self._log.append(f"{self._identity} starts")
        self.leading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self._log.append(f"{self._identity} stops")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
async def elect(session: ApiSession, queue: Queue, log: list[str]) -> AsyncIterator[Elect]:
    made: list[Replica] = []

    def make(identity: str, via: ApiSession = session) -> Replica:
        made.append(Replica(via, queue.ref.namespace, identity, log))
        return made[-1]

    yield make
    for replica in made:
        if replica.task:
            await replica.stop()


def path(queue: Queue) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{queue.ref.namespace}/leases"


async def lease_of(session: ApiSession, queue: Queue) -> Json:
    return await session.request("GET", f"{path(queue)}/operator")


async def led(replica: Replica) -> None:
    async with asyncio.timeout(30):
        await replica.leading.wait()


async def test_one_leads_and_hands_over_when_it_ends(
    session: ApiSession, queue: Queue, elect: Elect, log: list[str]
) -> None:
    first = elect("a").start()
    await led(first)
    second = elect("b").start()
    while second.election.leader != "a":  # it has seen the lease
        await lease_of(session, queue)
    assert (first.election.is_leader(), second.election.is_leader()) == (True, False)
    await first.stop()
    assert not first.election.is_leader()
    await led(second)
    assert log == ["a starts", "a stops", "b starts"]
    spec = (await lease_of(session, queue))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)
    assert spec["leaseDurationSeconds"] == FAST.lease


async def test_a_lease_that_was_given_back_names_nobody(
    session: ApiSession, queue: Queue, elect: Elect
) -> None:
    replica = elect("a").start()
    await led(replica)
    await replica.stop()
    assert not (await lease_of(session, queue))["spec"].get("holderIdentity")


async def test_a_leader_that_is_cut_off_stops_before_the_next_one_starts(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, elect: Elect, log: list[str]
) -> None:
    cut_off = elect("a", via_tcp).start()
    await led(cut_off)
    follower = elect("b").start()
    tcp_proxy.stall()
    await led(follower)
    with pytest.raises(LeadershipLost, match="a could not renew the lease operator in time"):
        await cut_off.end()
    assert log == ["a starts", "a stops", "b starts"]


async def test_a_short_outage_deposes_nobody(
    via_http: ApiSession, http_proxy: HttpProxy, elect: Elect, log: list[str]
) -> None:
    leader = elect("a", via_http).start()
    await led(leader)
    http_proxy.faults += [Fault(is_method("PUT"), 503, "ServiceUnavailable")] * 3
    while http_proxy.faults:
        await http_proxy.next_arrival(is_method("PUT"))
    await http_proxy.next_arrival(is_method("PUT"))
    assert leader.election.is_leader()
    assert log == ["a starts"]


async def test_a_renewal_whose_answer_was_lost_deposes_nobody(
    via_http: ApiSession, http_proxy: HttpProxy, elect: Elect, log: list[str]
) -> None:
    leader = elect("a", via_http).start()
    await led(leader)
    http_proxy.faults.append(Fault(is_method("PUT"), loses_answer=True))
    for _ in range(3):
        await http_proxy.next_arrival(is_method("PUT"))
    assert not http_proxy.faults
    assert leader.election.is_leader()
    assert log == ["a starts"]


async def test_a_lease_taken_by_hand_deposes_at_once(
    session: ApiSession, queue: Queue, elect: Elect, log: list[str]
) -> None:
    leader = elect("a").start()
    await led(leader)
    await take(session, queue, "someone")
    with pytest.raises(LeadershipLost):
        await leader.end()
    assert log == ["a starts", "a stops"]
    assert leader.election.seconds_left() == 0
    assert (await lease_of(session, queue))["spec"]["holderIdentity"] == "someone"


async def take(session: ApiSession, queue: Queue, holder: str) -> None:
    await session.request(
        "PATCH",
        f"{path(queue)}/operator",
        body={"spec": {"holderIdentity": holder}},
        content_type="application/merge-patch+json",
    )


async def test_a_lease_that_a_crashed_leader_left_is_taken_after_its_time(
    session: ApiSession, queue: Queue, elect: Elect, log: list[str]
) -> None:
    # A clock that runs wild must not matter: only that the lease stops changing does.
    spec = {
        "holderIdentity": "crashed",
        "leaseDurationSeconds": 3,
        "renewTime": "2099-01-01T00:00:00.000000Z",
    }
    await session.request("POST", path(queue), body={"metadata": {"name": "operator"}, "spec": spec})
    await led(elect("b").start())
    assert log == ["b starts"]


async def test_a_restarted_replica_takes_up_its_own_lease(
    session: ApiSession, queue: Queue, elect: Elect
) -> None:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 3600, "renewTime": "2026-01-01T00:00:00.000000Z"}
    await session.request("POST", path(queue), body={"metadata": {"name": "operator"}, "spec": spec})
    await led(elect("a").start())
    assert (await lease_of(session, queue))["spec"]["leaseDurationSeconds"] == FAST.lease


async def test_a_deleted_lease_is_made_again_by_its_leader(
    session: ApiSession, queue: Queue, elect: Elect, log: list[str]
) -> None:
    leader = elect("a").start()
    await led(leader)
    uid = (await lease_of(session, queue))["metadata"]["uid"]
    note: Json = {"metadata": {"annotations": {"example.com/note": "kept"}}}
    await session.request("PATCH", f"{path(queue)}/operator", body=note, content_type=MERGE)
    async with asyncio.timeout(30):
        while not leader.election.annotations:
            await lease_of(session, queue)
    await session.request("DELETE", f"{path(queue)}/operator")
    async with asyncio.timeout(30):
        while await uid_of_lease(session, queue) in ("", uid):
            pass
    assert leader.election.is_leader()
    assert (await lease_of(session, queue))["metadata"]["annotations"] == {"example.com/note": "kept"}
    assert log == ["a starts"]


async def uid_of_lease(session: ApiSession, queue: Queue) -> str:
    try:
        return str((await lease_of(session, queue))["metadata"]["uid"])
    except NotFound:
        return ""


async def test_work_that_ends_gives_the_lease_back(session: ApiSession, queue: Queue, elect: Elect) -> None:
    async def work() -> None:
        assert (await lease_of(session, queue))["spec"]["holderIdentity"] == "a"

    await elect("a").start(work).end()
    assert not (await lease_of(session, queue))["spec"].get("holderIdentity")


async def test_a_cancelled_renewal_that_is_written_late_does_not_keep_the_lease(
    session: ApiSession, queue: Queue, elect: Elect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the GET and the PUT that give the lease back."""
    ask, on_its_way = session.request, asyncio.Event()
    renewals: list[Json] = []

    async def ask_slowly(method: Method, path: str, *, body: Json | None = None, **options: Any) -> Json:
        if method == "PUT" and body and not on_its_way.is_set():
            renewals.append(body)
            on_its_way.set()
            await asyncio.Event().wait()
        answer = await ask(method, path, body=body, **options)
        if method == "GET" and renewals:
            await ask("PUT", path, body=renewals.pop())
        return answer

    async def work() -> None:
        await on_its_way.wait()

    monkeypatch.setattr(session, "request", ask_slowly)
    await elect("a").start(work).end()
    assert not renewals
    assert not (await lease_of(session, queue))["spec"].get("holderIdentity")


async def test_work_that_fails_gives_the_lease_back_and_is_heard(
    session: ApiSession, queue: Queue, elect: Elect
) -> None:
    async def work() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await elect("a").start(work).end()
    assert not (await lease_of(session, queue))["spec"].get("holderIdentity")


async def test_work_that_meets_the_lost_lease_first_has_not_failed(elect: Elect) -> None:
    """As after SIGCONT, when a queue's pass finds that it must not write any more."""

    async def work() -> None:
        time.sleep(FAST.lease)  # noqa: ASYNC251 - the whole process stands still
        raise RuntimeError("not leading")

    with pytest.raises(LeadershipLost, match="could not renew"):
        await elect("a").start(work).end()


async def test_the_lease_is_held_while_the_work_winds_up(
    session: ApiSession, queue: Queue, elect: Elect
) -> None:
    started, holders = asyncio.Event(), list[str]()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            holders.append((await lease_of(session, queue))["spec"]["holderIdentity"])

    replica = elect("a").start(work)
    await started.wait()
    await replica.stop()
    assert holders == ["a"]


async def test_of_many_candidates_one_leads_at_a_time(elect: Elect, log: list[str]) -> None:
    replicas = [elect(f"r{number}").start() for number in range(6)]
    for _ in range(6):
        waits = {asyncio.create_task(replica.leading.wait()): replica for replica in replicas}
        async with asyncio.timeout(30):
            done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert [replica.election.is_leader() for replica in replicas].count(True) == 1
        leader = waits[done.pop()]
        await leader.stop()
        replicas.remove(leader)
    assert log == [f"{line.split()[0]} {verb}" for line in log[::2] for verb in ("starts", "stops")]
