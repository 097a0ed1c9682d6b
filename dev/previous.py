"""The version before this one, taken from the history, for tests of upgrades: chart, CRD and image.

There is no release yet. The commit is one at which the operator did its whole job; its CRD and its chart have
less than today's. Once there are releases, this names the newest one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from dev.cache import REPOSITORY, cache_dir
from dev.console import SetupError, say

COMMIT = "ebb314f0c2d821ad51b1d8230e23d2cd9dd57461"


def checkout() -> Path:
    """A folder with the files of the previous version.

    In a clone without history that is this version itself, said in one line. Raises SetupError where this is
    no clone at all.
    """
    commit = COMMIT if _has(COMMIT) else "HEAD"
    if commit == "HEAD":
        say(
            "previous: this clone has no history ('git fetch --unshallow'), so upgrades begin at this version"
        )
    folder = cache_dir("previous") / _git("rev-parse", commit).strip()
    if not (folder / "Dockerfile").exists():
        folder.mkdir(exist_ok=True)
        archive = subprocess.Popen(["git", "-C", REPOSITORY, "archive", commit], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
        if archive.wait():
            raise SetupError("'git archive' failed; tests of upgrades need a git clone of the project")
    return folder


def _has(commit: str) -> bool:
    command = ["git", "-C", str(REPOSITORY), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SetupError(f"git {arguments[0]}: {done.stderr.strip()}; tests of upgrades need a git clone")
    return done.stdout
