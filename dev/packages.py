"""Debian packages that set-up needs, installed when absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.cache import cache_dir, lock
from dev.console import SetupError, run, say

APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300")


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
    say(f"packages: installing {' '.join(missing)}")
    log = cache_dir("log") / "apt.log"
    with lock("apt"):
        try:
            apt = as_root(APT)
            run([*apt, "update", "-q"], log=log)
            # A package that conflicts with one of the machine's own must not replace it.
            run([*apt, "install", "-y", "--no-install-recommends", "--no-remove", *missing], log=log)
        except SetupError as error:
            raise SetupError(f"{purpose} needs {', '.join(missing)}; {by_hand}\n{error}") from error


def as_root(command: Sequence[str | Path]) -> list[str | Path]:
    """`command`, under sudo where this is not root and sudo asks for no password.

    Raises SetupError where it does.
    """
    if os.geteuid() == 0:
        return [*command]
    sudo = ["sudo", "--non-interactive"]
    if (
        shutil.which("sudo")
        and not subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode
    ):
        return [*sudo, *command]
    raise SetupError(
        f"'{command[0]}' needs root, and this is neither root nor allowed sudo without a password"
    )


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"
    except FileNotFoundError:
        return False
