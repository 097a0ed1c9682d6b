"""Everything breaks at random for a while, in a cluster of its own, and no promise does.

The same as `make chaos`, but short; `docs/reliability.md` says what takes part and what must hold.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.arena import arena, own_cluster
from tests.chaos.campaign import fight
from tests.chaos.schedule import TARGETS
from tests.chaos.verdict import table, violations

SEED = 4  # in this time it draws every kind of fault
SECONDS = 60.0
KEYS = 130


@pytest.mark.timeout(1800)
def test_random_faults_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    with own_cluster("chaos-test") as cluster, arena(cluster, tmp_path, SEED, KEYS) as here:
        seen = fight(here, SEED, SECONDS, KEYS)
    print(table(seen))
    assert violations(seen) == []
    assert {one.fault.kind.target for one in seen.inflicted} == set(TARGETS.values())
