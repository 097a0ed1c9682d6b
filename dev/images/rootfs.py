"""Debian root file systems by debootstrap: where MySQL comes from, and the native base of the images."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from dev import packages
from dev.cache import cache_dir, lock
from dev.console import SetupError, run, say

MYSQL = ("mysql-server-core", "mysql-client-core")
PYTHON = ("python3", "python3-venv", "ca-certificates")

# tar patterns of what no container reads: package indexes, logs, documentation, translations, device nodes.
NOT_IN_IMAGES = (
    *(
        f"./{folder}/*"
        for folder in ("dev", "proc", "sys", "run", "tmp", "var/cache", "var/lib/apt", "var/log")
    ),
    *(f"./usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")),
)


def build(suite: str, include: Sequence[str]) -> Path:
    """The minimal root file system of a Debian `suite` with the packages `include`, built once (30 s).

    Raises SetupError when this is not root on Debian or the mirror fails.
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
    if os.geteuid() != 0:
        raise SetupError(f"{purpose} is unpacked by debootstrap, which must run as root")
    packages.require(["debootstrap", "debian-archive-keyring"], purpose=purpose)
    say(f"rootfs: unpacking {purpose} into {root} (about 40 s)")
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(include)}", suite, str(root)]
    run(command, log=cache_dir("log") / "debootstrap.log")
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
