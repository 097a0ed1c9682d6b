"""What the kubelet leaves of a runner's report in a pod of many containers is still read.

Cases: each share of the pod's 12288 bytes; every place where a report can be cut; escapes and characters of
several bytes there; what only looks like the beginning of a report; a key source that was cut.
"""

from __future__ import annotations

import re

import pytest

from populate_operator.pods import runner
from populate_operator.pods.report import ErrorReport, parse_key_source, parse_termination_message

LETTERS = ["a", "ü", "漢", "😀", "\n", '"', "\\", "\x01", "\udc80"]


def cut(text: str, length: int) -> str:
    """As the kubelet cuts it: by bytes, and Go's JSON has U+FFFD for each byte of half a character."""
    left = text.encode()[:length].decode(errors="surrogateescape")
    return re.sub("[\udc80-\udcff]", "\ufffd", left)


def report_of(text: str) -> ErrorReport:
    report = parse_termination_message(text)
    assert report is not None
    return report


def failure(message: str, cause: str) -> runner.ConfigurationError:
    """As the runner raises it where a class cannot be imported."""
    try:
        raise ImportError(cause)
    except ImportError as error:
        found = runner.ConfigurationError(message)
        found.__cause__ = error
        return found


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("containers", range(1, 9))
def test_a_report_is_read_whatever_share_of_it_the_pod_is_granted(containers: int, letter: str) -> None:
    for shift in range(13):  # so that each part of a character is at the cut
        for error in (
            failure("cannot import lab" + "." * shift, letter * 5000),
            failure("cannot import " + "." * shift + letter * 5000, "no"),
        ):
            text = runner.build_report(error)
            whole, left = report_of(text), report_of(cut(text, 12288 // containers))
            assert whole.message.startswith(left.message.removesuffix(runner.CUT))
            assert whole.stack.startswith(left.stack.removesuffix(runner.CUT))
            assert left.message.startswith("ConfigurationError: cannot import ")
            assert left == whole or len(text.encode()) > 12288 // containers


def test_a_report_is_read_wherever_it_was_cut() -> None:
    message, stack = 'ValueError: "ü漢😀\n\\x\x01', 'Traceback\n\t"é\x02\\'
    text = runner.fit_report(message, stack)
    begins = len('{"error_message": "')
    for length in range(begins):
        assert parse_termination_message(cut(text, length)) is None
    for length in range(begins, len(text.encode())):
        left = report_of(cut(text, length))
        assert message.startswith(left.message.removesuffix(runner.CUT))
        assert stack.startswith(left.stack.removesuffix(runner.CUT))


def test_what_was_cut_says_so() -> None:
    text = runner.fit_report("ValueError: bad voltage", "Traceback")
    assert report_of(text[:30]) == ("ValueError:...truncated", "")
    assert report_of(text[:50]) == ("ValueError: bad voltage", "")
    assert report_of(text[:-5]) == ("ValueError: bad voltage", "Traceb...truncated")
    assert report_of(text[:-1]) == ("ValueError: bad voltage", "Traceback")


@pytest.mark.parametrize(
    "text",
    [
        '{"error_message": "half of it"}',
        '{"error_message": "half of it", "other": "',
        '{"error_message": "a line\nof a log',
        '{"error_message": "no \\escape',
        '{"error_message": "", "error_stack": ""} and more',
        '{"error_message": 1, "error_stack": "',
        'log {"error_message": "',
    ],
)
def test_what_only_looks_like_a_report_is_none(text: str) -> None:
    assert parse_termination_message(text) is None


def test_a_key_source_that_was_cut_is_taken_from_the_log() -> None:
    report = runner.encode(key_source="SELECT `a` FROM `b`")
    assert parse_key_source(report[:20], runner.KEY_SOURCE_MARK + report) == "SELECT `a` FROM `b`"
