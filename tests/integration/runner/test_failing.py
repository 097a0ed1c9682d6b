"""How the runner fails, as a process of its own on real servers.

- a failing make leaves no row, status 1, and reports `Class: message` with the end of the traceback
- SIGTERM rolls back, in Python and in the midst of a query, and is told from a failure
- what is wrong with the class, the environment, the key or the database is said in one line, by status
"""

from __future__ import annotations

import signal
import socket

import pytest

from tests.integration.runner.image_run import Image

ALPHA = '{"trial": "alpha"}'
# class, further environment, beginning of the message
REFUSALS: dict[str, tuple[str, dict[str, str], str]] = {
    "no module": ("absent:X", {}, "cannot import absent: ModuleNotFoundError: No module named 'absent'"),
    "broken module": ("broken:X", {}, "cannot import broken: SyntaxError: "),
    "module exits": ("leaver:X", {}, "cannot import leaver: SystemExit: 0"),
    "no class": (
        "pipeline:Spikez",
        {},
        "pipeline:Spikez is not defined; auto-populated there: Choosy, Deep, ",
    ),
    "manual table": ("pipeline:Trial", {}, "pipeline:Trial is not a dj.Computed or dj.Imported table; "),
    "no class at all": ("pipeline:schema", {}, "pipeline:schema is not a dj.Computed or dj.Imported table; "),
    "no schema": ("pipeline:Homeless", {}, "pipeline:Homeless belongs to no schema; decorate it"),
    "no colon": ("pipeline.Pooling", {}, "POPULATE_CLASS is 'pipeline.Pooling'; it must have the form"),
    "other table": (
        "pipeline:Pooling",
        {"POPULATE_TABLE": "Failing"},
        "pipeline:Pooling is `{schema}`.`__pooling`, but the queue is for `{schema}`.`Failing`; correct",
    ),
    "no JSON": (
        "pipeline:Pooling",
        {"POPULATE_KEY": "alpha"},
        "POPULATE_KEY is 'alpha'; it must be a JSON object",
    ),
    "no object": ("pipeline:Pooling", {"POPULATE_KEY": "5"}, "POPULATE_KEY is '5'; it must be a JSON object"),
}
# class, key, message
NO_KEYS: dict[str, tuple[str, str, str]] = {
    "empty": ("Pooling", "{}", "the job's key has no attributes, but the key source of {table} has trial; "),
    "other": (
        "Pooling",
        '{"trail": "alpha"}',
        "the job's key has trail, but the key source of {table} has trial; ",
    ),
    "bad value": ("Spikes", '{"day": "today"}', "day='today' is not a date: "),
}


def test_a_failure_is_reported_and_rolled_back(image: Image) -> None:
    outcome = image.populate("pipeline:Failing", trial="alpha")
    assert outcome.status == 1
    assert outcome.report.message == "ValueError: bad voltage in alpha: 3 µV, 電圧"
    assert outcome.report.stack.startswith("Traceback (most recent call last):\n")
    assert outcome.report.stack.endswith("\nValueError: bad voltage in alpha: 3 µV, 電圧\n")
    assert "runner.py" not in outcome.report.stack
    assert image.rows("SELECT * FROM __failing") == []


def test_a_long_traceback_keeps_its_end(image: Image) -> None:
    outcome = image.populate("pipeline:Deep", trial="alpha")
    assert outcome.status == 1
    assert len(outcome.message.encode()) <= 4096
    assert outcome.report.stack.startswith("...truncated\n")
    assert outcome.report.stack.endswith("ZeroDivisionError: division by zero\n")
    assert len(outcome.log.encode()) > 2 * 4096
    assert "Traceback (most recent call last):\n" in outcome.log


def test_leaving_make_is_a_failure(image: Image) -> None:
    outcome = image.populate("pipeline:Leaving", trial="alpha")
    assert (outcome.status, outcome.report.message) == (1, "SystemExit: 0")


@pytest.mark.parametrize("name", ["Waiting", "Querying"])
def test_sigterm_rolls_back(image: Image, name: str) -> None:
    with image.database.connect(autocommit=False) as other, other.cursor() as cursor:
        cursor.execute("SELECT * FROM trial WHERE trial = 'gem' FOR UPDATE")  # what Querying waits for
        process = image.start(f"pipeline:{name}", POPULATE_KEY=ALPHA)
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "started\n":
            assert line, "the runner ended before make started"
        process.send_signal(signal.SIGTERM)
        outcome = image.end(process)
    assert outcome.status == 143, outcome.log
    assert outcome.report.message.startswith("Terminated: the pod was told to stop (SIGTERM)")
    assert image.rows(f"SELECT * FROM __{name.lower()}") == []


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("kind", ["mysql"], indirect=True, scope="session")  # the server plays no part
def test_what_cannot_be_tried_is_said_in_a_line(image: Image, case: str) -> None:
    path, variables, beginning = REFUSALS[case]
    outcome = image.run(path, **{"POPULATE_KEY": ALPHA} | variables)
    assert outcome.status == 78, outcome.log
    expected = "ConfigurationError: " + beginning.replace("{schema}", image.database.name)
    assert outcome.report.message.startswith(expected)
    assert "\n" not in outcome.report.message


@pytest.mark.parametrize("case", NO_KEYS)
def test_what_is_no_key_is_its_own_failure(image: Image, case: str) -> None:
    name, key, beginning = NO_KEYS[case]
    outcome = image.run(f"pipeline:{name}", POPULATE_KEY=key)
    assert outcome.status == 1, outcome.log
    table = f"`{image.database.name}`.`__{name.lower()}`"
    assert outcome.report.message.startswith(f"InvalidKeyError: {beginning.replace('{table}', table)}")
    assert image.rows(f"SELECT * FROM __{name.lower()}") == []


def test_a_missing_variable_is_named(image: Image) -> None:
    outcome = image.run("pipeline:Pooling")
    assert outcome.status == 78
    expected = "ConfigurationError: POPULATE_KEY is not set; the operator sets it in every pod"
    assert outcome.report == (expected, "")


def test_a_refused_account(image: Image) -> None:
    outcome = image.run("pipeline:Pooling", DJ_PASS="wrong", POPULATE_KEY=ALPHA)
    server = image.database.server
    assert outcome.status == 69, outcome.log
    expected = f"DatabaseError: {server.host}:{server.port} cannot be used: "
    assert outcome.report.message.startswith(expected)
    assert "Access denied" in outcome.report.message


def test_no_database(image: Image) -> None:
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        outcome = image.run("pipeline:Pooling", DJ_PORT=port, POPULATE_KEY=ALPHA)
    assert outcome.status == 69, outcome.log
    expected = f"DatabaseError: {image.database.server.host}:{port} cannot be used: OperationalError: "
    assert outcome.report.message.startswith(expected)
