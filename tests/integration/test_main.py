"""The process itself: it ends on SIGTERM before it can work, and with a thread that cannot be ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.cache import REPOSITORY

# The first import that is not of the standard library never ends.
SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "populate_operator.leader":
            print("importing", flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Slow())
from populate_operator.__main__ import main
main()
"""

# The operator has ended, or failed; a look-up of its own has not.
STUCK_THREAD = """
import asyncio, sys, time
from populate_operator import process
from populate_operator.pods.errors import ApiError
async def serve(settings):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    {end}
process.serve = serve
sys.argv[1:] = []
from populate_operator.__main__ import main
main()
"""


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator")}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sigterm_ends_it_while_it_is_being_loaded() -> None:
    with running(SLOW_IMPORT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        ("return", 0, ""),
        ("raise ApiError('gone')", 1, "populate-operator: gone"),
        ("raise ValueError('a bug')", 1, "a bug"),
    ],
)
def test_a_thread_that_hangs_does_not_keep_it(end: str, status: int, said: str) -> None:
    with running(STUCK_THREAD.format(end=end)) as process:
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, said in errors) == (status, True)
