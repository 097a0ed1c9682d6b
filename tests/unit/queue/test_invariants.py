"""Whatever happens in whatever order, and wherever the operator dies, no rule of a job's life is broken.

The world asserts as it goes: never more pods than parallelism, never a pod without a reservation, never a
settled job whose pod may run, never a released pod whose job is open. At the end of each history, when nobody
interferes any more, every job must come to its end and the plan must become empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from populate_operator.pods.view import PodView, Waiting
from populate_operator.queue.plan import plan
from tests.unit.queue.builders import make_spec, termination
from tests.unit.queue.world import Operator, OperatorDiedError, Row, World

KEYS = [f"key-{number}" for number in range(6)]
PICK = st.integers(0, 99)


class Lives(RuleBasedStateMachine):
    """Jobs, pods, people and crashes."""

    lost_timeout: ClassVar[int | None] = None

    @initialize(parallelism=st.integers(1, 4), retries=st.integers(0, 2), ends_by_deletion=st.booleans())
    def begin(self, parallelism: int, retries: int, ends_by_deletion: bool) -> None:
        self.ends_by_deletion = ends_by_deletion
        self.fields: dict[str, Any] = {
            "parallelism": parallelism,
            "retry": {"limit": retries},
            "podRetention": {"succeeded": 1, "failed": 1},
        }
        if self.lost_timeout:
            self.fields["lostPodTimeoutSeconds"] = self.lost_timeout
        self.world = World(key_source=set(KEYS[:4]))
        self.operator = Operator(self.world, make_spec(**self.fields))
        self.disturbed: set[str] = set()  # keys that people put their hands on

    def edit(self, **fields: Any) -> None:
        self.fields |= fields
        self.operator.spec = make_spec(**self.fields)

    # --- the operator ---

    @rule(budget=st.none() | st.integers(0, 12))
    def wake(self, budget: int | None) -> None:
        self.operator.budget = budget
        try:
            self.operator.wake()
        except OperatorDiedError:
            self.operator.restart()
        self.operator.budget = None

    @rule()
    def watch(self) -> None:
        self.operator.watch()

    @rule()
    def restart(self) -> None:
        self.operator.restart()

    @rule()
    def begin_work(self) -> None:
        """Nothing happens for a while: what may run does."""
        self.operator.wake()
        for node in ("node-1", "node-2"):
            self.schedule(0, node)
            self.start(0)
        self.operator.watch()

    @rule(seconds=st.sampled_from([1, 15, 61, 400, 700]))
    def wait(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    # --- the cluster ---

    def pods(self, chosen: Callable[[PodView], bool]) -> list[str]:
        return [
            name
            for name, pod in sorted(self.world.pods.items())
            if chosen(pod) and pod.node not in self.world.lost_nodes
        ]

    def change(self, pick: int, chosen: Callable[[PodView], bool], **fields: Any) -> PodView | None:
        names = self.pods(chosen)
        if not names:
            return None
        name = names[pick % len(names)]
        before = self.world.pods[name]
        self.world.update(name, lambda pod: replace(pod, **fields))
        return before

    @rule(pick=PICK, node=st.sampled_from(["node-1", "node-2"]))
    def schedule(self, pick: int, node: str) -> None:
        self.change(pick, lambda pod: not pod.node and not pod.deleting_since, node=node, scheduled=True)

    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        self.change(pick, _is_waiting, phase="Running", started_at=self.world.now, waiting=None)

    @rule(pick=PICK, reason=st.sampled_from(["ImagePullBackOff", "ContainerCreating"]))
    def hang(self, pick: int, reason: str) -> None:
        self.change(pick, _is_waiting, waiting=Waiting("populate", reason, "why"))

    @rule(pick=PICK, makes_row=st.booleans())
    def succeed(self, pick: int, makes_row: bool) -> None:
        ended = termination(0, "Completed")
        pod = self.change(pick, _is_running, phase="Succeeded", termination=ended)
        if pod and makes_row:
            self.world.target.add(pod.key)

    @rule(pick=PICK, makes_row=st.booleans(), code=st.sampled_from([1, 137]), is_evicted=st.booleans())
    def fail(self, pick: int, makes_row: bool, code: int, is_evicted: bool) -> None:
        pod = self.change(
            pick,
            _is_running,
            phase="Failed",
            termination=termination(code, "OOMKilled" if code == 137 else "Error"),
            disruption="EvictionByEvictionAPI" if is_evicted else None,
        )
        if pod and makes_row:
            self.world.target.add(pod.key)

    @rule(pick=PICK)
    def terminate(self, pick: int) -> None:
        """The kubelet ends a pod that is being deleted."""
        ended = termination(143, "Error")
        self.change(pick, _is_terminating, phase="Failed", termination=ended)

    @rule()
    def lose_node(self) -> None:
        self.world.lost_nodes.add("node-2")

    @rule(pick=PICK)
    def taint_manager(self, pick: int) -> None:
        lost = [pod.name for pod in self.world.live() if pod.node in self.world.lost_nodes]
        if lost:
            self.world.delete(lost[pick % len(lost)])

    # --- people ---

    @rule(key=st.sampled_from(KEYS))
    def insert_parent(self, key: str) -> None:
        self.world.key_source.add(key)

    @rule(pick=PICK)
    def delete_pod(self, pick: int) -> None:
        names = sorted(self.world.pods)
        if names:
            self.world.delete(names[pick % len(names)])

    @rule(parallelism=st.integers(0, 4), suspend=st.booleans())
    def edit_queue(self, parallelism: int, suspend: bool) -> None:
        self.edit(parallelism=parallelism, suspend=suspend)

    @rule(is_good=st.booleans())
    def edit_template(self, is_good: bool) -> None:
        self.world.is_template_good, self.operator.is_proved = is_good, False

    @rule(quota=st.integers(0, 4))
    def set_quota(self, quota: int) -> None:
        self.world.quota = quota

    @rule()
    def drop_jobs_table(self) -> None:
        self.disturbed |= self.world.rows.keys()
        self.world.rows.clear()

    @rule(pick=PICK, status=st.sampled_from(["pending", "error"]))
    def restore(self, pick: int, status: str) -> None:
        """A job that somebody works on is again as an old dump had it."""
        held = sorted(key for key, row in self.world.rows.items() if row.status == "reserved")
        if held:
            key = held[pick % len(held)]
            self.disturbed.add(key)
            self.world.rows[key] = Row(status=status, due=self.world.now)

    @rule(key=st.sampled_from(KEYS))
    def reserve_elsewhere(self, key: str) -> None:
        row = self.world.rows.get(key)
        if row and row.status == "pending":
            self.disturbed.add(key)
            row.status, row.host = "reserved", "a-notebook"

    # --- what must hold ---

    @invariant()
    def one_live_pod_per_job(self) -> None:
        if not hasattr(self, "world"):
            return
        live = [pod.key for pod in self.world.live() if pod.name not in self.world.given_up]
        undisturbed = [key for key in live if key not in self.disturbed]
        assert len(undisturbed) == len(set(undisturbed))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        if self.ends_by_deletion:
            self.end_by_deletion()
        else:
            self.end_in_peace()

    def end_in_peace(self) -> None:
        """Nobody interferes and the cluster works: every job comes to its end, and rest follows."""
        world = self.world
        world.is_template_good, world.quota = True, 1000
        world.lost_nodes.clear()
        for row in world.rows.values():
            if row.host == "a-notebook":
                row.status, row.host = "pending", ""
        self.edit(parallelism=2, suspend=False, lostPodTimeoutSeconds=None)
        self.operator.restart()
        for _ in range(120):
            self.settle_down()
            if self.is_at_rest():
                break
        open_keys = {key: row for key, row in world.rows.items() if row.status not in ("error", "ignore")}
        assert not open_keys
        assert world.key_source == world.key_source & (world.target | world.rows.keys())
        assert plan(self.operator.spec, self.operator._observe(), world.now) == []

    def settle_down(self) -> None:
        self.operator.wake()
        for _ in range(6):
            self.schedule(0, "node-1")
            self.start(0)
            self.terminate(0)
        for _ in range(6):
            self.succeed(0, True)
        self.world.now += timedelta(seconds=61)
        self.operator.watch()
        self.operator.wake()

    def is_at_rest(self) -> bool:
        is_open = any(row.status in ("pending", "reserved") for row in self.world.rows.values())
        return (
            not is_open
            and not self.world.live()
            and self.world.key_source <= (self.world.target | self.world.rows.keys())
        )

    def end_by_deletion(self) -> None:
        """The queue is deleted while a node may be lost: it goes, and what it held is pending again."""
        self.operator.is_deleting = True
        self.end_terminating_pods()  # a kubelet that answers is never late by a minute
        for _ in range(10):
            self.operator.wake()
            if self.operator.is_released:
                break
            self.end_terminating_pods()
            self.world.now += timedelta(seconds=40)
            self.operator.watch()
        assert self.operator.is_released
        for key, row in self.world.rows.items():
            pod = self.world.pods.get(row.host)
            is_on_lost_node = pod is not None and pod.node in self.world.lost_nodes
            assert row.status != "reserved" or row.host == "a-notebook" or is_on_lost_node, key
        assert not any(pod.has_finalizer for pod in self.world.pods.values())

    def end_terminating_pods(self) -> None:
        for _ in range(len(self.world.pods)):
            self.terminate(0)
        self.operator.watch()


class LivesWithTimeout(Lives):
    """The same where the user gives up on lost pods."""

    lost_timeout = 300


def _is_waiting(pod: PodView) -> bool:
    return bool(pod.node) and pod.phase == "Pending" and not pod.deleting_since


def _is_running(pod: PodView) -> bool:
    return pod.phase == "Running"


def _is_terminating(pod: PodView) -> bool:
    return bool(pod.deleting_since) and bool(pod.node) and not pod.is_finished


_SETTINGS = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLives = Lives.TestCase
TestLives.settings = _SETTINGS
TestLivesWithTimeout = LivesWithTimeout.TestCase
TestLivesWithTimeout.settings = _SETTINGS
