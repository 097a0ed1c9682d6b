"""Pods of a lost node that were given up on: each is deleted by force once, and then left to others."""

from __future__ import annotations

from typing import Any

from populate_operator.pods.view import PodView
from populate_operator.queue.plan import Action, DeletePod, ReleasePod, plan
from tests.unit.queue.builders import NOW, ago, make_pod, make_spec, observe


def lost(**fields: Any) -> PodView:
    return make_pod("a", **{"deleting_since": ago(301), "has_finalizer": False} | fields)


def actions(pod: PodView) -> list[Action]:
    return plan(make_spec(lostPodTimeoutSeconds=300), observe(pod), NOW)


def test_it_is_deleted_by_force() -> None:
    assert actions(lost()) == [DeletePod(lost(), "PodLost", "its node does not answer", force=True)]


def test_one_that_others_keep_is_left_to_them() -> None:
    assert actions(lost(is_kept_by_others=True)) == []


def test_our_own_finalizer_is_removed_all_the_same() -> None:
    pod = lost(has_finalizer=True, is_kept_by_others=True)
    assert actions(pod) == [ReleasePod(pod)]
