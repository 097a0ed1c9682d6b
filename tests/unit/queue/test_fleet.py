"""Queues that leave the fleet: what of their pods may still be held is looked after.

Services and loops do nothing here but record; the real ones are in tests/e2e.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from populate_operator.pods.view import PodView
from populate_operator.queue.fleet import Fleet
from populate_operator.queue.services import Services
from populate_operator.queue.strays import Strays
from tests.unit.queue.builders import succeeded_pod
from tests.unit.queue.stand_in import StandIn

GONE: dict[str, Any] = {
    "apiVersion": "populate.datajoint.io/v1alpha1",
    "metadata": {"namespace": "lab", "name": "sorting", "uid": "queue-uid", "generation": 1},
}


@dataclass
class Watched(StandIn):
    """What the watch knows of the pods."""

    pods: list[PodView] = field(default_factory=list)

    def pods_of(self, _queue_uid: str) -> list[PodView]:
        return self.pods


@pytest.mark.parametrize(("has_finalizer", "suspects"), [(True, ["queue-uid"]), (False, [])])
def test_pods_that_a_deleted_queue_still_holds_are_looked_after(
    monkeypatch: pytest.MonkeyPatch, has_finalizer: bool, suspects: list[str]
) -> None:
    """Somebody took its finalizer: its loop ends amid releasing, and no pod need ever change again."""
    found: list[str] = []
    monkeypatch.setattr(Strays, "suspect", lambda _, uid: found.append(uid))
    fleet = Fleet(on_deposed=lambda _: None)
    fleet.equip(cast(Services, Watched([succeeded_pod(has_finalizer=has_finalizer)])))
    fleet.observe("DELETED", GONE)
    assert found == suspects
