"""The pod that asks the class for its key source.

Cases: its deadline and what else sets it apart from a job's; an answer; an earlier pod's, also where the
quota is used up; a pod that fails, waits in vain, is deleted or on its way out; what is read when none may
start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from populate_operator.pods import probe
from populate_operator.pods.build import Runner
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Conflict, Refused
from populate_operator.pods.probe import ProbeFailed, build_probe, find_report, run_probe
from populate_operator.pods.view import PodView
from tests.unit.pods.test_build import REQUEST
from tests.unit.queue.builders import NOW, failed_pod, make_pod, pending_pod, succeeded_pod, termination

REQUESTED = replace(REQUEST, runner=Runner("lab:Spikes", "runner"))
POD = build_probe(REQUESTED)
NAME = POD["metadata"]["name"]
TOLD = succeeded_pod(NAME, termination=termination(0, "Completed", json.dumps({"key_source": "SELECT 1"})))
PULLING = pending_pod(NAME, "ErrImagePull")
LEAVING = make_pod(NAME, deleting_since=NOW)


@dataclass
class Api:
    """Answers each look at the pod with the next of `pods`, and creates none where a quota is used up."""

    pods: Iterator[PodView | None]
    refusal: Exception | None = None
    done: list[str] = field(default_factory=list)

    async def get(self, _namespace: str, _name: str) -> PodView | None:
        return next(self.pods)

    async def create(self, _pod: object) -> None:
        self.done.append("create")
        if self.refusal:
            raise self.refusal

    async def delete(self, _pod: PodView) -> None:
        self.done.append("delete")

    async def log_tail(self, *_place: str, characters: int) -> str:
        return "a line of the log"[:characters]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_FIRST_PAUSE", 0.0)


def api_of(*pods: PodView | None, refusal: Exception | None = None) -> Api:
    return Api(iter(pods), refusal)


async def run(api: Api, why: str | None = None) -> str:
    return await run_probe(cast(PodApi, api), POD, lambda _: why)


@pytest.mark.parametrize(
    ("own", "queue", "expected"),
    [
        (None, None, 540),
        (60, None, 60),
        (3600, None, 540),
        (3600, 30, 30),
        (None, 86400, 540),
        ("1m", None, 540),
    ],
)
def test_its_deadline_is_short(own: Any, queue: int | None, expected: int) -> None:
    container = {"name": "main", "image": "lab/pipeline:1"}
    spec = {"containers": [container]} | ({} if own is None else {"activeDeadlineSeconds": own})
    request = replace(REQUESTED, template={"spec": spec}, active_deadline_seconds=queue)
    assert build_probe(request)["spec"]["activeDeadlineSeconds"] == expected


def test_it_is_no_job_and_its_name_tells_the_image() -> None:
    metadata = POD["metadata"]
    assert metadata["finalizers"] == []
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "populate-operator"}
    assert POD["spec"]["containers"][0]["command"][-1] == "key-source"
    another = {"spec": {"containers": [{"name": "main", "image": "lab/pipeline:2"}]}}
    assert build_probe(replace(REQUESTED, template=another))["metadata"]["name"] != NAME
    assert build_probe(replace(REQUESTED, name="another", key="{}"))["metadata"]["name"] == NAME


async def test_an_answer() -> None:
    api = api_of(None, PULLING, make_pod(NAME), TOLD)
    assert await run(api) == "SELECT 1"
    assert api.done == ["create"]


async def test_an_earlier_answer_needs_no_pod_and_no_quota() -> None:
    api = api_of(TOLD, TOLD, refusal=Refused("exceeded quota", status=403))
    assert await run(api) == "SELECT 1"
    assert api.done == []


async def test_a_name_that_is_taken_meanwhile_is_adopted() -> None:
    api = api_of(None, TOLD, refusal=Conflict("taken", reason="AlreadyExists", status=409))
    assert await run(api) == "SELECT 1"


async def test_a_failed_pod_is_deleted_and_quoted() -> None:
    api = api_of(None, failed_pod(NAME))
    with pytest.raises(ProbeFailed, match=f"{NAME}, which asks .*, ended Failed: a line of the log"):
        await run(api)
    assert api.done == ["create", "delete"]


async def test_a_pod_that_waits_in_vain_is_deleted_with_the_reason() -> None:
    api = api_of(None, PULLING)
    with pytest.raises(ProbeFailed, match=f"{NAME}, which asks .*, is given up on: ImagePullBackOff: no x"):
        await run(api, "ImagePullBackOff: no x")
    assert api.done == ["create", "delete"]


async def test_a_pod_on_its_way_out_makes_room_for_another() -> None:
    stopped = failed_pod(NAME, 143, deleting_since=NOW)
    api = api_of(LEAVING, LEAVING, stopped, None, None, TOLD)
    assert await run(api) == "SELECT 1"
    assert api.done == ["create"]


async def test_a_pod_that_is_deleted_again_and_again() -> None:
    with pytest.raises(ProbeFailed, match="was deleted"):
        await run(api_of(None, LEAVING, None, None, LEAVING, None))


@pytest.mark.parametrize(
    ("found", "expected"), [(None, None), (PULLING, None), (failed_pod(NAME), None), (TOLD, "SELECT 1")]
)
async def test_where_none_may_start_an_earlier_answer_is_all_there_is(
    found: PodView | None, expected: str | None
) -> None:
    api = api_of(found)
    assert await find_report(cast(PodApi, api), POD) == expected
    assert api.done == []
