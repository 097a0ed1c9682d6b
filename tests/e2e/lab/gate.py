"""Pods that wait for the test: each notes that it runs, and goes on once the gate is open for its key."""

from __future__ import annotations

from typing import Any

from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.tables import make_tables
from tests.e2e.lab.workplace import Workplace

Json = dict[str, Any]

_BEGIN = """
import json, os, sys, time, pymysql
session = json.loads(os.environ["POPULATE_KEY"])["session"]
connection = pymysql.connect(
    host=os.environ["DJ_HOST"], port=int(os.environ["DJ_PORT"]), user=os.environ["DJ_USER"],
    password=os.environ["DJ_PASS"], database=os.environ["POPULATE_SCHEMA"], autocommit=True)
cursor = connection.cursor()
cursor.execute("INSERT INTO runs (session, pod) VALUES (%s, %s)", (session, os.environ["POPULATE_POD"]))
print("session", session, flush=True)
"""
_WAIT = """
while not cursor.execute("SELECT 1 FROM gate WHERE session IN (0, %s)", (session,)):
    time.sleep(0.2)
"""
INSERT = """
cursor.execute(f"INSERT INTO {os.environ['POPULATE_TABLE']} (session) VALUES (%s)", (session,))
"""
AT_ONCE = _BEGIN + INSERT
AT_THE_GATE = _BEGIN + _WAIT + INSERT
FOR_EVER = _BEGIN + "time.sleep(3600)\n"


def make_gated_tables(place: Workplace, *, keys: int) -> None:
    """`session` with the keys 1..keys, `__spikes`, and what the programs of this module use."""
    make_gate(place)  # first: a queue may wait for the other tables
    make_tables(place, keys=keys)


def make_gate(place: Workplace) -> None:
    """A closed gate, and the list of runs in their order."""
    place.sql("CREATE TABLE gate (session int PRIMARY KEY)")
    place.sql("CREATE TABLE runs (n int AUTO_INCREMENT PRIMARY KEY, session int, pod varchar(255))")


def open_gate(place: Workplace, *sessions: int) -> None:
    """Let the pods of `sessions` go on; of all sessions where none is named."""
    for session in sessions or (0,):
        place.sql("INSERT INTO gate VALUES (%s)", session)


def runs(place: Workplace) -> list[int]:
    """The keys that pods began to work on, in that order."""
    return [session for (session,) in place.sql("SELECT session FROM runs ORDER BY n")]


def known_to_run(queue: Queue, number: int) -> list[Json]:
    """The queue's running pods, once there are so many: the kubelet tells later than their programs do."""
    eventually(f"{number} known to run", lambda: len(queue.running()) == number, queue=queue)
    return queue.running()


def populated(place: Workplace, table: str = "__spikes") -> list[int]:
    """The keys in the target."""
    return [session for (session,) in place.sql(f"SELECT session FROM {table} ORDER BY session")]


def jobs(place: Workplace, table: str = "~~spikes") -> dict[int, str]:
    """The status of each job by its key; none where the queue is not declared yet."""
    if not place.sql("SHOW TABLES LIKE %s", table):
        return {}
    return dict(place.sql(f"SELECT session, status FROM `{table}` ORDER BY session"))


def is_at_rest(place: Workplace, queue: Queue, table: str = "~~spikes") -> bool:
    """Whether the queue says so, no reservation is left and no pod is held by a finalizer."""
    return (
        queue.condition("Ready").get("reason") == "UpToDate"
        and "reserved" not in jobs(place, table).values()
        and not queue.pods_with_finalizer()
    )
