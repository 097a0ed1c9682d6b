"""Long-running programs of the cluster: started once, found again, each with a log."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dev.cluster import cgroups
from dev.console import SetupError


@dataclass(frozen=True)
class Daemon:
    """A program with its process id and log in `directory`, running inside `cgroup`."""

    name: str
    command: Sequence[str | Path]
    directory: Path
    cgroup: str

    @property
    def log(self) -> Path:
        """What the program prints."""
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Process id and start time, so that another process of the same id is not taken for it."""
        return self.directory / f"{self.name}.pid"

    def is_running(self) -> bool:
        """Whether the process that `start` made still lives."""
        return self.pid_file.exists() and is_alive(self.pid_file)

    def start(self) -> None:
        """Start it unless it runs."""
        if self.is_running():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # outlives this command on purpose
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                preexec_fn=partial(cgroups.enter, self.cgroup),
            )
        write_pid(self.pid_file, process.pid)

    def wait(self, is_ready: Callable[[], bool], *, seconds: float = 90) -> None:
        """Wait until `is_ready` answers True.

        Raises SetupError with the end of the log when the program exits first or time is up.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            self.require_running()
            if time.monotonic() > deadline:
                raise SetupError(f"{self.name} was not ready within {seconds:.0f} s; {self._log_tail()}")
            time.sleep(0.1)

    def require_running(self) -> None:
        """Raise SetupError with the end of the log unless it runs."""
        if not self.is_running():
            raise SetupError(f"{self.name} has exited; {self._log_tail()}")

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return f"its log is {self.log} and ends:\n" + "\n".join(lines)


def write_pid(file: Path, pid: int) -> None:
    """Remember a process by its id and start time."""
    file.write_text(f"{pid} {_start_time(pid)}")


def read_pid(file: Path) -> int:
    """The process id in `file`."""
    return int(file.read_text().split()[0])


def is_alive(file: Path) -> bool:
    """Whether the process remembered in `file` still lives."""
    pid, started = file.read_text().split()
    return started != "None" and str(_start_time(int(pid))) == started


def _start_time(pid: int) -> int | None:
    """Clock ticks after boot, None for a process that is gone or a zombie (man 5 proc, stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
