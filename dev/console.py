"""What a person sees while set-up works: numbered steps, and one sentence when it cannot go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn


class SetupError(Exception):
    """Set-up cannot go on; the message is one sentence that says what is missing and the remedy."""


class Steps:
    """Prints `cluster 3/7: starting etcd (12 s)`; `total` may grow while it works."""

    def __init__(self, topic: str, total: int) -> None:
        self.topic, self.total, self.done, self.started = topic, total, 0, time.monotonic()

    def step(self, text: str) -> None:
        """Announce the next step."""
        self.done += 1
        say(f"{self.topic} {self.done}/{max(self.total, self.done)}: {text} ({self.seconds():.0f} s)")

    def seconds(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self.started


def say(text: str) -> None:
    """Print one progress line at once, even into a pipe."""
    print(text, file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a long command with its output in `log`.

    Raises SetupError with the last lines of the log when it fails or is not installed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                check=False,
            )
        except FileNotFoundError as missing:
            raise SetupError(f"{missing.filename} is not installed") from missing
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise SetupError(
            f"'{command[0]}' failed with status {done.returncode}; its log is {log} and ends:\n{tail}"
        )


def main_or_exit(main: Callable[[], None]) -> NoReturn:
    """Run a command's main; a SetupError becomes its sentence and exit status 1, never a traceback.

    Ctrl-C ends it with the shell's status for that, 130.
    """
    try:
        main()
    except SetupError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    sys.exit(0)
