"""A test run with all it needs: the cluster up, images in it, pytest, and the cluster as it was before.

`python -m dev.check tests/e2e -k outcome` takes pytest's arguments and ends with pytest's status.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from dev.cache import REPOSITORY
from dev.cluster import current
from dev.console import SetupError, main_or_exit

NO_CLUSTER = ("tests/unit",)
NO_IMAGES = (*NO_CLUSTER, "tests/integration")


@dataclass(frozen=True)
class Needs:
    """What a selection of tests needs around it."""

    cluster: bool
    images: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Needs:
        """From pytest's arguments: everything, unless the paths among them stay in tiers that need less."""
        paths = [a for a in arguments if not a.startswith("-") and (REPOSITORY / a.split("::")[0]).exists()]
        return cls(cluster=not _all_below(paths, NO_CLUSTER), images=not _all_below(paths, NO_IMAGES))


def main() -> None:
    """Prepare, test, tidy."""
    arguments = sys.argv[1:] or ["tests"]
    needs = Needs.of(arguments)
    was_up = _is_up()
    try:
        if needs.cluster:
            _run_module("dev.cluster", "up")
        if needs.images:
            _run_module("dev.images")
        status = _pytest(arguments)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    finally:
        if needs.cluster and not was_up:
            _run_module("dev.cluster", "down")
    sys.exit(status)


def _is_up() -> bool:
    try:
        return bool(current())
    except SetupError:
        return False


def _pytest(arguments: Sequence[str]) -> int:
    """Run pytest in this console and wait until it has ended by itself.

    The console sends Ctrl-C to pytest too; another program's SIGTERM comes here alone and is passed on.
    """
    process = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=REPOSITORY)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: process.send_signal(signal.SIGINT))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _run_module(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=REPOSITORY, check=False)
    if done.returncode:
        raise SetupError(f"'python -m {' '.join([module, *arguments])}' failed; what it said is above")


def _all_below(paths: Sequence[str], folders: Sequence[str]) -> bool:
    return bool(paths) and all(any(f"{path}/".startswith(f"{f}/") for f in folders) for path in paths)


if __name__ == "__main__":
    main_or_exit(main)
