"""How fast jobs are claimed: DataJoint's `reserve` loop, our batches, and the bare statement behind them.

`python -m bench.reserve --server mysql --rows 20000` measures in one run, on the same queue each time:

ours   jobs/s by `reserve_many`, `--batch` at a time, each job under a host of its own
peer   jobs/s by `Table.jobs.reserve(key)` of DataJoint, on `--peer-rows` of them; the keys are known to it
limit  jobs/s by UPDATE ... ORDER BY priority, scheduled_time LIMIT batch, which tells nobody what it got
single jobs/s by our own `reserve(key)`; settle: by `settle` of what `reserve_many` got
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from bench.queue_setting import JOBS, Work, running_server, setup, work
from dev.console import main_or_exit
from dev.databases import KINDS, Server
from populate_operator.jobs import Complete

OWNER = "populatequeue/benchmark"


def measure(server: Server, *, rows: int, peer_rows: int, batch: int, rounds: int) -> dict[str, Any]:
    """The one object that `--json` prints."""
    before = setup(server)
    with work(server) as queue:
        queue.fill(rows)
        queue.ours.refresh()
        found = [
            {
                "limit": rows / timed(queue, lambda: claim_bare(queue, batch)),
                "ours": rows / timed(queue, lambda: claim_batches(queue, batch)),
                "peer": peer_rows / timed(queue, lambda: claim_theirs(queue, peer_rows)),
                "single": peer_rows / timed(queue, lambda: claim_singly(queue, peer_rows)),
            }
            for _ in range(rounds)
        ]
        settled = rows / settle_seconds(queue, rows, batch)
    rate = {name: statistics.median(one[name] for one in found) for name in found[0]}
    return {
        "benchmark": "reserve",
        "unit": "jobs/s",
        "ours": round(rate["ours"]),
        "peer": round(rate["peer"]),
        "limit": round(rate["limit"]),
        "ratio_to_peer": round(rate["ours"] / rate["peer"], 1),
        "fraction_of_limit": round(rate["ours"] / rate["limit"], 3),
        "single": round(rate["single"]),
        "settle": round(settled),
        "rows": {"ours": rows, "peer": peer_rows, "limit": rows},
        "batch": batch,
        "rounds": rounds,
        "setup": before,
    }


def timed(queue: Work, claim: Callable[[], int]) -> float:
    """Seconds of claiming from a queue in which all jobs are pending; the claims are taken back first."""
    queue.run(f"UPDATE {JOBS} SET status = 'pending', host = '', user = '', pid = 0, reserved_time = NULL")
    queue.analyze()
    started = time.perf_counter()
    claimed = claim()
    seconds = time.perf_counter() - started
    assert queue.ours.reserved.count() == claimed
    return seconds


def claim_bare(queue: Work, batch: int) -> int:
    claimed = 0
    with queue.connection.cursor() as cursor:
        while done := cursor.execute(
            f"UPDATE {JOBS} SET status = 'reserved', host = 'pod', user = 'owner', pid = 1, "
            "reserved_time = CURRENT_TIMESTAMP(3) WHERE status = 'pending' "
            f"AND scheduled_time <= CURRENT_TIMESTAMP(3) ORDER BY priority, scheduled_time LIMIT {batch}"
        ):
            claimed += done
    return claimed


def claim_batches(queue: Work, batch: int) -> int:
    numbers, claimed = count(), 0
    while jobs := queue.ours.reserve_many(
        batch, owner=OWNER, hosts=[f"work-{next(numbers)}" for _ in range(batch)]
    ):
        claimed += len(jobs)
    return claimed


def claim_theirs(queue: Work, rows: int) -> int:
    return sum(queue.theirs.reserve({"item_id": number}) for number in range(rows))


def claim_singly(queue: Work, rows: int) -> int:
    return sum(queue.ours.reserve({"item_id": number}) for number in range(rows))


def settle_seconds(queue: Work, rows: int, batch: int) -> float:
    """Seconds to complete all jobs after they were claimed in batches."""
    timed(queue, lambda: claim_batches(queue, batch))
    settlements = [Complete(job.key, job.fence) for job in queue.ours.reserved]
    started = time.perf_counter()
    assert queue.ours.settle(settlements) == [True] * rows
    return time.perf_counter() - started


def report(found: dict[str, Any]) -> str:
    """For people."""
    server, rows = found["setup"]["server"], found["rows"]
    return (
        f"reserve on {server['kind']} {server['version']}, batches of {found['batch']}, "
        f"median of {found['rounds']}\n"
        f"ours   {found['ours']:8,} jobs/s ({rows['ours']:,} jobs)   {found['ratio_to_peer']}x DataJoint\n"
        f"peer   {found['peer']:8,} jobs/s ({rows['peer']:,} jobs)   DataJoint's reserve loop\n"
        f"limit  {found['limit']:8,} jobs/s   bare UPDATE; ours reaches {found['fraction_of_limit']:.0%}\n"
        f"ours one at a time {found['single']:,} jobs/s; settled in batches {found['settle']:,} jobs/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.reserve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=20_000, help="jobs for ours and the limit")
    parser.add_argument("--peer-rows", type=int, help="jobs for DataJoint (at most 2000 of --rows)")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", choices=KINDS, default="mysql")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with running_server(options.server) as server:
        found = measure(
            server,
            rows=options.rows,
            peer_rows=options.peer_rows or min(options.rows, 2000),
            batch=options.batch,
            rounds=options.rounds,
        )
    print(json.dumps(found) if options.json else report(found))


if __name__ == "__main__":
    main_or_exit(main)
