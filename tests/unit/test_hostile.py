"""What pods and users may write to harm the operator: it reads all of it, and raises only what it means to.

- termination messages and logs: garbage, nesting, half characters, megabytes
- annotations, labels and owners of pods, of this namespace and of others
- specs of every shape
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.jobs import BadKey
from populate_operator.jobs.key_types import key_type_of
from populate_operator.jobs.keys import KeyAttribute, KeySchema
from populate_operator.jobs.settlements import fit_message
from populate_operator.pods import runner
from populate_operator.pods.names import pod_name
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.parse import view_of
from populate_operator.pods.report import parse_key_source, parse_termination_message
from populate_operator.queue.outcome import Failed, decide_outcome
from populate_operator.queue.resource import InvalidQueueError, parse_spec
from tests.unit.queue.builders import failed_pod, make_pod, make_spec, spec_json

QUEUE = QueueRef("populate.datajoint.io/v1alpha1", "lab", "sorting", "queue-uid")
NESTED = ["[" * 4096, '{"a":' * 1000, "[" * 2000 + "]" * 2000, '{"error_message":' + "[" * 4000]

TESTS = Path(__file__).resolve().parents[1]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("text", NESTED, ids=lambda text: text[:20])
def test_nesting_is_no_report_and_no_key(text: str) -> None:
    assert parse_termination_message(text) is None
    assert parse_key_source(text, f"{runner.KEY_SOURCE_MARK}{text}") is None
    with pytest.raises(BadKey, match="not JSON"):
        keys("int").from_json(text)


@given(st.binary(max_size=200).map(lambda data: data.decode(errors="replace")) | JSON.map(json.dumps))
def test_a_message_of_any_kind_becomes_an_error_that_the_row_can_hold(message: str) -> None:
    outcome = decide_outcome(failed_pod(report=message), make_spec(), in_target=False, attempt=1)
    assert isinstance(outcome, Failed)
    assert len(fit_message(outcome.message)) <= 2047
    fit_message(outcome.message).encode()


def test_a_report_of_half_characters_is_written_nevertheless() -> None:
    message = json.dumps({"error_message": "\ud800 half", "error_stack": "\udfff"})
    outcome = decide_outcome(failed_pod(report=message), make_spec(), in_target=False, attempt=1)
    assert isinstance(outcome, Failed)
    assert fit_message(outcome.message) == "? half"


def test_a_traceback_of_5_mb_fits_into_the_message_with_its_end() -> None:
    report = runner.fit_report("ValueError: " + "m" * 5_000_000, "s\u0000\ud800" * 1_700_000 + "the end")
    assert len(report.encode()) <= runner.MESSAGE_BYTES
    found = parse_termination_message(report)
    assert found
    assert found.message.startswith("ValueError: mmm")
    assert found.stack.endswith("the end")


def keys(column_type: str) -> KeySchema:
    found = key_type_of(column_type, None)
    assert found
    return KeySchema((KeyAttribute("a", found),))


@pytest.mark.parametrize(
    ("column_type", "text"),
    [
        ("double", '{"a": 1' + "0" * 400 + "}"),
        ("double", '{"a": 1e999}'),
        ("double", '{"a": NaN}'),
        ("int", '{"a": 1' + "0" * 5000 + "}"),
        ("varchar(9)", '{"a": "\\ud800"}'),
        ("decimal(5,2)", '{"a": "sNaN"}'),
        ("decimal(5,2)", '{"a": "1e999999999"}'),
        ("date", '{"a": "99999-01-01"}'),
        ("binary(2)", '{"a": "\u0661\u0662"}'),
    ],
)
def test_a_key_annotation_that_was_edited_is_a_bad_key_and_no_crash(column_type: str, text: str) -> None:
    with pytest.raises(BadKey):
        keys(column_type).from_json(text)


@given(JSON)
def test_a_key_of_any_shape_is_read_or_refused(value: Any) -> None:
    for column_type in ("int", "double", "varchar(9)", "decimal(9,2)", "datetime", "time", "varbinary(9)"):
        try:
            keys(column_type).from_json(json.dumps({"a": value}))
        except BadKey:
            continue


@pytest.mark.parametrize(
    ("attempt", "read"), [("", 1), ("-7", 1), ("many", 1), ("9" * 30, 2**31 - 1), ("9" * 9999, 1), ("3", 3)]
)
def test_an_attempt_is_always_a_number_that_a_row_can_hold(attempt: str, read: int) -> None:
    annotations = {"populate.datajoint.io/attempt": attempt}
    assert view_of({"metadata": {"annotations": annotations}}).attempt == read


def test_a_pod_belongs_to_a_queue_by_what_nobody_can_edit() -> None:
    own = pod_name("sorting", b"12345678")
    assert QUEUE.may_own(make_pod(own))
    assert not QUEUE.may_own(make_pod(own, namespace="elsewhere"))
    for other in ("sorting", "victim", f"x{own}", f"{own}x", pod_name("sorting-2", b"12345678"), f"{own}\n"):
        assert not QUEUE.may_own(make_pod(other))


def test_a_pod_that_was_relabelled_is_known_as_such() -> None:
    labelled = {"metadata": {"labels": QUEUE.labels()}}
    assert view_of(labelled).is_labelled
    for name in ("app.kubernetes.io/managed-by", "populate.datajoint.io/queue-uid"):
        labels = {key: value for key, value in QUEUE.labels().items() if key != name}
        assert not view_of({"metadata": {"labels": labels}}).is_labelled


@given(st.dictionaries(st.sampled_from([*spec_json(), "retry", "refresh", "keySource", "runner", "x"]), JSON))
def test_a_spec_of_any_shape_is_read_or_refused(fields: dict[str, Any]) -> None:
    for spec in (fields, spec_json(**fields)):
        try:
            parse_spec(spec)
        except InvalidQueueError:
            continue


@given(JSON)
def test_a_spec_that_is_none_is_refused(spec: Any) -> None:
    with pytest.raises(InvalidQueueError):
        parse_spec(spec)


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py|…)(?:::(\w+))?`", (TESTS.parent / "SECURITY.md").read_text())
    assert len(named) > 12
    sources = {
        str(path.relative_to(TESTS)).replace("integration/jobs/", "jobs/"): path.read_text()
        for path in TESTS.rglob("test_*.py")
    }
    everything = "".join(sources.values())
    for file, name in named:
        text = everything if file == "…" else sources[file]
        assert f"def {name}(" in text if name else text, f"{file}::{name}"
