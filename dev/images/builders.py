"""The program that builds images here: docker or podman where it answers, else buildah without any daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import packages
from dev.cache import cache_dir
from dev.cluster import kind
from dev.console import SetupError, run, say

OFFICIAL_PYTHON = "docker.io/library/python:3.12-slim"


@dataclass(frozen=True)
class Builder:
    """Builds, names, finds and saves images with `program`: docker, podman or buildah."""

    program: str

    @property
    def has_registry(self) -> bool:
        """Whether official images can be pulled; else Debian's packages stand in for them."""
        return self.program != "buildah"

    def build(
        self,
        dockerfile: Path,
        context: Path,
        *,
        names: Sequence[str],
        args: Mapping[str, str],
        secrets: Mapping[str, Path],
    ) -> None:
        """Build an image and give it `names`; raises SetupError with the end of the build's log."""
        command: list[str | Path] = {
            "docker": ["docker", "build"],
            "podman": ["podman", "build", "--layers"],
            "buildah": [
                "buildah",
                "bud",
                "--layers",
                "--force-rm",
                "--isolation",
                "chroot",
                "--network",
                "host",
            ],
        }[self.program].copy()  # type: ignore[assignment]
        for name in names:
            command += ["--tag", name]
        for key, value in args.items():
            command += ["--build-arg", f"{key}={value}"]
        for key, path in secrets.items():
            command += ["--secret", f"id={key},src={path}"]
        self._run(*command, "--file", dockerfile, context)

    def pull(self, image: str, *, names: Sequence[str]) -> None:
        """Fetch `image` from its registry and give it `names`."""
        self._run(self.program, "pull", image)
        for name in names:
            self._run(self.program, "tag", image, name)

    def save(self, name: str, archive: Path) -> None:
        """Write the image as a docker archive."""
        draft = archive.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        match self.program:
            case "docker":
                self._run("docker", "save", "--output", draft, name)
            case "podman":
                self._run("podman", "save", "--format", "docker-archive", "--output", draft, name)
            case _:
                self._run("buildah", "push", name, f"docker-archive:{draft}:{name}")
        draft.replace(archive)

    def remove(self, name: str) -> None:
        """Take a name away, and what nothing else needs with it; a missing one is fine."""
        subprocess.run([self.program, "rmi", name], capture_output=True, check=False)

    def has(self, name: str) -> bool:
        """Whether the image is in the builder's own store."""
        inspect = ["inspect", "--type", "image"] if self.program == "buildah" else ["image", "inspect"]
        done = subprocess.run([self.program, *inspect, name], capture_output=True, check=False)
        return done.returncode == 0

    def _run(self, *command: str | Path) -> None:
        run(command, log=cache_dir("log") / "images.log", env=os.environ | {"DOCKER_BUILDKIT": "1"})


def choose() -> Builder:
    """The builder of this machine; raises SetupError when there is none."""
    if engine := kind.engine():
        builder = Builder(engine)
        if builder.has(OFFICIAL_PYTHON) or _can_pull(builder):
            return builder
        say(f"images: {engine} cannot pull {OFFICIAL_PYTHON}, so buildah builds on Debian's own packages")
    if os.geteuid() != 0:
        raise SetupError("images need docker or podman; without them, run this as root and buildah does it")
    packages.require(["buildah"], purpose="building images without a container engine")
    return Builder("buildah")


def _can_pull(builder: Builder) -> bool:
    try:
        builder.pull(OFFICIAL_PYTHON, names=[])
    except SetupError:
        return False
    return True
