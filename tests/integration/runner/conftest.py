"""The image of the runner's tests."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.databases import Database, Server
from tests.integration.runner.image_run import Image

MODULES = Path(__file__).parent / "image"


@pytest.fixture(scope="package")
def declared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """An image whose tables are declared, once on each kind of server: that takes longer than a test."""
    folder = shutil.copytree(MODULES, tmp_path_factory.mktemp("image"), dirs_exist_ok=True)
    (folder / "broken.py").write_text("def broken(:\n")
    (folder / "leaver.py").write_text("raise SystemExit(0)\n")
    database = Database(server, f"populate_test_{secrets.token_hex(6)}").create()
    image = Image(database, folder)
    first = image.populate("pipeline:Choosy", trial="none")
    assert first.status == 0, first.log
    image.rows("INSERT INTO trial VALUES ('alpha'), ('gem'), ('zero')")
    yield image
    database.drop()


@pytest.fixture
def image(declared: Image) -> Image:
    """The image with the trials alpha, gem and zero, nothing computed from them."""
    for (table,) in declared.rows("SHOW TABLES"):
        if table.startswith(("__", "~~", "recording")):
            declared.rows(f"DELETE FROM `{table}`")
    return declared
