"""Letting pods go beside the passes: what is asked of the API server, and what a deposed replica leaves.

The API server here records what it is asked; the real one is in tests/integration and tests/e2e.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from populate_operator.pods.errors import ApiError, Refused, Unreachable
from populate_operator.pods.view import PodView
from populate_operator.queue import plan as p
from populate_operator.queue import tidying
from populate_operator.queue.outcome import has_ended
from populate_operator.queue.services import Services
from populate_operator.queue.tidying import PORTION, Tidier
from tests.unit.queue.builders import NOW, ago, make_pod, pending_pod
from tests.unit.queue.stand_in import StandIn


@dataclass
class Recorder(StandIn):
    """The parts of Services that a Tidier uses."""

    leads_for: int = 1_000  # how many looks at the lease find it held
    fails: set[str] = field(default_factory=set)
    error: ApiError = field(default_factory=lambda: Unreachable("cut"))
    bound_to: str | None = None  # by the answer to a deletion
    asked: list[tuple[str, str]] = field(default_factory=list)
    known: dict[str, PodView] = field(default_factory=dict)

    def may_write(self) -> bool:
        self.leads_for -= 1
        return self.leads_for >= 0

    async def release(self, pod: PodView) -> PodView:
        self._ask("release", pod)
        return pod

    async def delete(self, pod: PodView, *, grace_seconds: int | None = None) -> PodView | None:
        self._ask("delete" if grace_seconds is None else "force", pod)
        return replace(pod, node=self.bound_to, deleting_since=NOW) if self.bound_to else None

    def _ask(self, what: str, pod: PodView) -> None:
        self.asked.append((what, pod.name))
        if pod.name in self.fails:
            raise self.error

    def remember(self, pod: PodView) -> None:
        self.known[pod.name] = pod


async def tidy(recorder: Recorder, *actions: p.Action) -> Tidier:
    """A Tidier that has done what it was given."""
    woken = asyncio.Event()
    tidier = Tidier(cast(Services, recorder), woken.set)
    tidier.start(actions)
    async with asyncio.timeout(5):
        await woken.wait()
    return tidier


async def test_pods_are_released_and_deleted_and_known_to_be() -> None:
    pods = [make_pod(name) for name in "abc"]
    release, delete = p.ReleasePod(pods[0]), p.DeletePod(pods[1], "Surplus", "")
    force = p.DeletePod(pods[2], "NodeLost", "", force=True)
    recorder = Recorder()
    tidier = await tidy(recorder, release, delete, force)
    assert recorder.asked == [("release", "a"), ("delete", "b"), ("force", "c")]
    assert recorder.known["b"].deleting_since is not None
    assert not any(tidier.is_busy_with(action) for action in (release, delete, force))


@pytest.mark.parametrize("force", [False, True])
async def test_a_forced_deletion_leaves_a_pod_to_others(force: bool) -> None:
    recorder = Recorder()
    await tidy(recorder, p.DeletePod(make_pod("a", deleting_since=ago(301)), "PodLost", "", force=force))
    assert recorder.known["a"] == make_pod("a", deleting_since=ago(301), is_kept_by_others=force)


async def test_a_pod_that_was_bound_before_its_deletion_has_not_ended() -> None:
    recorder = Recorder(bound_to="node-1")
    await tidy(recorder, p.DeletePod(pending_pod("a", node=""), "QueueDeleted", ""))
    assert not has_ended(recorder.known["a"])


async def test_a_refusal_is_told_while_its_pod_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "RETRY_SECONDS", 0.0)
    pod, other = make_pod("a"), make_pod("b")
    recorder = Recorder(fails={"a"}, error=Refused("a policy says no"))
    tidier = await tidy(recorder, p.ReleasePod(pod), p.ReleasePod(other))
    trouble = tidier.trouble([other, pod])
    assert trouble
    assert (trouble.reason, "a policy says no" in trouble.message) == ("PodsNotReleased", True)
    assert tidier.trouble([other]) is None
    recorder.fails.clear()
    await tidier.close()
    tidier.start([p.ReleasePod(pod)])
    while tidier.trouble([pod]):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    await tidier.close()


async def test_what_failed_is_kept_back_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "RETRY_SECONDS", 3600.0)
    good, bad = (p.ReleasePod(make_pod(name)) for name in ("good", "bad"))
    tidier = await tidy(Recorder(fails={"bad"}), good, bad)
    assert not tidier.is_busy_with(good)
    assert tidier.is_busy_with(bad)
    await tidier.close()
    assert not tidier.is_busy_with(bad)


async def test_a_deposed_replica_stops_between_two_portions() -> None:
    releases = [p.ReleasePod(make_pod(f"p{n}")) for n in range(3 * PORTION)]
    recorder = Recorder(leads_for=2)
    tidier = await tidy(recorder, *releases)
    assert len(recorder.asked) == 2 * PORTION
    assert not any(tidier.is_busy_with(action) for action in releases)
