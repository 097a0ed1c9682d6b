"""The operator is killed by SIGKILL at every named point and started again: nothing is lost or run twice.

One queue for each point, in a namespace of its own with an operator process of its own, some side by side.
At the end every key has one row in the target or its true error; no reservation, no finalizer and no pod
beyond retention is left; each job was run once, but for the one whose pod was made to vanish.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from dev.cluster import Cluster
from populate_operator.queue.points import Point
from tests.e2e.lab.database import ClusterDatabase
from tests.e2e.lab.gate import (
    AT_ONCE,
    AT_THE_GATE,
    jobs,
    known_to_run,
    make_gated_tables,
    open_gate,
    populated,
    runs,
)
from tests.e2e.lab.host_operator import HostOperator
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.releases import THIS
from tests.e2e.lab.workplace import Workplace, opened

KEYS = 5
FAILS = 5  # this key's pod ends with exit code 3
FATES = f"if session == {FAILS}: sys.exit(3)\n"
AT_ONCE_OR_FAIL = AT_ONCE.replace("cursor.execute(f", FATES + "cursor.execute(f")
AT_THE_GATE_OR_FAIL = AT_THE_GATE.replace("cursor.execute(f", FATES + "cursor.execute(f")
SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Case:
    """One queue and its operator."""

    place: Workplace
    operator: HostOperator
    queue: Queue

    def apply(self, code: str) -> None:
        retention = {"succeeded": 1, "failed": 0}
        template = self.place.template(code)
        spec = self.place.spec("__spikes", template, parallelism=3, podRetention=retention)
        self.queue.apply(spec | {"refresh": {"intervalSeconds": 1}})

    def begin(self, point: Point, times: int, code: str) -> None:
        """Start an operator that will die, and give it work."""
        self.operator.start_dying_at(point, times)
        self.apply(code)

    def go_on(self) -> None:
        """It has died there; start one that will not."""
        assert self.operator.died()
        self.operator.start()


Scenario = Callable[[Case, Point, int], Counter[int]]
ONCE = Counter(range(1, KEYS + 1))


def run(case: Case, point: Point, times: int) -> Counter[int]:
    """Jobs run and end; how often each must have run."""
    case.begin(point, times, AT_ONCE_OR_FAIL)
    case.go_on()
    return ONCE


def drop_the_jobs_table(case: Case, point: Point, times: int) -> Counter[int]:
    """Pods work while their reservations vanish with the table: they take them back."""
    case.begin(point, times, AT_THE_GATE_OR_FAIL)
    eventually("three pods work", lambda: len(runs(case.place)) == 3, queue=case.queue)
    case.place.sql("DROP TABLE `~~spikes`")
    case.go_on()
    open_gate(case.place)
    return ONCE


def lose_a_pod(case: Case, point: Point, times: int) -> Counter[int]:
    """One pod goes without a trace of its end: its job runs again, that one only."""
    case.begin(point, times, AT_THE_GATE_OR_FAIL)
    eventually("three pods work", lambda: len(runs(case.place)) == 3, queue=case.queue)
    pod = known_to_run(case.queue, 3)[0]
    ((session,),) = case.place.sql("SELECT session FROM runs WHERE pod = %s", pod["metadata"]["name"])
    name = pod["metadata"]["name"]
    case.queue.kubectl("patch", "pod", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')
    case.queue.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    connections = "SELECT 1 FROM information_schema.processlist WHERE host LIKE %s"
    of_pod = f"{pod['status']['podIP']}:%"
    eventually("its process is gone", lambda: not case.place.sql(connections, of_pod))
    case.go_on()
    open_gate(case.place)
    return ONCE + Counter([session])


def delete_the_queue(case: Case, point: Point, times: int) -> Counter[int]:
    """The queue is deleted while its pods work: all goes, and the jobs are there for another queue."""
    case.begin(point, times, AT_THE_GATE_OR_FAIL)
    eventually("three pods work", lambda: len(runs(case.place)) == 3, queue=case.queue)
    first = Counter(runs(case.place))
    case.queue.delete(wait=False)
    case.go_on()
    eventually("the queue is gone", lambda: not case.queue.exists(), queue=case.queue)
    assert not case.queue.pods_with_finalizer()
    assert set(jobs(case.place).values()) == {"pending"}
    eventually("its pods are gone", lambda: case.queue.pods() == [])  # the kubelet is last to let go
    open_gate(case.place)
    case.apply(AT_ONCE_OR_FAIL)
    return ONCE + first


CASES: dict[Point, tuple[Scenario, int]] = {
    Point.QUEUE_HELD: (run, 1),
    Point.REFRESHED: (run, 1),
    Point.RESERVE: (run, 2),
    Point.RESERVED: (run, 1),
    Point.CREATE: (run, 1),
    Point.CREATED: (run, 2),
    Point.SETTLE: (run, 1),
    Point.SETTLED: (run, 1),
    Point.RELEASE: (run, 1),
    Point.RELEASED: (run, 1),
    Point.DELETED: (run, 1),
    Point.GONE: (lose_a_pod, 1),
    Point.TAKEN_BACK: (drop_the_jobs_table, 2),
    Point.QUEUE_RELEASE: (delete_the_queue, 1),
    Point.QUEUE_RELEASED: (delete_the_queue, 1),
}


@pytest.fixture(scope="module")
def verdicts(
    cluster: Cluster,
    cluster_database: ClusterDatabase,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> dict[Point, str]:
    """What was wrong after each crash that was asked for; "" where nothing was."""
    asked = [str(item.name) for item in request.session.items]
    points = [point for point in CASES if any(name.endswith(f"[{point.name}]") for name in asked)]
    THIS.apply_crd(cluster)
    folder = tmp_path_factory.mktemp("operators")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        judge = partial(verdict, cluster, cluster_database.seen_from_here(), folder)
        return dict(zip(points, pool.map(judge, points), strict=True))


def verdict(cluster: Cluster, database: ClusterDatabase, folder: Path, point: Point) -> str:
    log = folder / f"{point.name}.log"
    try:
        with standing(cluster, database, log) as case:
            scenario, times = CASES[point]
            expected = scenario(case, point, times)
            eventually("at rest", lambda: is_over(case), queue=case.queue)
            return complaint(case, expected)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n{log.read_text()[-4000:]}"


@contextmanager
def standing(cluster: Cluster, database: ClusterDatabase, log: Path) -> Iterator[Case]:
    """Everything that a case needs, without its queue; all of it goes with the case."""
    namespace = f"e2e-crash-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    operator = HostOperator(cluster, namespace, log)
    try:
        with opened(cluster, database, namespace) as place:
            make_gated_tables(place, keys=KEYS)
            yield Case(place, operator, place.queue())
    finally:
        operator.kill()
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def is_over(case: Case) -> bool:
    return (
        case.queue.condition("Ready").get("reason") == "UpToDate"
        and jobs(case.place) == {FAILS: "error"}
        and len(case.queue.pods()) <= 1
        and not case.queue.pods_with_finalizer()
    )


def complaint(case: Case, expected: Counter[int]) -> str:
    if populated(case.place) != [key for key in range(1, KEYS + 1) if key != FAILS]:
        return f"populated are {populated(case.place)}"
    if Counter(runs(case.place)) != expected:
        return f"ran {Counter(runs(case.place))}, expected {expected}"
    message = case.place.job("Spikes", session=FAILS).error_message
    return "" if "exit code 3" in message else f"the error is {message!r}"


def test_every_point_has_a_case() -> None:
    assert set(CASES) == set(Point)


@pytest.mark.parametrize("point", CASES, ids=lambda point: point.name)
def test_a_crash_loses_nothing(verdicts: dict[Point, str], point: Point) -> None:
    if verdicts[point]:
        pytest.fail(verdicts[point])
