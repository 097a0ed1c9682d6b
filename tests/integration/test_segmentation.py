"""The example pipeline under plain DataJoint, as its README says: results, failures and picture.

- 28 of 30 segmentations are made; the horse fails under the two methods that need grey values
- 26 summaries: the key source in Python leaves out what was not divided
- a second run changes nothing
- the table of results has a line for each key; the contact sheet shows each segmentation and marks failures
- its queues are valid PopulateQueues and name classes of the pipeline
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Picture

from dev.cache import REPOSITORY
from dev.databases import Database, Server
from populate_operator.queue.resource import parse_spec

EXAMPLE = REPOSITORY / "examples" / "segmentation"
REFUSED = "ValueError: the input array must have size 3 along `channel_axis`, got (328, 400, 4)"
METHODS = ["felzenszwalb", "otsu", "watershed"]
OUTLINE, FAILED = (255, 226, 64), (176, 42, 48)


@dataclass(frozen=True)
class Pipeline:
    """The example with a database of its own."""

    database: Database

    def run(self, module: str, *arguments: str) -> str:
        """What `python -m segmentation.<module>` prints."""
        server = self.database.server
        account = {
            "DJ_HOST": server.host,
            "DJ_PORT": str(server.port),
            "DJ_USER": server.user,
            "DJ_PASS": server.password,
            "SEGMENTATION_SCHEMA": self.database.name,
            "PYTHONPATH": str(EXAMPLE),
        }
        command = [sys.executable, "-m", f"segmentation.{module}", *arguments]
        ended = subprocess.run(command, env=os.environ | account, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


@pytest.fixture(scope="module")
def pipeline(server: Server) -> Iterator[Pipeline]:
    """The example after its local run, once on each kind of server."""
    database = Database(server, f"populate_test_{secrets.token_hex(6)}").create()
    pipeline = Pipeline(database)
    pipeline.run("local")
    yield pipeline
    database.drop()


def test_segmentations(pipeline: Pipeline) -> None:
    made = Counter(method for (method,) in pipeline.rows("SELECT method FROM __segmentation"))
    assert made == {"felzenszwalb": 10, "otsu": 9, "watershed": 9}
    counts = pipeline.rows("SELECT image, method, regions FROM __segmentation ORDER BY image, method")
    parts = pipeline.rows(
        "SELECT image, method, count(*) FROM __segmentation__region GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert parts == counts
    [(coins,)] = pipeline.rows(
        "SELECT regions FROM __segmentation WHERE image = 'coins' AND method = 'watershed'"
    )
    assert 24 <= coins <= 48  # 24 coins lie there


def test_what_fails_is_kept_with_its_reason(pipeline: Pipeline) -> None:
    failed = pipeline.rows(
        "SELECT image, method, status, error_message FROM `~~segmentation` ORDER BY method"
    )
    assert failed == [("horse", method, "error", REFUSED) for method in ("otsu", "watershed")]


def test_summaries_follow_the_key_source(pipeline: Pipeline) -> None:
    summarised = "SELECT image, method FROM __summary"
    skipped = f"SELECT image, method FROM __segmentation WHERE (image, method) NOT IN ({summarised})"
    assert sorted(pipeline.rows(skipped)) == [("cell", "otsu"), ("cell", "watershed")]
    assert pipeline.rows("SELECT count(*) FROM __summary WHERE edge_contrast > 1") == [(26,)]


def test_a_second_run_changes_nothing(pipeline: Pipeline) -> None:
    counts = (
        "SELECT (SELECT count(*) FROM __segmentation), (SELECT count(*) FROM __summary), count(*) FROM image"
    )
    before = pipeline.rows(counts)
    pipeline.run("local")
    assert pipeline.rows(counts) == before == [(28, 26, 10)]


def test_results(pipeline: Pipeline) -> None:
    lines = pipeline.run("results").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("image "))
    results = lines[start + 1 :]
    assert len(results) == 30
    assert sum(REFUSED in line for line in results) == 2
    assert [line.split()[2:4] for line in results if line.startswith("cell ")][1:] == [
        ["1", "3%"],
        ["1", "3%"],
    ]


def test_the_contact_sheet(pipeline: Pipeline, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    pipeline.run("contact_sheet", str(out))
    pixels = np.asarray(Picture.open(out))
    cells = [band for row in np.array_split(pixels[52:], 10) for band in np.array_split(row, 3, axis=1)]
    outlined = [has_colour(cell, OUTLINE) for cell in cells]
    marked = [has_colour(cell, FAILED) for cell in cells]
    horse = 7  # the eighth row
    expected = [
        (row, METHODS[column]) != (horse, "felzenszwalb") and row == horse
        for row in range(10)
        for column in range(3)
    ]
    assert marked == expected
    assert outlined == [not failed for failed in expected]


def has_colour(pixels: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> bool:
    return bool((pixels == colour).all(axis=-1).any())


def test_its_queues_are_valid() -> None:
    queues = list(yaml.safe_load_all((EXAMPLE / "queues.yaml").read_text()))
    specs = [parse_spec(queue["spec"]) for queue in queues]
    assert [(spec.table, spec.key_source.from_class) for spec in specs] == [
        ("Segmentation", False),
        ("Summary", True),
    ]
    paths = [spec.runner.class_path for spec in specs if spec.runner]
    assert paths == ["segmentation.pipeline:Segmentation", "segmentation.pipeline:Summary"]
