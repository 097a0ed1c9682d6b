"""What a kubelet makes of the pods that we build, and what we see of it.

Cases: keys with dollars, the account, the mounted runner; how pods end: success, exit code with message, out
of memory, deadline, init container, sidecars of both kinds, deletion, eviction; why they wait: image, Secret,
room, gates; logs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.images.catalogue import SEGMENTATION
from populate_operator.pods import runner as runner_script
from populate_operator.pods.build import RUNNER_FILE, DatabaseAccess, PodRequest, Runner, build_pod
from populate_operator.pods.client import PodApi
from populate_operator.pods.names import pod_name
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.session import ApiSession, connect
from populate_operator.pods.view import PodView
from populate_operator.pods.watch import PodWatch

Json = dict[str, Any]
Start = Callable[..., Awaitable[PodView]]

RUNNER_SCRIPT = Path(runner_script.__file__).read_text()
MAIN: Json = {"name": "main", "image": SEGMENTATION, "imagePullPolicy": "Never"}
ACCOUNT = DatabaseAccess("db", 3306, "account", "username", "password")


@pytest.fixture
async def session(cluster: Cluster) -> AsyncIterator[ApiSession]:
    session = await connect(cluster.kubeconfig, cluster.context)
    yield session
    await session.close()


@pytest.fixture
def api(session: ApiSession) -> PodApi:
    return PodApi(session)


@pytest.fixture
def queue(cluster: Cluster, namespace: str) -> QueueRef:
    """An owner of a kind that no cluster serves: the garbage collector leaves its pods alone."""
    account = ["--from-literal=username=ada", "--from-literal=password=p$(x)"]
    cluster.kubectl("create", "secret", "generic", "account", *account, "-n", namespace)
    return QueueRef("test.populate.datajoint.io/v1", namespace, "q", "00000000-0000-4000-8000-000000000001")


@pytest.fixture
async def start(api: PodApi, queue: QueueRef) -> AsyncIterator[Start]:
    """Creates a pod of Python code, or of any container fields; released and deleted with the test."""
    made: list[PodView] = []

    async def start(
        code: str = "", *, spec: Json | None = None, container: Json | None = None, **changes: Any
    ) -> PodView:
        spec = spec or {}
        main = {**MAIN, "command": ["python3", "-c", code], **(container or {})}
        containers = [main, *spec.get("containers", [])]
        template = {"spec": {"terminationGracePeriodSeconds": 1, **spec, "containers": containers}}
        request = PodRequest(pod_name("q", os.urandom(8)), queue, template, ACCOUNT, "lab", "__t", "{}", 1)
        made.append(await api.create(build_pod(replace(request, **changes))))
        return made[-1]

    yield start
    for pod in made:
        await api.release(pod)
        await api.delete(pod, grace_seconds=0)


@dataclass(frozen=True)
class Sight:
    """What the watch shows of the test's pods."""

    watch: PodWatch
    changed: asyncio.Event

    async def of(self, pod: PodView, holds: Callable[[PodView], bool]) -> PodView:
        """The pod once it is as asked."""
        await self._until(lambda: (seen := self._of(pod)) is not None and holds(seen))
        seen = self._of(pod)
        assert seen is not None
        return seen

    async def end_of(self, pod: PodView) -> None:
        """Return when the pod is gone."""
        await self._until(lambda: self._of(pod) is None)

    def _of(self, pod: PodView) -> PodView | None:
        return self.watch.get(pod.namespace, pod.name)

    async def _until(self, holds: Callable[[], bool]) -> None:
        await self.watch.synced.wait()
        async with asyncio.timeout(120):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def sight(session: ApiSession, namespace: str) -> AsyncIterator[Sight]:
    changed = asyncio.Event()
    watch = PodWatch(session, lambda _: changed.set(), namespaces=[namespace])
    task = asyncio.create_task(watch.run())
    yield Sight(watch, changed)
    task.cancel()
    await asyncio.wait({task})


def is_finished(pod: PodView) -> bool:
    return pod.is_finished


def is_running(pod: PodView) -> bool:
    return pod.phase == "Running" and pod.started_at is not None


# --- what the container gets ----------------------------------------------------------------------


@pytest.mark.parametrize("key", ['{"a": "$(DJ_PASS)"}', '{"a": "$$(X)$$"}', '{"a": "5 $", "b": "é\\n"}'])
async def test_the_key_arrives_as_it_is(start: Start, sight: Sight, api: PodApi, key: str) -> None:
    pod = await start("import os; print(os.environ['POPULATE_KEY'])", key=key)
    assert (await sight.of(pod, is_finished)).phase == "Succeeded"
    assert await api.log_tail(pod.namespace, pod.name, "main") == key + "\n"


async def test_the_account_comes_from_the_secret(start: Start, sight: Sight, api: PodApi) -> None:
    pod = await start("import os; print(os.environ['DJ_USER'], os.environ['DJ_PASS'], os.environ['DJ_PORT'])")
    await sight.of(pod, is_finished)
    assert await api.log_tail(pod.namespace, pod.name, "main") == "ada p$(x) 3306\n"


async def test_no_api_token_is_mounted(start: Start, sight: Sight) -> None:
    pod = await start("import os, sys; sys.exit(os.path.exists('/var/run/secrets/kubernetes.io'))")
    assert (await sight.of(pod, is_finished)).phase == "Succeeded"


async def test_the_mounted_runner_runs(start: Start, sight: Sight, api: PodApi, queue: QueueRef) -> None:
    name = await api.ensure_config_map(queue, RUNNER_FILE, RUNNER_SCRIPT)
    pod = await start(runner=Runner("no_such_module:Thing", name))
    ended = (await sight.of(pod, is_finished)).termination
    assert ended is not None
    assert ended.exit_code == runner_script.EXIT_CONFIGURATION
    assert "no_such_module" in ended.message


# --- how it ends ----------------------------------------------------------------------------------


async def test_success(start: Start, sight: Sight) -> None:
    pod = await sight.of(await start("pass"), is_finished)
    assert pod.termination is not None
    assert (pod.phase, pod.termination.exit_code, pod.termination.reason) == ("Succeeded", 0, "Completed")
    assert pod.termination.started_at is not None
    assert pod.termination.finished_at is not None
    assert pod.termination.finished_at >= pod.termination.started_at >= pod.created_at


async def test_an_exit_code_and_the_log_as_its_message(start: Start, sight: Sight) -> None:
    pod = await sight.of(await start("import sys; print('bad voltage'); sys.exit(7)"), is_finished)
    assert pod.termination is not None
    assert (pod.phase, pod.termination.exit_code, pod.termination.reason) == ("Failed", 7, "Error")
    assert pod.termination.message == "bad voltage\n"


async def test_out_of_memory(start: Start, sight: Sight) -> None:
    limits = {"resources": {"limits": {"memory": "48Mi"}}}
    pod = await sight.of(await start("x = bytearray(1 << 28)", container=limits), is_finished)
    assert pod.termination is not None
    assert (pod.termination.exit_code, pod.termination.reason, pod.memory_limit) == (137, "OOMKilled", "48Mi")


async def test_a_deadline(start: Start, sight: Sight) -> None:
    pod = await sight.of(await start("import time; time.sleep(600)", active_deadline_seconds=2), is_finished)
    assert (pod.phase, pod.reason) == ("Failed", "DeadlineExceeded")


async def test_an_init_container_that_fails(start: Start, sight: Sight) -> None:
    fetch = {"name": "fetch", "image": SEGMENTATION, "imagePullPolicy": "Never", "command": ["false"]}
    pod = await sight.of(await start("pass", spec={"initContainers": [fetch]}), is_finished)
    assert pod.termination is not None
    assert (pod.phase, pod.termination.container, pod.termination.exit_code) == ("Failed", "fetch", 1)


SLEEPS = {"image": SEGMENTATION, "imagePullPolicy": "Never", "command": ["sleep", "600"]}


async def test_a_sidecar_ends_with_the_job(start: Start, sight: Sight) -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always", **SLEEPS}
    pod = await sight.of(await start("pass", spec={"initContainers": [sidecar]}), is_finished)
    assert pod.termination is not None
    assert (pod.phase, pod.termination.container, pod.termination.exit_code) == ("Succeeded", "main", 0)


async def test_a_second_container_outlives_the_job(start: Start, sight: Sight) -> None:
    pod = await start("raise SystemExit(3)", spec={"containers": [{"name": "log", **SLEEPS}]})
    seen = await sight.of(pod, lambda pod: pod.termination is not None)
    assert seen.termination is not None
    assert (seen.phase, seen.termination.container, seen.termination.exit_code) == ("Running", "main", 3)


async def test_a_deleted_pod_stays_with_its_end_until_it_is_released(
    start: Start, sight: Sight, api: PodApi
) -> None:
    pod = await sight.of(await start("import time; time.sleep(600)"), is_running)
    await api.delete(pod)
    ended = await sight.of(pod, is_finished)
    assert ended.deleting_since is not None
    assert (ended.phase, ended.disruption, ended.has_finalizer) == ("Failed", None, True)
    await api.release(ended)
    await sight.end_of(pod)
    assert await api.get(pod.namespace, pod.name) is None


async def test_an_eviction_is_a_disruption(start: Start, sight: Sight, session: ApiSession) -> None:
    pod = await sight.of(await start("import time; time.sleep(600)"), is_running)
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.name}}
    await session.request("POST", path, body=body)
    ended = await sight.of(pod, is_finished)
    assert (ended.phase, ended.disruption) == ("Failed", "EvictionByEvictionAPI")


# --- why it waits ---------------------------------------------------------------------------------


def waits_for(reason: str, words: str = "") -> Callable[[PodView], bool]:
    """It says so, and with these words: the kubelet's first ones may be others."""
    return lambda pod: (
        pod.waiting is not None and pod.waiting.reason == reason and words in pod.waiting.message
    )


async def test_an_image_that_is_not_there(start: Start, sight: Sight) -> None:
    pod = await start(container={"image": "localhost/populate/none:none"})
    seen = await sight.of(pod, waits_for("ErrImageNeverPull"))
    assert seen.scheduled
    assert seen.waiting is not None
    assert "localhost/populate/none:none" in seen.waiting.message


async def test_a_secret_that_is_not_there(
    cluster: Cluster, start: Start, sight: Sight, queue: QueueRef
) -> None:
    cluster.kubectl("delete", "secret", "account", "-n", queue.namespace)
    absent = waits_for("CreateContainerConfigError", 'secret "account" not found')
    assert await sight.of(await start("pass"), absent)


async def test_no_node_with_room(start: Start, sight: Sight) -> None:
    pod = await start("pass", container={"resources": {"requests": {"cpu": "10000"}}})
    seen = await sight.of(pod, waits_for("Unschedulable"))
    assert not seen.scheduled
    assert seen.waiting is not None
    assert "Insufficient cpu" in seen.waiting.message


async def test_gates_hold_it_back(start: Start, sight: Sight) -> None:
    pod = await start("pass", spec={"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]})
    assert not (await sight.of(pod, waits_for("SchedulingGated"))).scheduled


# --- logs -----------------------------------------------------------------------------------------


async def test_the_end_of_a_long_log_is_kept(start: Start, sight: Sight, api: PodApi) -> None:
    pod = await start("for n in range(1000): print('x' * 400, n)")
    await sight.of(pod, is_finished)
    tail = await api.log_tail(pod.namespace, pod.name, "main")
    assert tail.endswith("x 999\n")
    assert len(tail) == 8192
