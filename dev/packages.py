"""Debian packages that set-up needs, installed when absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from dev.cache import cache_dir, lock
from dev.console import SetupError, run, say


def require(packages: Sequence[str], *, purpose: str) -> None:
    """Install the Debian `packages` that are missing.

    Raises SetupError with the command to run by hand where that is not possible.
    """
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return
    by_hand = f"install them by hand: apt-get install {' '.join(missing)}"
    if not shutil.which("apt-get"):
        raise SetupError(
            f"{purpose} needs {', '.join(missing)} and this is not Debian; install their equivalents by hand"
        )
    if os.geteuid() != 0:
        raise SetupError(f"{purpose} needs packages and this is not root; {by_hand}")
    say(f"packages: installing {' '.join(missing)}")
    log = cache_dir("log") / "apt.log"
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=300",
        *missing,
    ]
    with lock("apt"):
        try:
            run(["apt-get", "update", "-q"], log=log, env=env)
            run(install, log=log, env=env)
        except SetupError as error:
            raise SetupError(f"{purpose} needs {', '.join(missing)}; {by_hand}\n{error}") from error


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"
    except FileNotFoundError:
        return False
