"""The walking path: keys become pods, pods become rows, and kubectl shows it."""

from __future__ import annotations

from tests.e2e.lab.queues import eventually
from tests.e2e.lab.tables import INSERT_ROW, make_tables
from tests.e2e.lab.workplace import Workplace


def test_every_key_becomes_a_row_by_one_pod_each(workplace: Workplace) -> None:
    make_tables(workplace, keys=5)
    queue = workplace.queue()
    queue.apply(workplace.spec("Spikes", workplace.template(INSERT_ROW), parallelism=2))
    eventually("five rows", lambda: workplace.sql("SELECT COUNT(*) FROM __spikes") == [(5,)], queue=queue)
    eventually("ready", lambda: queue.condition("Ready").get("reason") == "UpToDate", queue=queue)
    assert queue.status()["target"] == {"total": 5, "populated": 5, "percent": 100, "done": "5/5"}
    assert workplace.sql("SELECT COUNT(*) FROM `~~spikes`") == [(0,)]
    assert "5/5" in queue.kubectl("get", "pq", queue.name)
    queue.kubectl("wait", "--for=condition=Ready", f"pq/{queue.name}", "--timeout=60s")
