"""A watch of queues that misses something is found out by lists, one that is merely ahead or late is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from populate_operator.pods.errors import Refused
from populate_operator.pods.queues import QueueApi
from populate_operator.queue.roll_call import RollCall, unheard


@pytest.mark.parametrize(
    ("heard", "listed", "served", "expected"),
    [
        ({}, {}, "", ""),
        ({"a": 1}, {"a": 1}, "a", ""),
        ({}, {"a": 1}, "", "a"),
        ({"a": 1}, {"a": 2}, "a", "a"),
        ({"a": 2}, {"a": 1}, "a", ""),
        ({"a": 1}, {}, "a", "a"),
        ({"a": 1}, {}, "", ""),
        ({"a": 1}, {"a": 1}, "", ""),
        ({"a": 1, "b": 1}, {"b": 2, "c": 1}, "ab", "abc"),
    ],
    ids=["none", "all", "new", "changed", "old list", "deleted", "let go", "held by others", "each"],
)
def test_what_was_not_heard(
    heard: dict[str, int], listed: dict[str, int], served: str, expected: str
) -> None:
    assert unheard(heard, listed, set(served)) == set(expected)


def hear(
    roll_call: RollCall, uid: str, generation: int, event: str | None = "MODIFIED", namespace: str = "lab"
) -> None:
    roll_call.hear(event, {"uid": uid, "generation": generation, "namespace": namespace})


def test_a_change_is_missed_from_the_first_list_that_has_it_to_the_last() -> None:
    roll_call = RollCall({"a"})
    hear(roll_call, "a", 1)
    roll_call.compare({"a": 1}, 100.0)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 2}, 130.0)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 3}, 160.0)
    assert roll_call.missed_for == 30.0


def test_a_late_watch_is_forgiven() -> None:
    roll_call = RollCall(set())
    roll_call.compare({"a": 1}, 100.0)
    roll_call.compare({"a": 1}, 130.0)
    hear(roll_call, "a", 1, None)
    assert roll_call.missed_for == 0.0
    roll_call.compare({"a": 1}, 160.0)
    assert roll_call.missed_for == 0.0


def test_a_deletion_is_missed_until_it_is_heard() -> None:
    roll_call = RollCall(served := {"a"})
    hear(roll_call, "a", 1)
    roll_call.compare({}, 100.0)
    roll_call.compare({}, 130.0)
    assert roll_call.missed_for == 30.0
    hear(roll_call, "a", 2, "DELETED")
    served.clear()
    roll_call.compare({}, 160.0)
    assert roll_call.missed_for == 0.0


def test_the_longest_miss_counts() -> None:
    roll_call = RollCall(set())
    roll_call.compare({"a": 1}, 100.0)
    roll_call.compare({"a": 1, "b": 1}, 130.0)
    roll_call.compare({"a": 1, "b": 1}, 160.0)
    assert roll_call.missed_for == 60.0
    hear(roll_call, "a", 1)
    assert roll_call.missed_for == 30.0


def test_a_list_that_was_refused_proves_no_deletion() -> None:
    roll_call = RollCall({"a", "b"})
    hear(roll_call, "a", 1, namespace="gone")
    hear(roll_call, "b", 1, namespace="lab")
    for now in (100.0, 130.0):
        roll_call.compare({"b": 1}, now, {"gone"})
    assert roll_call.missed_for == 0.0
    for now in (160.0, 190.0):
        roll_call.compare({}, now, {"gone"})
    assert roll_call.missed_for == 30.0


class Lists:
    """An API server with a queue in each namespace, but for one where it refuses."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()

    async def list_generations(self, namespaces: Sequence[str]) -> dict[str, int]:
        self.asked.put_nowait(tuple(namespaces))
        if "gone" in namespaces or not namespaces:
            raise Refused("forbidden", reason="Forbidden", status=403)
        return {f"{one}-uid": 2 for one in namespaces}


async def repeated(roll_call: RollCall, *namespaces: str) -> None:
    """Let it compare a few times."""
    lists = Lists()
    task = asyncio.create_task(roll_call.repeat(cast(QueueApi, lists), namespaces, 0.01))
    for _ in range(4 * max(1, len(namespaces))):
        await lists.asked.get()
    task.cancel()
    await asyncio.wait({task})


async def test_a_namespace_that_refuses_hides_nothing_in_the_others() -> None:
    roll_call = RollCall({"gone-uid", "lab-uid"})
    hear(roll_call, "gone-uid", 1, namespace="gone")
    hear(roll_call, "lab-uid", 2)
    await repeated(roll_call, "gone", "lab")
    assert roll_call.missed_for == 0.0
    hear(roll_call, "lab-uid", 1)
    await repeated(roll_call, "gone", "lab")
    assert roll_call.missed_for > 0.0


async def test_a_cluster_that_refuses_proves_nothing() -> None:
    roll_call = RollCall({"lab-uid"})
    hear(roll_call, "lab-uid", 1)
    await repeated(roll_call)
    assert roll_call.missed_for == 0.0


async def test_all_are_known_once_every_namespace_has_said_so() -> None:
    roll_call = RollCall({"lab-uid"})
    hear(roll_call, "lab-uid", 2)
    is_complete = [roll_call.is_complete]
    for namespaces in (["lab"], ["gone", "lab"]):
        await repeated(roll_call, *namespaces)
        is_complete.append(roll_call.is_complete)
    assert is_complete == [False, True, False]
    assert roll_call.homes == {"lab"}
