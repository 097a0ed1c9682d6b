"""The GitHub workflows: minimal token, pinned actions, targets that exist; what a release checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.console import SetupError
from dev.release import check_tag, checksums, release_notes
from populate_operator import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
RELEASE = REPOSITORY / ".github" / "workflows" / "release.yml"
MAY_WRITE = {  # beyond reading the contents
    "image": {"packages": "write", "id-token": "write"},
    "publish": {"contents": "write", "packages": "write", "id-token": "write"},
}

Json = dict[str, Any]


def jobs_of(path: Path) -> dict[str, Json]:
    jobs: dict[str, Json] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


def steps() -> Iterator[tuple[str, Json]]:
    for path in WORKFLOWS:
        for name, job in jobs_of(path).items():
            yield from ((f"{path.name}: {name}", step) for step in job["steps"])


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_token_is_minimal_and_every_job_ends(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for name, job in jobs_of(path).items():
        extra = MAY_WRITE.get(name, {}) if path == RELEASE else {}
        assert job.get("permissions", {"contents": "read"}) == {"contents": "read"} | extra, name
        assert job["timeout-minutes"] <= 60, name


def test_actions_are_pinned_by_commit_each_to_one_version() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = set[tuple[str, str, str]]()
    for line in re.findall(r"uses: (.*)", text):
        pin = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
        assert pin, f"not pinned by commit and version: {line}"
        pins.add((pin[1], pin[2], pin[3]))
    assert len({action for action, _, _ in pins}) == len(pins), f"one action, one version: {sorted(pins)}"


def test_a_checkout_leaves_no_token_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_script_is_made_of_what_others_wrote() -> None:
    """A tag or branch can be named `$(command)`; scripts get such values as variables, never as text."""
    for where, step in steps():
        assert "${{" not in step.get("run", ""), f"{where} interpolates into a script"


def test_every_target_that_they_make_exists() -> None:
    wanted = {
        name
        for _, step in steps()
        for name in re.findall(r"\bmake (?:-s )?([a-z0-9-]+)", step.get("run", ""))
    }
    known = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {"lint", "audit", "version-check", "release-files"} <= wanted <= known


def test_a_release_is_checked_before_anything_is_pushed() -> None:
    jobs = jobs_of(RELEASE)
    assert yaml.safe_load(RELEASE.read_text())[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads "on" so
    assert jobs["image"]["needs"] == "check"
    assert jobs["publish"]["needs"] == "image"
    scripts = [step.get("run", step.get("uses", "")) for step in jobs["image"]["steps"]]
    scan = next(i for i, text in enumerate(scripts) if text.startswith("anchore/scan-action"))
    sign = next(i for i, text in enumerate(scripts) if text.startswith("cosign sign"))
    assert scan < sign, "what was not scanned is not signed"


def test_the_image_is_built_for_both_architectures_with_sbom_and_provenance_and_signed_by_digest() -> None:
    steps = jobs_of(RELEASE)["image"]["steps"]
    build = next(step for step in steps if step.get("id") == "build")["with"]
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert (build["sbom"], build["provenance"]) == (True, "mode=max")
    assert steps[-1]["run"] == 'cosign sign --yes "$IMAGE@$DIGEST"'


def test_a_tag_repeats_the_version() -> None:
    check_tag(f"v{__version__}")
    for tag in ("", __version__, "v9.9.9", f"v{__version__}-rc1", f"v{__version__}\n"):
        with pytest.raises(SetupError, match=f"tag v{re.escape(__version__)}, or change __version__"):
            check_tag(tag)


def test_release_notes_are_the_section_of_the_version() -> None:
    changelog = "# Changelog\n\n## [Unreleased]\n- c\n\n## [1.10.0] - 2026-02-01\n\n### Added\n- b\n"
    changelog += "\n## [1.1.0]\n- a\n"
    assert release_notes(changelog, "1.10.0") == "### Added\n- b\n"
    assert release_notes(changelog, "1.1.0") == "- a\n"
    for version in ("1.1", "2.0.0", "Unreleased."):
        with pytest.raises(SetupError, match=re.escape(f"'## [{version}] - DATE'")):
            release_notes(changelog, version)


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("b\n")
    (tmp_path / "a").write_text("a\n")
    first = checksums(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(first)
    assert checksums(tmp_path) == first
    assert first.splitlines() == [
        "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7  a",
        "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f  b",
    ]
