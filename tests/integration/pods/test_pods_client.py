"""Calls about pods against a real API server, with faults on the way.

Cases: creation, adoption and the names of others; refusals by validation, webhook and a missing namespace
(those by a quota are in test_pods_quota.py); the finalizer and those of others; deletion; logs, Secrets,
ConfigMaps, events, namespaces; busy servers and lost answers; bounded concurrency; a dead server.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from populate_operator.pods.batch import create_many, delete_many, release_many
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Conflict, NotFound, Refused, Unreachable
from populate_operator.pods.events import EventRecorder
from populate_operator.pods.session import ApiSession
from populate_operator.pods.view import PodView
from tests.integration.pods.conftest import TEMPLATE, Json, Queue
from tests.integration.pods.faults import Fault, HttpProxy, TcpProxy, is_method


@pytest.fixture
def api(session: ApiSession) -> PodApi:
    return PodApi(session)


def created(pod: PodView | None) -> PodView:
    assert pod is not None
    return pod


# --- creation -------------------------------------------------------------------------------------


async def test_what_is_created_is_what_was_built(api: PodApi, queue: Queue) -> None:
    built = queue.build()
    pod = await api.create(built)
    assert (pod.name, pod.queue_uid, pod.key, pod.attempt) == (
        built["metadata"]["name"], queue.ref.uid, '{"a": 1}', 1,
    )  # fmt: skip
    assert pod.has_finalizer
    assert pod.waiting is None or pod.waiting.reason == "SchedulingGated"
    assert await api.get(pod.namespace, pod.name) is not None


class Deposed(Exception):
    """Another replica may lead now."""


async def test_nothing_is_created_any_more_once_the_fence_has_fallen(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    """Neither what waits for its turn, nor what is tried again."""
    http_proxy.faults = [Fault(is_method("POST"), status=503)]
    tries = 0

    def fence() -> None:
        nonlocal tries
        tries += 1
        if tries > 3:
            raise Deposed

    with pytest.raises(Deposed):
        await create_many(PodApi(via_http, concurrency=1), [queue.build() for _ in range(9)], fence=fence)
    assert [request.method for request in http_proxy.seen].count("POST") == 3


async def test_a_repeated_creation_adopts_the_pod(api: PodApi, queue: Queue) -> None:
    built = queue.build()
    [first] = await create_many(api, [built])
    [second] = await create_many(api, [built])
    assert (first.adopted, second.adopted) == (False, True)
    assert created(first.pod).uid == created(second.pod).uid
    with pytest.raises(Conflict) as taken:
        await api.create(built)
    assert taken.value.already_exists


async def test_a_pod_of_another_owner_is_not_adopted(api: PodApi, queue: Queue) -> None:
    built = queue.build()
    first = await api.create(built)
    other = copy.deepcopy(built)
    other["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-4000-8000-0000000000ff"
    [result] = await create_many(api, [other])
    assert isinstance(result.error, Refused)
    assert result.error.reason == "NameTaken"
    assert created(result.pod).uid == first.uid
    assert not result.adopted


async def test_a_pod_that_was_edited_gets_labels_and_owner_back(api: PodApi, queue: Queue) -> None:
    pod = await api.create(queue.build())
    await queue.patch(
        pod, {"metadata": {"labels": dict.fromkeys(queue.ref.labels()), "ownerReferences": None}}
    )
    edited = await api.get(pod.namespace, pod.name)
    assert not created(edited).is_labelled
    restored = created(await api.restore(pod, queue.ref))
    assert (restored.is_labelled, restored.queue_uid) == (True, queue.ref.uid)
    assert await api.restore(replace(pod, uid="of-a-namesake"), queue.ref) is None


async def test_every_pod_gets_its_own_result_in_order(api: PodApi, queue: Queue) -> None:
    good, bad = queue.build(), queue.build()
    bad["spec"]["containers"][0]["image"] = ""
    results = await create_many(api, [good, bad, queue.build()])
    assert [result.error is None for result in results] == [True, False, True]
    assert [result.name for result in results][:2] == [good["metadata"]["name"], bad["metadata"]["name"]]
    assert isinstance(results[1].error, Refused)
    assert "image" in results[1].error.message


async def test_a_missing_namespace_is_not_found(api: PodApi, queue: Queue) -> None:
    built = queue.build()
    built["metadata"]["namespace"] = "populate-test-none"
    with pytest.raises(NotFound, match="populate-test-none"):
        await api.create(built)


# --- refusals -------------------------------------------------------------------------------------


async def test_a_dry_run_proves_a_template_and_creates_nothing(api: PodApi, queue: Queue) -> None:
    built = queue.build()
    await api.prove(built)
    assert await api.get(queue.ref.namespace, built["metadata"]["name"]) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"volumMounts": []}, 'unknown field "spec.containers[0].volumMounts"'),
        ({"image": ""}, "spec.containers[0].image"),
        ({"resources": {"limits": {"memory": "lots"}}}, "quantities must match"),
        ({"volumeMounts": [{"name": "none", "mountPath": "/x"}]}, 'Not found: "none"'),
    ],
)
async def test_a_dry_run_names_what_is_wrong(api: PodApi, queue: Queue, fields: Json, message: str) -> None:
    built = queue.build()
    built["spec"]["containers"][0] |= fields
    with pytest.raises(Refused) as refused:
        await api.prove(built)
    assert message in str(refused.value)


@pytest.fixture
async def dead_webhook(session: ApiSession, queue: Queue) -> AsyncIterator[None]:
    """An admission webhook of the queue's namespace that fails closed."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    labels = {"kubernetes.io/metadata.name": queue.ref.namespace}
    webhook = {
        "name": "dead.populate.datajoint.io",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [pods],
        "namespaceSelector": {"matchLabels": labels},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    name = queue.ref.namespace
    await session.request("POST", path, body={"metadata": {"name": name}, "webhooks": [webhook]})
    yield
    await session.request("DELETE", f"{path}/{name}")


@pytest.mark.usefixtures("dead_webhook")
async def test_a_webhook_that_fails_closed_is_a_refusal(api: PodApi, queue: Queue) -> None:
    errors: list[Any] = []
    while not errors:  # the server takes a moment to learn of the webhook
        [result] = await create_many(api, [queue.build()])
        errors += [result.error] if result.error else []
    assert isinstance(errors[0], Refused)
    assert errors[0].reason == "WebhookFailed"


# --- release and deletion -------------------------------------------------------------------------


async def test_release_removes_our_finalizer_and_no_other(api: PodApi, queue: Queue) -> None:
    pod = await queue.create({"metadata": {"finalizers": ["example.com/before"]}, **TEMPLATE})
    await queue.patch(pod, {"metadata": {"finalizers": ["example.com/after"]}})  # merged: added
    released = created(await api.release(pod))
    assert not released.has_finalizer
    finalizers = (await queue.raw(pod))["metadata"]["finalizers"]
    assert sorted(finalizers) == ["example.com/after", "example.com/before"]


async def test_release_may_be_repeated(api: PodApi, queue: Queue) -> None:
    pod = await queue.create()
    first, second = created(await api.release(pod)), created(await api.release(pod))
    assert first.resource_version == second.resource_version


async def test_release_and_deletion_leave_a_namesake_alone(api: PodApi, queue: Queue) -> None:
    pod = await queue.create()
    gone = replace(pod, uid="00000000-0000-4000-8000-0000000000ff")
    assert await api.release(gone) is None
    await api.delete(gone)
    left = created(await api.get(pod.namespace, pod.name))
    assert (left.has_finalizer, left.deleting_since) == (True, None)


async def test_a_pod_lasts_until_it_is_deleted_and_released(api: PodApi, queue: Queue) -> None:
    pod = await queue.create()
    going = created(await api.delete(pod))
    assert going.deleting_since is not None
    assert await api.get(pod.namespace, pod.name) == going
    await api.release(pod)
    assert await api.get(pod.namespace, pod.name) is None
    assert await api.delete(pod) is None


async def test_a_forced_deletion_leaves_the_pod_to_others(api: PodApi, queue: Queue) -> None:
    # Bound to a node that does not exist: no kubelet ends it within its grace.
    spec = {"nodeName": "populate-test-none", "containers": TEMPLATE["spec"]["containers"]}
    pod = await queue.create({"metadata": {"finalizers": ["example.com/keep"]}, "spec": spec})
    await api.delete(pod)
    released = created(await api.release(pod))
    assert (released.deleting_since is not None, released.is_kept_by_others) == (True, False)
    await api.delete(pod, grace_seconds=0)
    forced = created(await api.get(pod.namespace, pod.name))
    assert forced.is_kept_by_others
    await api.delete(pod, grace_seconds=0)
    assert await api.get(pod.namespace, pod.name) == forced  # again would be in vain
    await queue.patch(pod, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/keep"]}})
    assert await api.get(pod.namespace, pod.name) is None


async def test_what_is_gone_is_released_and_deleted(api: PodApi, queue: Queue) -> None:
    pod = await queue.create()
    await queue.remove(pod)
    assert await release_many(api, [pod]) == [None]
    assert await delete_many(api, [pod]) == [None]


async def test_a_job_costs_three_writes(via_http: ApiSession, http_proxy: HttpProxy, queue: Queue) -> None:
    api = PodApi(via_http)
    [result] = await create_many(api, [queue.build()])
    await release_many(api, [created(result.pod)])
    await delete_many(api, [created(result.pod)])
    assert [request.method for request in http_proxy.seen] == ["POST", "PATCH", "DELETE"]
    assert await api.get(queue.ref.namespace, result.name) is None


# --- other objects --------------------------------------------------------------------------------


async def test_a_pod_that_never_ran_has_an_empty_log(api: PodApi, queue: Queue) -> None:
    pod = await queue.create()
    assert await api.log_tail(pod.namespace, pod.name, "main") == ""


async def test_a_secret_is_read_decoded(api: PodApi, session: ApiSession, queue: Queue) -> None:
    namespace = queue.ref.namespace
    data = {"password": base64.b64encode(b"p\xc3\xa4ss\n").decode()}
    await session.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/secrets",
        body={"metadata": {"name": "account"}, "data": data},
    )
    assert await api.secret(namespace, "account") == {"password": b"p\xc3\xa4ss\n"}
    with pytest.raises(NotFound, match="missing"):
        await api.secret(namespace, "missing")


async def test_the_runners_config_map_is_made_once_and_named_by_its_content(
    api: PodApi, session: ApiSession, queue: Queue
) -> None:
    first = await api.ensure_config_map(queue.ref, "runner.py", "print(1)")
    assert await api.ensure_config_map(queue.ref, "runner.py", "print(1)") == first
    other = await api.ensure_config_map(queue.ref, "runner.py", "print(2)")
    assert first != other
    path = f"/api/v1/namespaces/{queue.ref.namespace}/configmaps/{first}"
    found = await session.request("GET", path)
    assert found["data"] == {"runner.py": "print(1)"}
    assert found["immutable"] is True
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [queue.ref.uid]


async def test_a_config_map_that_exists_is_looked_for_only(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    api = PodApi(via_http)
    name = await api.ensure_config_map(queue.ref, "runner.py", "print(1)")
    assert await api.ensure_config_map(queue.ref, "runner.py", "print(1)") == name
    assert [request.method for request in http_proxy.seen] == ["GET", "POST", "GET"]
    http_proxy.faults.append(Fault(is_method("GET"), 404, "NotFound"))  # made since by someone else
    assert await api.ensure_config_map(queue.ref, "runner.py", "print(1)") == name
    assert http_proxy.seen[-1].method == "POST"


async def test_a_config_map_that_was_deleted_is_made_again(
    api: PodApi, session: ApiSession, queue: Queue
) -> None:
    name = await api.ensure_config_map(queue.ref, "runner.py", "print(1)")
    path = f"/api/v1/namespaces/{queue.ref.namespace}/configmaps/{name}"
    await session.request("DELETE", path)
    assert await api.ensure_config_map(queue.ref, "runner.py", "print(1)") == name
    assert (await session.request("GET", path))["data"] == {"runner.py": "print(1)"}


async def test_events_of_one_reason_are_one_event(session: ApiSession, queue: Queue) -> None:
    recorder = EventRecorder(session)
    for number in range(3):
        await recorder.publish(queue.ref, "Warning", "JobFailed", f"key {number}", times=2)
    await recorder.publish(queue.ref, "Normal", "Refreshed", "5 added")
    assert await events_of(session, queue) == {
        ("Warning", "JobFailed", 6, "key 2"),
        ("Normal", "Refreshed", 1, "5 added"),
    }


async def test_an_event_that_the_server_forgot_begins_again(session: ApiSession, queue: Queue) -> None:
    recorder = EventRecorder(session)
    await recorder.publish(queue.ref, "Warning", "JobFailed", "first")
    await session.request("DELETE", f"/api/v1/namespaces/{queue.ref.namespace}/events")
    await recorder.publish(queue.ref, "Warning", "JobFailed", "second")
    assert await events_of(session, queue) == {("Warning", "JobFailed", 1, "second")}


async def test_an_event_that_is_refused_raises_nothing(session: ApiSession, queue: Queue) -> None:
    nowhere = replace(queue.ref, namespace="populate-test-none")
    await EventRecorder(session).publish(nowhere, "Normal", "Refreshed", "5 added")


async def events_of(session: ApiSession, queue: Queue) -> set[tuple[str, str, int, str]]:
    found = await session.request("GET", f"/api/v1/namespaces/{queue.ref.namespace}/events")
    about = [one for one in found["items"] if one["involvedObject"].get("uid") == queue.ref.uid]
    return {(one["type"], one["reason"], one["count"], one["message"]) for one in about}


async def test_the_uid_of_a_namespace(api: PodApi, session: ApiSession, queue: Queue) -> None:
    found = await session.request("GET", f"/api/v1/namespaces/{queue.ref.namespace}")
    assert await api.namespace_uid(queue.ref.namespace) == found["metadata"]["uid"]


# --- faults ---------------------------------------------------------------------------------------

POST = is_method("POST")


@pytest.mark.parametrize(
    ("status", "reason", "headers"),
    [
        (429, "TooManyRequests", {"Retry-After": "0"}),
        (429, "TooManyRequests", {}),
        (500, "InternalError", {}),
        (503, "ServiceUnavailable", {}),
        (504, "Timeout", {}),
        (409, "Conflict", {}),  # contention for a quota
    ],
)
async def test_a_busy_server_is_asked_again(
    via_http: ApiSession,
    http_proxy: HttpProxy,
    queue: Queue,
    status: int,
    reason: str,
    headers: dict[str, str],
) -> None:
    http_proxy.faults += [Fault(POST, status, reason, headers)] * 2
    [result] = await create_many(PodApi(via_http), [queue.build()])
    assert created(result.pod).has_finalizer
    assert len(http_proxy.seen) == 3


async def test_a_release_that_contends_with_other_writers_is_repeated(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    pod = await queue.create()
    http_proxy.faults += [Fault(is_method("PATCH"), 409, "Conflict")] * 2
    assert not created(await PodApi(via_http).release(pod)).has_finalizer
    assert len(http_proxy.seen) == 3


async def test_a_server_that_stays_busy_is_given_up(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    http_proxy.faults += [Fault(POST, 429, "TooManyRequests", {"Retry-After": "0"})] * 6
    [result] = await create_many(PodApi(via_http), [queue.build()])
    assert isinstance(result.error, Unreachable)
    assert (result.error.status, len(http_proxy.seen)) == (429, 6)


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (422, "Invalid"), (400, "BadRequest")])
async def test_a_refusal_is_not_repeated(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue, status: int, reason: str
) -> None:
    http_proxy.faults.append(Fault(POST, status, reason))
    [result] = await create_many(PodApi(via_http), [queue.build()])
    assert isinstance(result.error, Refused)
    assert len(http_proxy.seen) == 1


async def test_a_creation_whose_answer_was_lost_adopts_its_own_pod(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    http_proxy.faults.append(Fault(POST, loses_answer=True))
    [result] = await create_many(PodApi(via_http), [queue.build()])
    assert result.adopted
    assert created(result.pod).queue_uid == queue.ref.uid
    assert len((await queue.session.request("GET", queue.pods))["items"]) == 1


async def test_a_release_and_a_deletion_whose_answers_were_lost(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    pod = await queue.create()
    http_proxy.faults += [Fault(is_method(method), loses_answer=True) for method in ("PATCH", "DELETE")]
    api = PodApi(via_http)
    assert not created(await api.release(pod)).has_finalizer
    await api.delete(pod)
    assert await api.get(pod.namespace, pod.name) is None
    assert not http_proxy.faults


async def test_no_more_requests_at_once_than_allowed(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    results = await create_many(PodApi(via_http, concurrency=4), [queue.build() for _ in range(40)])
    assert all(result.pod for result in results)
    assert 1 < http_proxy.most_in_flight <= 4


async def test_a_connection_that_is_reset_is_made_again(
    via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue
) -> None:
    api = PodApi(via_tcp)
    assert await api.get(queue.ref.namespace, "none") is None
    tcp_proxy.refuse()
    before = tcp_proxy.connections.qsize()
    creation = asyncio.create_task(create_many(api, [queue.build()]))
    for _ in range(before + 2):
        await tcp_proxy.connections.get()
    tcp_proxy.mend()
    [result] = await creation
    assert created(result.pod).has_finalizer


async def test_a_silent_server_is_given_up(via_tcp: ApiSession, tcp_proxy: TcpProxy, queue: Queue) -> None:
    tcp_proxy.stall()
    with pytest.raises(Unreachable, match="the API server does not answer"):
        await via_tcp.request("GET", queue.pods, timeout=0.5, attempts=2)


async def test_no_server_at_all() -> None:
    session = ApiSession(ApiClient(Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(Unreachable, match="GET /api: the API server does not answer"):
        await session.request("GET", "/api", attempts=2)
    await session.close()


async def test_something_that_is_no_api_server(http_proxy: HttpProxy, via_http: ApiSession) -> None:
    with pytest.raises(Unreachable, match="is this an API server"):
        await via_http.request("GET", "/healthz")
