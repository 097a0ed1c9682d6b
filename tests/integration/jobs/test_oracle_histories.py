"""DataJoint's own `Table.jobs` is the oracle: whatever happens to a queue, both leave equal tables.

- random histories of inserts, deletes, refresh, reserve, complete, error and ignore, on both servers, with
  and without `keep_completed`; the deliberate differences are stated in the machine, and nowhere else

A failure prints its steps and the seed: `--hypothesis-seed=N` runs the same histories again. More of them:
`POPULATE_ORACLE_EXAMPLES=500 pytest tests/integration/jobs/test_oracle_histories.py`, and with
`POPULATE_FRESH_SEEDS=1` others than in the last run.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from dev.databases import Database, Server
from tests.integration.jobs.oracle_machine import QueueMachine
from tests.integration.jobs.oracle_twins import Twins

EXAMPLES = int(os.environ.get("POPULATE_ORACLE_EXAMPLES", "30"))
STEPS = 30


@pytest.fixture(params=[False, True], ids=["delete-completed", "keep-completed"])
def twins(
    request: pytest.FixtureRequest, server: Server, create_database: Callable[[], Database]
) -> Iterator[Twins]:
    twins = Twins(server, create_database(), create_database(), keep_completed=request.param)
    yield twins
    twins.close()


def test_histories_leave_equal_tables(twins: Twins, pytestconfig: pytest.Config) -> None:
    def machine() -> QueueMachine:
        return QueueMachine(twins)

    usual = 0 if settings().derandomize else secrets.randbits(32)
    chosen = pytestconfig.getoption("--hypothesis-seed") or usual
    print(f"these histories again: --hypothesis-seed={chosen}")
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(int(chosen))(machine), settings=profile)  # type: ignore[arg-type]
