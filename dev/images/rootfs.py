"""Debian root file systems by debootstrap: where MySQL comes from, and the native base of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dev import packages
from dev.cache import cache_dir, lock
from dev.console import run, say

MYSQL = ("mysql-server-core", "mysql-client-core")
PYTHON = ("python3", "python3-venv", "ca-certificates")

# tar patterns of what no container reads: package indexes, logs, documentation, translations, device nodes.
EMPTY_IN_IMAGES = ("dev", "proc", "run", "sys", "tmp", "var/cache", "var/lib/apt", "var/log")
UNREAD_IN_IMAGES = ("doc", "info", "locale", "man")
NOT_IN_IMAGES = (
    *(f"./{folder}/*" for folder in EMPTY_IN_IMAGES),
    *(f"./usr/share/{folder}/*" for folder in UNREAD_IN_IMAGES),
)


def build(suite: str, include: Sequence[str]) -> Path:
    """The minimal root file system of a Debian `suite` with the packages `include`, built once (30 s).

    Raises SetupError when this is not Debian, has no root, or the mirror fails.
    """
    name = "-".join([suite, *include])
    root = cache_dir("rootfs") / name
    with lock(f"rootfs-{name}"):
        if not (complete := root.with_suffix(".complete")).exists():
            _debootstrap(suite, include, root)
            complete.touch()
    return root


def _debootstrap(suite: str, include: Sequence[str], root: Path) -> None:
    purpose = f"Debian {suite} with {', '.join(include)}"
    packages.require(["debootstrap", "debian-archive-keyring"], purpose=purpose)
    say(f"rootfs: unpacking {purpose} into {root} (about 40 s)")
    log = cache_dir("log") / "debootstrap.log"
    options = ["--variant=minbase", f"--include={','.join(include)}"]
    run(packages.as_root(["rm", "-rf", root]), log=log)
    run(packages.as_root(["debootstrap", *options, suite, root]), log=log)
    run(packages.as_root(["rm", "-rf", root / "var/cache/apt", root / "var/lib/apt/lists"]), log=log)
