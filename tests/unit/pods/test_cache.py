"""The cache of pods: what it answers and which queues each change concerns.

Cases: put, change, no change; a pod that moves to another queue; drop; lists that replace; our own writes
that race with the watch; a name taken again; many ends.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from populate_operator.pods.cache import PodCache
from populate_operator.pods.parse import view_of
from populate_operator.pods.view import PodView


def pod(name: str, version: int = 1, *, queue: str = "q1", namespace: str = "lab", uid: str = "") -> PodView:
    view = view_of({"metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"}})
    return replace(view, queue_uid=queue, resource_version=str(version))


def names(cache: PodCache, queue: str = "q1") -> set[str]:
    return {view.name for view in cache.pods_of(queue)}


def test_a_new_pod_a_change_and_no_change() -> None:
    cache = PodCache()
    assert cache.put(pod("a", 1)) == {"q1"}
    assert cache.put(pod("a", 2)) == frozenset()  # nothing that we look at changed
    assert cache.put(replace(pod("a", 3), phase="Running")) == {"q1"}
    assert [view.phase for view in cache.pods_of("q1")] == ["Running"]
    assert cache.get("lab", "a") == replace(pod("a", 3), phase="Running")
    assert len(cache) == 1


def test_a_pod_that_moves_concerns_both_queues() -> None:
    cache = PodCache()
    cache.put(pod("a", 1))
    assert cache.put(pod("a", 2, queue="q2")) == {"q1", "q2"}
    assert (names(cache), names(cache, "q2")) == (set(), {"a"})
    assert cache.queue_uids() == {"q2"}


def test_a_dropped_pod_is_remembered_as_ended() -> None:
    cache = PodCache()
    cache.put(pod("a"))
    assert not cache.has_ended("lab", "a")
    assert cache.drop(pod("a")) == {"q1"}
    assert cache.drop(pod("a")) == frozenset()
    assert cache.has_ended("lab", "a")
    assert not cache.has_ended("lab", "never-seen")
    assert (len(cache), cache.queue_uids()) == (0, frozenset())


def test_a_list_replaces_its_namespace_only() -> None:
    cache = PodCache()
    for known in (pod("stays", 1), pod("goes", 2, queue="q2"), pod("other", 3, namespace="far")):
        cache.put(known)
    assert cache.replace("lab", [pod("stays", 1), pod("new", 9, queue="q3")], "10") == {"q2", "q3"}
    assert names(cache) == {"stays", "other"}
    assert cache.has_ended("lab", "goes")


def test_a_list_of_all_namespaces_replaces_all() -> None:
    cache = PodCache()
    cache.put(pod("a", 1))
    cache.put(pod("b", 2, namespace="far"))
    assert cache.replace("", [], "10") == {"q1"}
    assert len(cache) == 0


def test_a_list_older_than_our_creation_does_not_end_the_pod() -> None:
    cache = PodCache()
    cache.put_own(pod("created", 11))
    assert cache.replace("", [], "10") == frozenset()
    assert names(cache) == {"created"}


def test_our_write_is_not_undone_by_an_older_event() -> None:
    cache = PodCache()
    cache.put(replace(pod("a", 1), has_finalizer=True))
    cache.put_own(pod("a", 5))
    assert cache.put(replace(pod("a", 3), has_finalizer=True)) == frozenset()
    assert not cache.pods_of("q1")[0].has_finalizer


def test_our_write_does_not_undo_a_newer_event() -> None:
    cache = PodCache()
    cache.put(replace(pod("a", 7), phase="Running"))
    cache.put_own(pod("a", 5))
    assert cache.pods_of("q1")[0].phase == "Running"


def test_our_write_does_not_revive_a_pod_whose_end_was_seen() -> None:
    cache = PodCache()
    cache.put(pod("a", 1))
    cache.drop(pod("a", 9))
    cache.put_own(pod("a", 5))
    assert len(cache) == 0


def test_the_end_of_an_earlier_pod_does_not_end_its_namesake() -> None:
    cache = PodCache()
    cache.put(pod("a", 1, uid="first"))
    cache.put_own(pod("a", 8, uid="second"))
    assert cache.drop(pod("a", 7, uid="first")) == frozenset()
    assert [view.uid for view in cache.pods_of("q1")] == ["second"]
    assert not cache.has_ended("lab", "a")


def test_a_namesake_may_come_after_the_end() -> None:
    cache = PodCache()
    cache.put(pod("a", 1, uid="first"))
    cache.drop(pod("a", 2, uid="first"))
    cache.put_own(pod("a", 3, uid="second"))
    assert names(cache) == {"a"}
    assert not cache.has_ended("lab", "a")


def test_the_memory_of_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populate_operator.pods.cache._REMEMBERED_ENDS", 20)
    cache = PodCache()
    for number in range(21):
        cache.put(pod(f"p{number}"))
        cache.drop(pod(f"p{number}"))
    assert not cache.has_ended("lab", "p0")
    assert cache.has_ended("lab", "p1")
    assert cache.has_ended("lab", "p20")


def test_versions_that_are_no_numbers_still_list_and_end() -> None:
    cache = PodCache()
    cache.put(replace(pod("a"), resource_version="opaque"))
    assert cache.replace("", [], "also-opaque") == {"q1"}
