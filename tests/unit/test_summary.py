"""The table that ends every test run: one line per tier that ran, with every kind of outcome counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.cache import REPOSITORY

UNIT = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no set-up")

def test_passes(): pass
def test_passes_too(): pass
def test_fails(): assert False
def test_without_set_up(broken): pass
def test_is_skipped(): pytest.skip("on purpose")
"""


def test_each_tier_has_its_own_line(tmp_path: Path) -> None:
    for tier, source in (("unit", UNIT), ("e2e", "def test_passes(): pass\n")):
        (tmp_path / "tests" / tier).mkdir(parents=True)
        (tmp_path / "tests" / tier / "test_it.py").write_text(source)
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path / "tests")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--import-mode=importlib", f"--rootdir={tmp_path}", "tests"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    words = [line.split() for line in done.stdout.splitlines()]
    table = words[words.index(["tier", "passed", "failed", "error", "skipped", "seconds"]) + 1 :][:2]
    assert [row[:5] for row in table] == [["unit", "2", "1", "1", "1"], ["e2e", "1", "0", "0", "0"]]
    assert all(float(row[5]) >= 0 for row in table)
