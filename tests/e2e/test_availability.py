"""Two replicas, and what becomes of the jobs when the leader is lost: killed, frozen, or cut off.

- killed: its container or its standby goes on
- frozen beyond its lease, or cut off from the API server: the standby takes over after the lease's time, and
  the deposed replica, alive again, changes nothing more: by the API server's audit log, by the database's log
- frozen and removed with its pod: the standby takes over, and both are ready again
- cut off from the database alone: the queue says so, no pod is stopped, and it goes on once it is healed
- after all of that each job ran once

Each time jobs have just ended, so that the leader is lost while it has outcomes to settle.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from dev.cluster import Cluster
from tests.e2e.lab.audit import Audit
from tests.e2e.lab.database import ClusterDatabase
from tests.e2e.lab.gate import AT_THE_GATE, is_at_rest, jobs, make_gated_tables, open_gate, populated, runs
from tests.e2e.lab.operator import Operator, installed
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.replicas import Replica, leader_of, lease_of, restarts_of
from tests.e2e.lab.workplace import Workplace, opened

KEYS = 12
LEASE = timedelta(seconds=15)
SETTINGS = ("replicas=2", "livenessProbe.failureThreshold=60")  # the kubelet must not end a frozen one first
QUIET_SECONDS = 0.5


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Iterator[str]:
    name = f"ha-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def pair(cluster: Cluster, served: str) -> Iterator[Operator]:
    """Two replicas, both ready."""
    with installed(cluster, (served,), *SETTINGS) as operator:
        yield operator


@pytest.fixture(scope="module")
def logged(cluster_database: ClusterDatabase) -> Iterator[ClusterDatabase]:
    """The database, which keeps a log of all statements meanwhile."""
    cluster_database.execute("SET GLOBAL log_output = 'TABLE'")
    cluster_database.execute("SET GLOBAL general_log = ON")
    yield cluster_database
    cluster_database.execute("SET GLOBAL general_log = OFF")
    cluster_database.execute("SET GLOBAL log_output = DEFAULT")
    cluster_database.execute("TRUNCATE mysql.general_log")


@pytest.fixture(scope="module")
def scene(cluster: Cluster, logged: ClusterDatabase, pair: Operator, served: str) -> Iterator[Scene]:
    with opened(cluster, logged, served) as place:
        make_gated_tables(place, keys=KEYS)
        spec = place.spec("__spikes", place.template(AT_THE_GATE), parallelism=2)
        scene = Scene(pair, place, place.queue().apply(spec))
        scene.see_work()
        yield scene


@dataclass(frozen=True)
class Scene:
    """A queue whose pods wait at the gate, and the two replicas that care for it."""

    operator: Operator
    place: Workplace
    queue: Queue

    def at_work(self) -> set[int]:
        """The jobs whose pods wait at the gate."""
        let_through = {session for (session,) in self.place.sql("SELECT session FROM gate")}
        return set(runs(self.place)) - let_through

    def see_work(self) -> None:
        """Two jobs are at work, and what was done is settled."""
        eventually("two are at work", lambda: len(self.at_work()) == 2, queue=self.queue)
        eventually(
            "the others are settled",
            lambda: not set(populated(self.place)) & set(jobs(self.place)),
            queue=self.queue,
        )

    def finish_jobs(self) -> Replica:
        """Let the pods at the gate end, and return the leader, which is about to settle them."""
        leader, begun = leader_of(self.operator), self.at_work()
        open_gate(self.place, *begun)
        return leader

    def freeze(self, replica: Replica) -> None:
        """Stop its process, and not in the middle of a batch: that one goes on where it was stopped.

        It changes nothing then, for its statements are fenced, but the server's log has them.
        """

        def is_frozen_at_rest() -> bool:
            replica.send(signal.SIGSTOP)
            is_at_rest = not self._has_just_asked(replica.address)
            if not is_at_rest:
                replica.send(signal.SIGCONT)
            return is_at_rest

        eventually("frozen at rest", is_frozen_at_rest, queue=self.queue)

    def see_takeover(self, deposed: Replica) -> datetime:
        """Another replica leads; since when."""
        renewed = [datetime.fromisoformat(lease_of(self.operator)["renewTime"])]

        def is_other() -> bool:
            lease = lease_of(self.operator)
            if lease.get("holderIdentity") == deposed.name:
                renewed.append(datetime.fromisoformat(lease["renewTime"]))
            return lease.get("holderIdentity") not in ("", None, deposed.name)

        eventually("another one leads", is_other, queue=self.queue)
        acquired = datetime.fromisoformat(lease_of(self.operator)["acquireTime"])
        assert acquired - renewed[-1] >= LEASE  # by then the deposed one has stopped by itself
        return acquired

    def check_silence(self, deposed: Replica, since: datetime) -> None:
        """It had written to both servers, and wrote nothing more since then."""
        account = Audit(self.operator.cluster, self.operator.namespace, self.operator.release)
        asked = account.writes(deposed.name)
        written = self._statements(deposed.address)
        assert [what for when, what in asked if when > since] == []
        assert [what for when, what in written if when > since] == []
        assert asked
        assert written

    def _has_just_asked(self, address: str) -> bool:
        """Whether it has sent the database anything in the last moment."""
        found = self.place.sql(
            "SELECT 1 FROM mysql.general_log WHERE command_type = 'Query' AND user_host LIKE %s "
            "AND event_time > NOW(6) - INTERVAL %s SECOND LIMIT 1",
            f"%[{address}]%",
            QUIET_SECONDS,
        )
        return bool(found)

    def _statements(self, address: str) -> list[tuple[datetime, str]]:
        found = self.place.sql(
            "SELECT UNIX_TIMESTAMP(event_time), CONVERT(argument USING utf8mb4) FROM mysql.general_log "
            "WHERE command_type = 'Query' AND user_host LIKE %s "
            "AND CONVERT(argument USING utf8mb4) REGEXP '^ *(INSERT|UPDATE|DELETE)'",
            f"%[{address}]%",
        )
        return [(datetime.fromtimestamp(float(when), UTC), what) for when, what in found]


def service_address(cluster: Cluster, name: str, namespace: str) -> str:
    return cluster.kubectl("get", "service", name, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")


def test_killed_leader(scene: Scene) -> None:
    leader = scene.finish_jobs()
    restarts = restarts_of(scene.operator, leader.name)
    leader.send(signal.SIGKILL)
    eventually("started again", lambda: restarts_of(scene.operator, leader.name) > restarts)
    scene.see_work()


def test_frozen_leader(scene: Scene) -> None:
    leader = scene.finish_jobs()
    restarts = restarts_of(scene.operator, leader.name)
    scene.freeze(leader)
    since = scene.see_takeover(leader)
    scene.see_work()
    leader.send(signal.SIGCONT)
    eventually("it ended", lambda: restarts_of(scene.operator, leader.name) > restarts)
    scene.check_silence(leader, since)
    last_words = scene.operator.cluster.kubectl(
        "logs", leader.name, "-n", scene.operator.namespace, "--previous", "--tail=20"
    )
    assert "could not renew the lease" in last_words
    assert "Traceback" not in last_words


def test_leader_cut_off_from_the_api_server(scene: Scene) -> None:
    cluster, leader = scene.operator.cluster, scene.finish_jobs()
    restarts = restarts_of(scene.operator, leader.name)
    with leader.cut_off(service_address(cluster, "kubernetes", "default")):
        since = scene.see_takeover(leader)
        scene.see_work()
        eventually("it ended", lambda: restarts_of(scene.operator, leader.name) > restarts)
        scene.check_silence(leader, since)  # before what was on its way can arrive


def test_leader_that_is_gone_with_its_pod(scene: Scene) -> None:
    cluster, leader = scene.operator.cluster, scene.finish_jobs()
    scene.freeze(leader)  # or it would give its lease back
    force = ("--force", "--grace-period=0", "--wait=false")
    cluster.kubectl("delete", "pod", leader.name, "-n", scene.operator.namespace, *force)
    since = scene.see_takeover(leader)
    scene.see_work()
    scene.check_silence(leader, since)
    rollout = ("rollout", "status", f"deployment/{scene.operator.release}", "--timeout=120s")
    cluster.kubectl(*rollout, "-n", scene.operator.namespace)


def test_leader_cut_off_from_the_database(scene: Scene) -> None:
    database, leader = scene.place.database, scene.finish_jobs()
    with leader.cut_off(service_address(scene.operator.cluster, "mysql", database.namespace)):
        eventually(
            "the queue says so",
            lambda: scene.queue.condition("DatabaseReachable").get("status") == "False",
            queue=scene.queue,
        )
        assert leader_of(scene.operator) == leader
    scene.see_work()
    open_gate(scene.place)
    eventually("at rest", lambda: is_at_rest(scene.place, scene.queue), queue=scene.queue)
    assert populated(scene.place) == list(range(1, KEYS + 1))
    assert sorted(runs(scene.place)) == list(range(1, KEYS + 1))
