"""A race: claimants in processes of their own, started together, and what each of them says it holds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dev.cache import REPOSITORY
from dev.databases import Server
from populate_operator.jobs import Job, JobTable
from tests.integration.jobs.race_claimant import OWNER


@dataclass
class Claimant:
    """A running claimant; `claimed` are the keys that it said it holds, in its order, duplicates included."""

    name: str
    way: str
    process: subprocess.Popen[str]
    claimed: list[int] = field(default_factory=list)
    listener: threading.Thread | None = None

    def owns(self, job: Job) -> bool:
        """Whether a reservation carries this claimant's mark."""
        if self.way == "reserve":
            return job.pid == self.process.pid
        return job.user == OWNER and job.host.rpartition("-")[0] == self.name

    def listen(self, progress: Progress) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.claimed.append(int(line))
            progress.count()

    def finish(self) -> int:
        """Its exit status once it has ended and all that it said was read."""
        status = self.process.wait()
        assert self.listener is not None
        self.listener.join()
        return status


class Progress:
    """How many claims were announced by all; others wait for a number of them."""

    def __init__(self) -> None:
        self._claims = 0
        self._changed = threading.Condition()

    def count(self) -> None:
        with self._changed:
            self._claims += 1
            self._changed.notify_all()

    def wait_for(self, claims: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._claims >= claims, timeout=120)


@contextlib.contextmanager
def workers(module: str, server: Server, table: JobTable, ways: Sequence[str]) -> Iterator[list[Claimant]]:
    """A process of `module` for each of `ways`, waiting for a start signal; none outlives the block."""
    started = [Claimant(f"claimant-{number}", way, _spawn(module)) for number, way in enumerate(ways)]
    try:
        for worker in started:
            _say(worker, json.dumps(_order(server, table, worker)))
        for worker in started:
            assert worker.process.stdout is not None
            assert worker.process.stdout.readline() == "ready\n"
        yield started
    finally:
        for worker in started:
            worker.process.kill()
            worker.process.wait()


@contextlib.contextmanager
def race(server: Server, table: JobTable, ways: Sequence[str]) -> Iterator[tuple[list[Claimant], Progress]]:
    """Start one claimant for each of `ways` at the same moment, and hear what they say."""
    progress = Progress()
    with workers("tests.integration.jobs.race_claimant", server, table, ways) as claimants:
        for claimant in claimants:
            _say(claimant, "go")
            claimant.listener = threading.Thread(target=claimant.listen, args=(progress,))
            claimant.listener.start()
        yield claimants, progress


def _order(server: Server, table: JobTable, claimant: Claimant) -> dict[str, Any]:
    account = {k: v for k, v in asdict(server).items() if k in ("host", "port", "user", "password")}
    return {"account": account, "schema": table.schema, "name": claimant.name, "way": claimant.way}


def _spawn(module: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _say(claimant: Claimant, line: str) -> None:
    assert claimant.process.stdin is not None
    claimant.process.stdin.write(line + "\n")
    claimant.process.stdin.flush()
