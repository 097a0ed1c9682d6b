"""What is believed of a pod whose creation the quota refuses: an earlier try may have made it.

The API server here gives injected answers; the real one is in tests/integration/pods/test_pods_quota.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from populate_operator.pods.batch import CreateResult, create_many
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import ApiError, Refused, Unreachable, status_error
from populate_operator.pods.session import JsonObject
from populate_operator.pods.view import PodView
from tests.unit.queue.builders import make_pod

POD: JsonObject = {
    "metadata": {"namespace": "lab", "name": "pod-a", "ownerReferences": [{"uid": "queue-uid"}]},
}
QUOTA = status_error(403, "Forbidden", "exceeded quota: few")


@dataclass
class Answers:
    """The parts of PodApi that a creation uses."""

    to_create: ApiError
    to_get: PodView | ApiError | None
    looks: list[str] = field(default_factory=list)

    async def create(self, _pod: JsonObject, _fence: Callable[[], None]) -> PodView:
        raise self.to_create

    async def get(self, _namespace: str, name: str) -> PodView | None:
        self.looks.append(name)
        if isinstance(self.to_get, ApiError):
            raise self.to_get
        return self.to_get


async def create(answers: Answers) -> CreateResult:
    [result] = await create_many(cast(PodApi, answers), [POD])
    return result


async def test_our_pod_is_adopted() -> None:
    pod = make_pod()
    assert await create(Answers(QUOTA, pod)) == CreateResult("pod-a", pod, adopted=True)


async def test_where_there_is_none_the_refusal_stands() -> None:
    result = await create(Answers(QUOTA, None))
    assert (result.pod, result.error) == (None, QUOTA)


async def test_a_pod_of_someone_else_has_the_name() -> None:
    result = await create(Answers(QUOTA, make_pod(queue_uid="other")))
    assert isinstance(result.error, Refused)
    assert result.error.reason == "NameTaken"


@pytest.mark.parametrize("refusal", [QUOTA, status_error(409, "AlreadyExists", "taken")])
@pytest.mark.parametrize("status", [403, 429, 503])
async def test_a_look_that_fails_leaves_it_open(refusal: ApiError, status: int) -> None:
    result = await create(Answers(refusal, status_error(status, "", "no")))
    assert isinstance(result.error, Unreachable)
    assert result.error.status == 0  # 429 would be a no to the pod


async def test_any_other_refusal_is_believed() -> None:
    answers = Answers(status_error(422, "Invalid", "image"), make_pod())
    assert (await create(answers)).error is answers.to_create
    assert answers.looks == []
