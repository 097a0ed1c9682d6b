"""A listed namespace without rights is left out, and never widens the scope to the whole cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from populate_operator.pods.errors import ApiError, NotFound, Refused, Unreachable
from populate_operator.pods.queues import QueueApi
from populate_operator.queue.scope import NO_CRD, Scope, plan_scope, survey

FORBIDDEN = Refused("GET ...: forbidden", reason="Forbidden", status=403)
ABSENT = NotFound("GET ...: not found", reason="NotFound", status=404)


@pytest.mark.parametrize(
    ("refusals", "served", "left_out"),
    [
        ({"a": None}, ("a",), ()),
        ({"b": None, "a": None}, ("b", "a"), ()),
        ({"a": FORBIDDEN, "b": None, "c": FORBIDDEN}, ("b",), ("a", "c")),
        ({}, (), ()),
    ],
    ids=["one", "all", "some", "whole cluster"],
)
def test_namespaces_without_rights_are_left_out(
    refusals: dict[str, Refused | None], served: tuple[str, ...], left_out: tuple[str, ...]
) -> None:
    assert plan_scope(refusals) == Scope(served, left_out)


def test_when_none_is_left_there_is_nothing_to_serve() -> None:
    scope = plan_scope({"a": FORBIDDEN, "b": FORBIDDEN})
    assert scope.left_out == ("a", "b")
    assert scope.missing is not None
    assert "a, b: " in scope.missing


@dataclass
class Answers:
    """An API server that lists queues everywhere but where it raises."""

    errors: dict[tuple[str, ...], ApiError] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def list_uids(self, namespaces: Sequence[str]) -> frozenset[str]:
        self.asked.append(tuple(namespaces))
        if error := self.errors.get(self.asked[-1]):
            raise error
        return frozenset()

    async def surveyed(self, *namespaces: str) -> Scope:
        return await survey(cast(QueueApi, self), namespaces)


async def test_each_namespace_is_asked_by_itself() -> None:
    answers = Answers({("a",): FORBIDDEN})
    assert await answers.surveyed("a", "b") == Scope(("b",), ("a",))
    assert answers.asked == [("a",), ("b",)]


async def test_the_whole_cluster_is_asked_once() -> None:
    answers = Answers()
    assert await answers.surveyed() == Scope()
    assert answers.asked == [()]


@pytest.mark.parametrize("namespaces", [(), ("a",), ("b", "a")], ids=["whole cluster", "one", "some refuse"])
async def test_without_the_crd_nothing_is_served(namespaces: tuple[str, ...]) -> None:
    answers = Answers({(): ABSENT, ("a",): ABSENT, ("b",): FORBIDDEN})
    assert await answers.surveyed(*namespaces) == Scope(missing=NO_CRD)


async def test_missing_rights_in_the_whole_cluster_are_an_error() -> None:
    with pytest.raises(Refused):
        await Answers({(): FORBIDDEN}).surveyed()


async def test_silence_leaves_nothing_out() -> None:
    with pytest.raises(Unreachable):
        await Answers({("b",): Unreachable("no answer")}).surveyed("a", "b")
