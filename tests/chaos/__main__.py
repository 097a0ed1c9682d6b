"""`python -m tests.chaos --minutes 10 --seed 1`: break everything at random, then see what is left.

Exit status 1, with every broken promise and the folder of the logs, where one was broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from dev.console import main_or_exit, say
from tests.chaos.arena import arena, own_cluster
from tests.chaos.campaign import fight
from tests.chaos.verdict import table, violations


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long faults come")
    parser.add_argument("--seed", type=int, default=1, help="decides the faults and the jobs' fates")
    parser.add_argument("--jobs", type=int, default=0, help="keys; default 200 for each minute")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="populate-chaos-"))
    say(f"logs are in {folder}")
    keys = asked.jobs or int(200 * asked.minutes)
    with own_cluster(f"chaos-{asked.seed}") as cluster, arena(cluster, folder, asked.seed, keys) as here:
        seen = fight(here, asked.seed, asked.minutes * 60, keys)
        found = violations(seen)
        if found:  # the logs tell of the rest
            (folder / "queue.txt").write_text(here.queue.describe())
    print(table(seen))
    if found:
        sys.exit("\n".join([*found, f"the logs are in {folder}"]))


if __name__ == "__main__":
    main_or_exit(main)
