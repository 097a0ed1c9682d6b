"""A ResourceQuota that is used up, on a real API server, which asks it before it looks for the name.

Cases: pods up to the quota; a pod that took the last of it while its answer was lost; a look that fails; a
ConfigMap that exists already.
"""

from __future__ import annotations

import asyncio

import pytest

from populate_operator.pods.batch import create_many
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Refused, Unreachable
from populate_operator.pods.session import ApiSession
from tests.integration.pods.conftest import Queue
from tests.integration.pods.faults import Fault, HttpProxy, is_method


async def limit(queue: Queue, **hard: str) -> None:
    """A quota of the queue's namespace, and of no Secrets, once it is heeded."""
    quotas = f"/api/v1/namespaces/{queue.ref.namespace}/resourcequotas"
    spec = {"hard": {**hard, "secrets": "0"}}
    await queue.session.request("POST", quotas, body={"metadata": {"name": "few"}, "spec": spec})
    async with asyncio.timeout(60):
        while not await is_in_force(queue):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def is_in_force(queue: Queue) -> bool:
    """Whether the quota is heeded: its controller counts first, and admission hears of that."""
    namespace = f"/api/v1/namespaces/{queue.ref.namespace}"
    quota = await queue.session.request("GET", f"{namespace}/resourcequotas/few")
    if "secrets" not in quota.get("status", {}).get("used", {}):
        return False
    probe = {"metadata": {"name": "probe"}}
    try:
        await queue.session.request("POST", f"{namespace}/secrets", query={"dryRun": "All"}, body=probe)
    except Refused:
        return True
    return False


async def test_a_quota_lets_as_many_in_as_it_has_room_for(queue: Queue) -> None:
    await limit(queue, pods="3")
    results = await create_many(PodApi(queue.session), [queue.build() for _ in range(8)])
    refused = [result.error for result in results if result.error]
    assert len(refused) == 5
    assert all(isinstance(error, Refused) and error.is_quota for error in refused)


async def test_a_pod_that_took_the_last_of_it_is_adopted_though_its_answer_was_lost(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    await limit(queue, pods="1")
    http_proxy.faults.append(Fault(is_method("POST"), loses_answer=True))
    built, api = queue.build(), PodApi(via_http)
    [result] = await create_many(api, [built])
    assert (result.adopted, result.error) == (True, None)
    assert [request.method for request in http_proxy.seen] == ["POST", "POST", "GET"]
    with pytest.raises(Refused) as refused:  # not Conflict, as for a name that is taken
        await api.create(built)
    assert refused.value.is_quota


async def test_a_look_that_fails_leaves_it_open_whether_there_is_a_pod(
    via_http: ApiSession, http_proxy: HttpProxy, queue: Queue
) -> None:
    await limit(queue, pods="0")
    http_proxy.faults.append(Fault(is_method("GET"), 403, "Forbidden"))
    [result] = await create_many(PodApi(via_http), [queue.build()])
    assert isinstance(result.error, Unreachable)


async def test_a_config_map_that_exists_needs_no_room(queue: Queue) -> None:
    api = PodApi(queue.session)
    name = await api.ensure_config_map(queue.ref, "runner.py", "print(1)")
    await limit(queue, configmaps="0")
    assert await api.ensure_config_map(queue.ref, "runner.py", "print(1)") == name
    with pytest.raises(Refused) as refused:
        await api.ensure_config_map(queue.ref, "runner.py", "print(2)")
    assert refused.value.is_quota
