"""What the runner populates, as a process of its own on real servers.

- its key and no other, for every key type that DataJoint can populate, and keys with odd text
- by a simple and a tripartite make, with a process pool inside make, by a class inside another
- nothing where the key is there already, or not in the key source
- the key source of a class is reported, short or long, and fills a queue
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from populate_operator.jobs import Database, JobTable
from populate_operator.pods.report import parse_key_source
from tests.integration.runner.image_run import Image

KEY: dict[str, Any] = {
    "animal": "0b8fd1c4-6f0b-4b7e-9a76-3f7f2f1f0d11",
    "day": "2024-02-29",
    "started": "2024-02-29T12:30:00.125000",
    "depth": "1234.500",
    "probe": 'it\'s 100% \\ süß "A"',
    "side": "left",
    "run": 3,
}
# One attribute changed: near enough to be taken for KEY by a restriction that is off.
NEIGHBOURS: list[dict[str, Any]] = [
    {"animal": "0b8fd1c4-6f0b-4b7e-9a76-3f7f2f1f0d12"},
    {"day": "2024-03-01"},
    {"started": "2024-02-29T12:30:00.126000"},
    {"depth": "1234.501"},
    {"probe": 'it\'s 100 \\ süß "A"'},
    {"side": "right"},
    {"run": 4},
]


def job_table(image: Image, name: str, key_source: str | None = None) -> JobTable:
    server = image.database.server
    account = Database(host=server.host, port=server.port, user=server.user, password=server.password)
    return JobTable(account, schema=image.database.name, table=name, key_source=key_source)


def test_its_key_and_no_other(image: Image) -> None:
    for changed in [{}, *NEIGHBOURS]:
        recording = KEY | changed
        values = recording | {"animal": UUID(recording["animal"]).bytes, "volts": 1.25}
        image.rows("INSERT INTO recording VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", *values.values())
    table = job_table(image, "Spikes")
    assert table.refresh()["added"] == 1 + len(NEIGHBOURS)
    [job] = [job for job in table.pending if json.loads(job.key.json) == KEY]

    outcome = image.run("pipeline:Spikes", POPULATE_KEY=job.key.json)

    assert outcome.status == 0, outcome.log
    assert image.rows("SELECT double_volts FROM __spikes") == [(2.5,)]
    assert table.in_target([job.key]) == {job.key}


def test_a_tripartite_make(image: Image) -> None:
    assert image.populate("pipeline:Tripartite", trial="alpha").status == 0
    assert image.rows("SELECT trial, result FROM __tripartite") == [("alpha", "0.2")]
    failed = image.populate("pipeline:Tripartite", trial="zero")
    assert (failed.status, failed.report.message) == (1, "ZeroDivisionError: division by zero")
    assert image.rows("SELECT trial FROM __tripartite") == [("alpha",)]


def test_a_process_pool_inside_make(image: Image) -> None:
    outcome = image.populate("pipeline:Pooling", trial="alpha")
    assert outcome.status == 0, outcome.log
    assert image.rows("SELECT result FROM __pooling") == [("6",)]
    assert "Terminated" not in outcome.log


def test_a_class_inside_another(image: Image) -> None:
    variables = {"POPULATE_TABLE": "__pooling", "POPULATE_KEY": '{"trial": "alpha"}'}
    outcome = image.run("pipeline:Rig.Inner", **variables)
    assert outcome.status == 0, outcome.log
    assert image.rows("SELECT trial FROM __pooling") == [("alpha",)]


@pytest.mark.parametrize("trial", ["nowhere", "gem"])
def test_nothing_outside_of_the_key_source(image: Image, trial: str) -> None:
    outcome = image.populate("pipeline:Choosy", trial=trial)  # gem has no a
    assert (outcome.status, outcome.message) == (0, "")
    assert "nothing to make" in outcome.log
    assert image.rows("SELECT * FROM __choosy") == []


def test_nothing_that_is_there_already(image: Image) -> None:
    first, second = (image.populate("pipeline:Choosy", trial="alpha") for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    assert ": made" in first.log
    assert "nothing to make" in second.log


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Choosy", ["alpha"]), ("Wordy", ["alpha"]), ("Pooling", ["alpha", "gem", "zero"])],
)
def test_the_key_source_fills_a_queue(image: Image, name: str, expected: list[str]) -> None:
    outcome = image.run(f"pipeline:{name}", "key-source")
    assert outcome.status == 0, outcome.log
    assert (outcome.message == '{"key_source": null}') == (name == "Wordy")
    query = parse_key_source(outcome.message, outcome.log)
    table = job_table(image, name, key_source=query)
    table.refresh()
    assert sorted(str(job.key["trial"]) for job in table.pending) == expected
