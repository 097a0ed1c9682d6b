"""Whatever manifest the API server accepts, the operator reads: it builds a pod, or says what is wrong.

Every field of the CRD gets every value of a list of hostile ones, and seeded pairs of fields get random ones:
one server-side dry run for each.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster import Cluster
from populate_operator.pods.build import build_pod
from populate_operator.pods.errors import NotFound, Refused
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.session import ApiSession, connect
from populate_operator.queue.crd import build_crd
from populate_operator.queue.plan import Reservation
from populate_operator.queue.requests import PodFactory
from populate_operator.queue.resource import InvalidQueueError, parse_spec
from tests.integration.manifests import Api, manifest

Json = dict[str, Any]
Path = tuple[str | int, ...]

STRINGS = [
    "",
    "a",
    "A",
    "a" * 64,
    "a" * 65,
    "a" * 20000,
    "select 1",
    "x:Y",
    "\0",
    "a\n",
    "電",
    "\N{SLEEPING SYMBOL}",
]
STRINGS += [
    "a'\"`;--",
    "$(DJ_PASS)",
    "../..",
    "-a",
    "a-",
    "a.b",
    "Never",
    "Preferred",
    "Retry",
    "127.0.0.1",
    "::1",
]
NUMBERS = [-1, 0, 1, 2, 10, 127, 128, -128, -129, 65535, 65536, 2**31, 2**63 - 1, 1e3, 1.0, 1.5, 10.5, -0.0]
SHAPES: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [{}],
    [None],
    [""],
    ["a"],
    [1],
    [[]],
    {"a": None},
    {"a": "b"},
    {"a": [1]},
    {"name": "x"},
]
HOSTILE: list[Any] = [
    *STRINGS,
    *NUMBERS,
    *SHAPES,
    {"memory": "1Gi"},
    {"memory": ["x"]},
    {"memory": "lots"},
    [{"name": 5}],
]
PAIRS, SEED = 400, 20260301


def paths(schema: Json, path: Path = ()) -> Iterator[Path]:
    """The path of every field below a schema; of a list its first element."""
    if path:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from paths(child, (*path, name))
    if "items" in schema:
        yield from paths(schema["items"], (*path, 0))


def put(value: Any, path: Path, new: Any) -> Any:
    """`value` with `new` at `path`; what is missing on the way is made."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        old = value[0] if isinstance(value, list) and value else None
        return [put(old, rest, new)]
    base = value if isinstance(value, dict) else {}
    return {**base, step: put(base.get(step), rest, new)}


def mutants() -> Iterator[Json]:
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields, chance = list(paths(schema)), random.Random(SEED)  # noqa: S311 - repeatable
    spec = manifest(retry={"memoryFactor": 2}, runner={"class": "a:B"})["spec"]
    for path in fields:
        for value in HOSTILE:
            yield put(spec, path, value)
    for _ in range(PAIRS):
        first, second = chance.sample(fields, 2)
        yield put(put(spec, first, chance.choice(HOSTILE)), second, chance.choice(HOSTILE))


async def accepted(session: ApiSession, namespace: str, spec: Json) -> Json | None:
    """The spec as the server would keep it; None where it refuses."""
    path = f"/apis/populate.datajoint.io/v1alpha1/namespaces/{namespace}/populatequeues"
    try:
        body = manifest() | {"spec": spec}
        return dict((await session.request("POST", path, query={"dryRun": "All"}, body=body))["spec"])
    except Refused:
        return None


async def judge(cluster: Cluster, namespace: str, specs: list[Json]) -> list[Json | None]:
    session, slots = await connect(cluster.kubeconfig, cluster.context), asyncio.Semaphore(16)

    async def one(spec: Json) -> Json | None:
        async with slots:
            return await accepted(session, namespace, spec)

    try:
        return await asyncio.gather(*(one(spec) for spec in specs))
    finally:
        await session.close()


def read(spec: Json) -> str:
    """What is wrong with a spec for the operator; "" where it builds a pod, also after OOM kills."""
    queue = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "uid")
    try:
        factory = PodFactory(queue, parse_spec(spec), "table")
    except InvalidQueueError as error:
        return str(error)
    json.dumps(factory.version)
    for job in (
        Reservation("{}", "sorting-abcdefghijkl", attempt=4, age=0.0, oom_kills=kills) for kills in (0, 3)
    ):
        try:
            json.dumps(build_pod(factory.request(job)))
        except ValueError:  # told as TemplateRejected
            continue
    return ""


async def test_what_the_server_accepts_the_operator_reads(api: Api) -> None:
    specs = list(mutants())
    kept = await judge(api.cluster, api.namespace, specs)
    unread = [(error, spec) for spec in kept if spec is not None and (error := read(spec))]
    assert not unread, f"{len(unread)} accepted and not read; the first: {unread[0]}"
    taken = sum(spec is not None for spec in kept)
    assert len(specs) > 3000
    assert 300 < taken < len(specs) - 300, "both answers were tried"


async def test_another_error_is_no_refusal(api: Api) -> None:
    """The test above would pass for the wrong reason if it were."""
    with pytest.raises(NotFound):
        await judge(api.cluster, "no-such-namespace", [manifest()["spec"]])
