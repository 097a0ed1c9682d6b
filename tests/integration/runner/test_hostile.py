"""The runner with keys that mean something to SQL or a shell, and with failures of megabytes."""

from __future__ import annotations

import pytest

from tests.integration.runner.image_run import Image

MODULE = """
from pipeline import PerTrial, schema

@schema
class Plain(PerTrial):
    pass

@schema
class Loud(PerTrial):
    def make(self, key):
        raise ValueError("voltage " * 700_000)
"""
TRIALS = [  # of at most 20 characters
    'it\'s "q" `t` %s %% %',
    "0\0 \\' \N{SLEEPING SYMBOL}電 $(X) $$ `i`",
    "a\n' OR '1'='1'; -- ",
]


@pytest.fixture
def hostile(image: Image) -> Image:
    (image.folder / "hostile.py").write_text(MODULE)
    return image


def test_every_key_makes_its_own_row_and_no_other(hostile: Image) -> None:
    for trial in TRIALS:
        hostile.rows("INSERT INTO trial VALUES (%s)", trial)
    try:
        for number, trial in enumerate(TRIALS, start=1):
            outcome = hostile.populate("hostile:Plain", trial=trial)
            assert outcome.status == 0, outcome.log
            made = {value for (value,) in hostile.rows("SELECT trial FROM __plain")}
            assert made == set(TRIALS[:number])
    finally:
        hostile.rows("DELETE FROM __plain")
        for trial in TRIALS:
            hostile.rows("DELETE FROM trial WHERE trial = %s", trial)


def test_a_failure_of_megabytes_is_cut_in_the_message_and_whole_in_the_log(hostile: Image) -> None:
    outcome = hostile.populate("hostile:Loud", trial="alpha")
    assert outcome.status == 1
    assert len(outcome.message.encode()) <= 4096
    assert outcome.report.message.startswith("ValueError: voltage voltage")
    assert outcome.report.stack.startswith("...truncated\n")
    assert len(outcome.log) > 5_000_000
