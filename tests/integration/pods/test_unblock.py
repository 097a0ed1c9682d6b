"""`unblock` by the real kubectl: the pods of a queue whose CRD is gone."""

from __future__ import annotations

import pytest

from dev.cluster import Cluster
from populate_operator import unblock as module
from populate_operator.pods.client import PodApi
from populate_operator.pods.session import ApiSession
from populate_operator.unblock import unblock
from tests.integration.pods.conftest import Queue


async def test_pods_are_released_where_there_is_no_such_kind_as_a_queue(
    cluster: Cluster, session: ApiSession, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUES", "nones.test.populate.datajoint.io")  # as after `kubectl delete crd`
    pod = await queue.create()
    await PodApi(session).delete(pod)
    released = list(unblock(["-n", pod.namespace], force=True, kubectl=cluster.kubectl_command()))
    assert released == [f"Pod/{pod.name} in {pod.namespace}"]
    assert await PodApi(session).get(pod.namespace, pod.name) is None
