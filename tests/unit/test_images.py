"""The keys of images, and what a build is told of the machine.

- a key changes with a file's name, its contents and the words around; not with what Python generates;
  a missing source is named
- pip.conf carries the machine's index and proxy, and the build's own path of the certificates
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dev.console import SetupError
from dev.images.catalogue import digest
from dev.images.machine import pip_conf


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "a.py").write_text("a = 1")
    (folder / "package" / "b.py").write_text("b = 1")
    return folder


def edit(folder: Path) -> None:
    (folder / "package" / "a.py").write_text("a = 2")


def rename(folder: Path) -> None:
    (folder / "package" / "a.py").rename(folder / "package" / "c.py")


def move_text_between_files(folder: Path) -> None:
    (folder / "package" / "a.py").write_text("a = 1b")
    (folder / "package" / "b.py").write_text(" = 1")


@pytest.mark.parametrize("change", [edit, rename, move_text_between_files])
def test_a_change_of_sources_changes_the_key(source: Path, change: Callable[[Path], None]) -> None:
    before = digest([source], "docker")
    change(source)
    assert digest([source], "docker") != before


def test_another_builder_or_base_changes_the_key(source: Path) -> None:
    assert len({digest([source], "docker"), digest([source], "buildah"), digest([source])}) == 3


def test_generated_files_leave_the_key(source: Path) -> None:
    before = digest([source])
    (source / "package" / "__pycache__").mkdir()
    (source / "package" / "__pycache__" / "a.pyc").write_bytes(b"byte code")
    assert digest([source]) == before


def test_a_missing_source_is_named(source: Path) -> None:
    with pytest.raises(SetupError, match=r"README\.md is missing, and an image is made from it"):
        digest([source, source / "README.md"])


def test_pip_conf_carries_the_machine_and_the_path_inside_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CERT", "/somewhere/ca.pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere/wheels")

    lines = pip_conf().splitlines()

    assert lines[:2] == ["[global]", "cert = /run/secrets/ca"]
    assert "index-url = https://index.example/simple" in lines
    assert "proxy = http://proxy.example:3128" in lines
    assert not [line for line in lines if "somewhere" in line]
