"""The benchmarks of the queue run, and `--json` prints one object of the shape that they all have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from dev.cache import REPOSITORY
from dev.databases import Server


def run(benchmark: str, server: Server, *options: str) -> dict[str, Any]:
    """The benchmark's object, and nothing else on its standard output."""
    url = {f"POPULATE_TEST_{server.kind.upper()}_URL": server.url}
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{benchmark}", "--server", server.kind, "--json", *options],
        cwd=REPOSITORY,
        env=os.environ | url | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("benchmark", "options", "unit"),
    [
        ("refresh", ["--rows", "300", "--idle-rows", "500", "--rounds", "1"], "keys/s"),
        ("reserve", ["--rows", "120", "--batch", "50", "--rounds", "1"], "jobs/s"),
    ],
)
def test_a_benchmark_prints_one_object(server: Server, benchmark: str, options: list[str], unit: str) -> None:
    found = run(benchmark, server, *options)

    assert (found["benchmark"], found["unit"]) == (benchmark, unit)
    for contestant in ("ours", "peer", "limit", "ratio_to_peer", "fraction_of_limit"):
        assert found[contestant] > 0, contestant
    assert found["setup"]["server"]["version"] == server.version
    assert found["setup"]["cpus"] == os.cpu_count()
    assert {"datajoint", "pymysql", "populate-operator"} <= found["setup"]["packages"].keys()


def test_a_refresh_is_also_measured_idle_and_by_its_memory(server: Server) -> None:
    found = run("refresh", server, "--rows", "100", "--idle-rows", "700", "--rounds", "1")

    assert found["idle"].keys() == {"unit", "ours", "limit", "ratio_to_limit", "rows"}
    assert found["memory"]["unit"] == "MB"
    assert found["idle"]["rows"] == found["memory"]["rows"] == 700
