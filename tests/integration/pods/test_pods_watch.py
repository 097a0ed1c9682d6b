"""The one watch of job pods against a real API server, with faults on the way.

Cases: what is seen, by whom and when; pages; a cut, refused, silent or ended connection; a deaf watch
after trouble; what happened meanwhile; expired versions in the watch, in the list and inside the stream;
bookmarks; busy and forbidden; namespaces; edited labels; our own writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dev.cluster import Cluster
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Refused, Unreachable
from populate_operator.pods.names import MANAGED_BY_LABEL
from populate_operator.pods.reflector import WatchTiming
from populate_operator.pods.session import ApiSession
from populate_operator.pods.view import PodView
from populate_operator.pods.watch import PodWatch
from tests.integration.pods.conftest import TEMPLATE, Changes, Queue, is_served
from tests.integration.pods.faults import Fault, HttpProxy, TcpProxy, is_list, is_watch

FAST = WatchTiming(server=40, silence=50.0, longest_pause=0.2, page=3)

CreateQueue = Callable[..., Awaitable[Queue]]


@contextlib.asynccontextmanager
async def watching(
    session: ApiSession, *queues: Queue, timing: WatchTiming = FAST, **options: Any
) -> AsyncIterator[tuple[PodWatch, Changes]]:
    """A running, synced watch of the queues' namespaces, or of all when there is no queue."""
    changes = Changes()
    namespaces = sorted({queue.ref.namespace for queue in queues})
    watch = PodWatch(session, changes, namespaces=namespaces, timing=timing, **options)
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            await watch.synced.wait()
        yield watch, changes
    finally:
        task.cancel()
        await asyncio.wait({task})


def names(watch: PodWatch, queue: Queue) -> set[str]:
    return {pod.name for pod in watch.pods_of(queue.ref.uid)}


def phase(watch: PodWatch, pod: PodView) -> str:
    found = watch.get(pod.namespace, pod.name)
    return found.phase if found else "gone"


# --- what is seen ---------------------------------------------------------------------------------


async def test_pods_before_and_after_their_changes_and_their_ends(session: ApiSession, queue: Queue) -> None:
    before = await queue.create()
    async with watching(session) as (watch, changes):
        assert names(watch, queue) == {before.name}
        after = await queue.create()
        await changes.until(lambda: names(watch, queue) == {before.name, after.name})
        await queue.patch(before, {"status": {"phase": "Succeeded"}}, "/status")
        await changes.until(lambda: phase(watch, before) == "Succeeded")
        await queue.remove(before)
        await changes.until(lambda: names(watch, queue) == {after.name})
        assert watch.has_ended(before.namespace, before.name)
        assert queue.ref.uid in watch.queue_uids()
        assert queue.ref.uid in changes.queue_uids


async def test_a_pod_under_deletion_is_seen_until_it_is_released(session: ApiSession, queue: Queue) -> None:
    pod = await queue.create()
    async with watching(session, queue) as (watch, changes):
        api = PodApi(session)
        await api.delete(pod)
        await changes.until(lambda: watch.pods_of(queue.ref.uid)[0].deleting_since is not None)
        await api.release(pod)
        await changes.until(lambda: phase(watch, pod) == "gone")


async def test_pods_of_others_are_never_seen(session: ApiSession, queue: Queue) -> None:
    foreign = queue.build()
    del foreign["metadata"]["labels"][MANAGED_BY_LABEL]
    async with watching(session, queue) as (watch, changes):
        await PodApi(session).create(foreign)
        ours = await queue.create()
        await changes.until(lambda: len(watch) > 0)
        assert names(watch, queue) == {ours.name}


async def test_two_queues_are_kept_apart(
    session: ApiSession, queue: Queue, create_queue: CreateQueue
) -> None:
    other = await create_queue("lfp", queue.ref.namespace)
    mine, theirs = await queue.create(), await other.create()
    async with watching(session, queue) as (watch, changes):
        assert (names(watch, queue), names(watch, other)) == ({mine.name}, {theirs.name})
        changes.queue_uids.clear()
        await queue.remove(mine)
        await changes.until(lambda: not names(watch, queue))
        assert set(changes.queue_uids) == {queue.ref.uid}


async def test_only_the_given_namespaces_are_followed(session: ApiSession, create_queue: CreateQueue) -> None:
    first, second, third = [await create_queue() for _ in range(3)]
    for queue in (first, second, third):
        await queue.create()
    async with watching(session, first, second) as (watch, changes):
        assert watch.queue_uids() == {first.ref.uid, second.ref.uid}
        await third.create()
        await second.create()
        await changes.until(lambda: len(names(watch, second)) == 2)
        assert watch.queue_uids() == {first.ref.uid, second.ref.uid}


async def test_a_pod_that_lost_its_label_leaves_the_watch_but_lives(
    session: ApiSession, queue: Queue
) -> None:
    pod = await queue.create()
    async with watching(session, queue) as (watch, changes):
        await queue.patch(pod, {"metadata": {"labels": {MANAGED_BY_LABEL: None}}})
        await changes.until(lambda: phase(watch, pod) == "gone")
        assert watch.has_ended(pod.namespace, pod.name)
        assert await PodApi(session).get(pod.namespace, pod.name) is not None


async def test_a_list_comes_in_pages(via_http: ApiSession, http_proxy: HttpProxy, queue: Queue) -> None:
    made = {(await queue.create()).name for _ in range(7)}
    async with watching(via_http, queue) as (watch, _):
        assert names(watch, queue) == made
    assert sum(map(is_list, http_proxy.seen)) == 3


async def test_our_own_creation_is_known_at_once(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    async with watching(via_tcp, queue) as (watch, _):
        tcp_proxy.stall()
        pod = await queue.create()
        assert not names(watch, queue)
        watch.remember(pod)
        assert names(watch, queue) == {pod.name}
        tcp_proxy.mend()


# --- connections ----------------------------------------------------------------------------------


async def test_what_happened_while_the_connection_was_down(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    goes, stays = await queue.create(), await queue.create()
    async with watching(via_tcp, queue) as (watch, changes):
        tcp_proxy.refuse()
        await queue.remove(goes)
        await queue.patch(stays, {"status": {"phase": "Failed"}}, "/status")
        comes = await queue.create()
        tcp_proxy.mend()
        await changes.until(lambda: names(watch, queue) == {stays.name, comes.name})
        await changes.until(lambda: phase(watch, stays) == "Failed")
        assert watch.has_ended(goes.namespace, goes.name)


async def test_an_outage_is_told_and_forgotten(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    async with watching(via_tcp, queue) as (watch, changes):
        assert watch.trouble is None
        before = tcp_proxy.connections.qsize()
        tcp_proxy.refuse()
        for _ in range(before + 3):
            await tcp_proxy.connections.get()
        assert isinstance(watch.trouble, Unreachable)
        assert watch.silence == 0  # its trouble is known, and it tries again
        tcp_proxy.mend()
        await queue.create()
        await changes.until(lambda: len(watch) == 1)
        assert watch.trouble is None


async def test_a_silent_connection_is_given_up(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    timing = WatchTiming(silence=0.5, longest_pause=0.2)
    async with watching(via_tcp, queue, timing=timing) as (watch, changes):
        tcp_proxy.stall()
        pod = await queue.create()
        before = tcp_proxy.connections.qsize()
        for _ in range(before + 1):  # nothing was closed; only the silence tells
            await tcp_proxy.connections.get()
        tcp_proxy.mend()
        await changes.until(lambda: names(watch, queue) == {pod.name})


async def test_a_watch_that_is_deaf_after_an_outage_is_silent(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    """The server takes each further watch and ends it in order, but says nothing."""
    mute = Fault(is_watch, query={"allowWatchBookmarks": "false", "timeoutSeconds": "1"})
    http_proxy.faults += [Fault(is_watch, 503, "ServiceUnavailable")] * 2 + [mute] * 100
    async with watching(via_http, queue) as (watch, _):
        await http_proxy.next_arrival(is_watch)
        await http_proxy.next_arrival(is_watch)
        assert isinstance(watch.trouble, Unreachable)
        await http_proxy.next_arrival(is_watch)
        await http_proxy.next_arrival(is_watch)  # the first that was taken is over
        assert watch.trouble is None
        since = time.monotonic()
        await http_proxy.next_arrival(is_watch)
        await http_proxy.next_arrival(is_watch)
        assert watch.trouble is None
        assert since > time.monotonic() - watch.silence  # to be taken again is no word


def test_silence_is_noticed_within_a_minute_and_never_in_a_healthy_watch() -> None:
    timing = WatchTiming()
    assert timing.server < timing.silence < 60


async def test_a_watch_that_the_server_ends_goes_on(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    async with watching(via_http, queue, timing=WatchTiming(server=1)) as (watch, changes):
        for _ in range(3):
            await http_proxy.next_arrival(is_watch)
        pod = await queue.create()
        await changes.until(lambda: names(watch, queue) == {pod.name})
    assert sum(map(is_list, http_proxy.seen)) == 1


async def test_bookmarks_carry_an_idle_watch_forward(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue, create_queue: CreateQueue
) -> None:
    elsewhere = await create_queue()
    async with watching(via_http, queue, timing=WatchTiming(server=4)):
        first = await http_proxy.next_arrival(is_watch)
        await elsewhere.create()  # the version moves on, with no event for this watch
        then = first
        while int(then.query["resourceVersion"]) <= int(first.query["resourceVersion"]):
            then = await http_proxy.next_arrival(is_watch)  # pytest's timeout ends it


# --- expired versions -----------------------------------------------------------------------------


@pytest.fixture
async def unkept(cluster: Cluster, session: ApiSession) -> AsyncIterator[Fault]:
    """The server's own refusal of a version that it keeps no more, for the next watch.

    A young server still keeps every version of its pods, but none from before a resource was defined.
    """
    plural, group = f"olds{secrets.token_hex(3)}", "test.populate.datajoint.io"
    schema = {"openAPIV3Schema": {"type": "object"}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.capitalize()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(crd))
    path = f"/apis/{group}/v1/{plural}"
    async with asyncio.timeout(60):
        while not await is_served(session, path):  # noqa: ASYNC110 - Established comes before
            await asyncio.sleep(0.1)
    yield Fault(is_watch, path=path, query={"resourceVersion": "1"})
    cluster.kubectl("delete", "crd", f"{plural}.{group}", "--wait=false")


async def test_an_expired_version_lists_again_and_finds_what_was_missed(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue, unkept: Fault
) -> None:
    goes, stays = await queue.create(), await queue.create()
    async with watching(via_http, queue, timing=WatchTiming(server=1)) as (watch, changes):
        complete_since = watch.complete_since
        assert complete_since is not None
        http_proxy.faults += [Fault(is_watch, 503, "ServiceUnavailable")] * 100
        while len(http_proxy.faults) == 100:  # the first watch may still hear what happens
            await http_proxy.next_arrival(is_watch)
        await queue.remove(goes)
        comes = await queue.create()
        http_proxy.faults[:] = [unkept] * 20
        await http_proxy.next_arrival(is_list)
        http_proxy.faults.clear()
        await changes.until(lambda: names(watch, queue) == {stays.name, comes.name})
        assert watch.has_ended(goes.namespace, goes.name)
        assert watch.complete_since is not None
        assert watch.complete_since > complete_since
    assert sum(map(is_list, http_proxy.seen)) == 2


async def test_a_deletion_missed_during_a_relist_is_notified(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    pod = await queue.create()
    async with watching(via_http, queue, timing=WatchTiming(server=1)) as (watch, changes):
        http_proxy.faults += [Fault(is_watch, 410, "Expired"), Fault(is_list, 503, "ServiceUnavailable")]
        while http_proxy.faults:
            await http_proxy.next_arrival(lambda request: True)
        await queue.remove(pod)
        await changes.until(lambda: not names(watch, queue))
        assert queue.ref.uid in changes.queue_uids


async def test_a_page_that_expired_begins_the_list_again(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    made = {(await queue.create()).name for _ in range(7)}
    http_proxy.faults.append(Fault(lambda request: "continue" in request.query, 410, "Expired"))
    async with watching(via_http, queue) as (watch, _):
        assert names(watch, queue) == made
    assert sum(map(is_list, http_proxy.seen)) == 2 + 3


# --- refusals -------------------------------------------------------------------------------------


async def test_a_busy_server_delays_the_list(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    pod = await queue.create()
    http_proxy.faults += [Fault(is_list, 429, "TooManyRequests", {"Retry-After": "0"})] * 3
    async with watching(via_http, queue) as (watch, _):
        assert names(watch, queue) == {pod.name}
    assert sum(map(is_list, http_proxy.seen)) == 4


async def test_missing_rights_are_told_until_they_are_given(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    http_proxy.faults += [Fault(is_list, 403, "Forbidden")] * 2
    changes = Changes()
    watch = PodWatch(via_http, changes, namespaces=[queue.ref.namespace], timing=FAST)
    task = asyncio.create_task(watch.run())
    await http_proxy.next_arrival(is_list)
    await http_proxy.next_arrival(is_list)
    assert isinstance(watch.trouble, Refused)
    assert not watch.synced.is_set()
    assert watch.complete_since is None
    await watch.synced.wait()
    assert watch.trouble is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_every_namespace_must_be_listed_before_the_watch_is_complete(
    via_http: ApiSession, http_proxy: HttpProxy, create_queue: CreateQueue
) -> None:
    first, second = await create_queue(), await create_queue()
    forbidden = Fault(
        lambda request: is_list(request) and second.ref.namespace in request.path, 403, "Forbidden"
    )
    http_proxy.faults += [forbidden] * 1000
    namespaces = [first.ref.namespace, second.ref.namespace]
    watch = PodWatch(via_http, Changes(), namespaces=namespaces, timing=FAST)
    task = asyncio.create_task(watch.run())
    await http_proxy.next_arrival(is_watch)  # the first is listed
    assert not watch.synced.is_set()
    assert watch.complete_since is None
    http_proxy.faults.clear()
    await watch.synced.wait()
    task.cancel()
    await asyncio.wait({task})


# --- many -----------------------------------------------------------------------------------------


async def test_a_thousand_events_through_cut_connections(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    async with watching(via_tcp, queue) as (watch, changes):
        made: set[str] = set()
        for round_ in range(5):
            pods = await asyncio.gather(*(queue.create(TEMPLATE) for _ in range(40)))
            made |= {pod.name for pod in pods}
            tcp_proxy.cut()
            gone = pods[: 10 * round_ % 40]
            await asyncio.gather(*(queue.remove(pod) for pod in gone))
            made -= {pod.name for pod in gone}
        await changes.until(lambda: names(watch, queue) == made)
