"""How fast a queue is refreshed: DataJoint, ours, and the bare statements that nobody can undercut.

`python -m bench.refresh --server mysql --rows 100000` measures in one run:

add     keys/s for `--rows` new keys; peer: `Table.jobs.refresh()` on `--peer-rows` (it goes key by key, at
        a rate that does not depend on their number); limit: INSERT ... SELECT into such a table, unchecked
idle    seconds of a refresh that finds nothing new among `--idle-rows` keys, half of them in the target and
        half pending; limit: its anti-joins alone, key source - target - jobs and jobs - key source
memory  peak of a process of its own over its import, while it adds `--idle-rows` keys
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from bench import queue_memory
from bench.queue_setting import JOBS, SOURCE, TARGET, Work, running_server, setup, work
from dev.console import main_or_exit
from dev.databases import KINDS, Server

BARE_INSERT = (
    f"INSERT INTO {JOBS} (item_id, status, priority, scheduled_time) "
    f"SELECT item_id, 'pending', 5, CURRENT_TIMESTAMP(3) FROM {SOURCE}"
)
BARE_ANTI_JOINS = (
    f"SELECT k.item_id FROM {SOURCE} k LEFT JOIN {JOBS} j ON j.item_id = k.item_id "
    f"LEFT JOIN {TARGET} t ON t.item_id = k.item_id WHERE j.item_id IS NULL AND t.item_id IS NULL",
    f"SELECT j.item_id FROM {JOBS} j LEFT JOIN {SOURCE} k ON k.item_id = j.item_id WHERE k.item_id IS NULL",
)


def measure(server: Server, *, rows: int, peer_rows: int, idle_rows: int, rounds: int) -> dict[str, Any]:
    """The one object that `--json` prints."""
    before = setup(server)
    with work(server) as added:
        added.fill(rows)
        pairs = [(add_bare(added), add_ours(added)) for _ in range(rounds)]
    with work(server) as peer:
        peer.fill(peer_rows)
        seconds_of_peer = add_theirs(peer)
    limit, ours = (rows / statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    peer_rate = peer_rows / seconds_of_peer
    with work(server) as idle:
        idle.fill(idle_rows)
        memory = queue_memory.measure(server, idle.database.name)
        finding_nothing = idle_seconds(idle, rounds)
    return {
        "benchmark": "refresh",
        "unit": "keys/s",
        "ours": round(ours),
        "peer": round(peer_rate),
        "limit": round(limit),
        "ratio_to_peer": round(ours / peer_rate, 1),
        "fraction_of_limit": round(ours / limit, 3),
        "rows": {"ours": rows, "peer": peer_rows, "limit": rows},
        "idle": finding_nothing | {"rows": idle_rows},
        "memory": {"unit": "MB", "ours": memory["peak_mb"], "rows": memory["added"]},
        "rounds": rounds,
        "setup": before,
    }


def add_bare(work: Work) -> float:
    work.run(f"TRUNCATE {JOBS}")
    return work.run(BARE_INSERT)


def add_ours(work: Work) -> float:
    work.run(f"TRUNCATE {JOBS}")
    started = time.perf_counter()
    work.ours.refresh()
    return time.perf_counter() - started


def add_theirs(work: Work) -> float:
    started = time.perf_counter()
    work.theirs.refresh()
    return time.perf_counter() - started


def idle_seconds(work: Work, rounds: int) -> dict[str, Any]:
    """Medians, after half of the pending keys came into the target."""
    work.run(f"INSERT INTO {TARGET} SELECT item_id FROM {SOURCE} WHERE item_id % 2")
    work.run(f"DELETE FROM {JOBS} WHERE item_id % 2")
    work.analyze()
    pairs = []
    for _ in range(rounds):
        bare = sum(work.run(statement) for statement in BARE_ANTI_JOINS)
        started = time.perf_counter()
        result = work.ours.refresh()
        pairs.append((bare, time.perf_counter() - started))
        assert not any(result.values()), result
    limit, ours = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return {
        "unit": "s",
        "ours": round(ours, 3),
        "limit": round(limit, 3),
        "ratio_to_limit": round(ours / limit, 2),
    }


def report(found: dict[str, Any]) -> str:
    """For people."""
    idle, memory, rows = found["idle"], found["memory"], found["rows"]
    return (
        f"refresh on {found['setup']['server']['kind']} {found['setup']['server']['version']}, "
        f"median of {found['rounds']}\n"
        f"ours   {found['ours']:9,} keys/s ({rows['ours']:,} new keys)   "
        f"{found['ratio_to_peer']}x DataJoint\n"
        f"peer   {found['peer']:9,} keys/s ({rows['peer']:,} new keys)   DataJoint\n"
        f"limit  {found['limit']:9,} keys/s   bare INSERT ... SELECT; ours reaches "
        f"{found['fraction_of_limit']:.0%}\n"
        f"nothing new among {idle['rows']:,}: {idle['ours']} s, "
        f"{idle['ratio_to_limit']}x its bare anti-joins\n"
        f"memory over the import while adding {memory['rows']:,} keys: {memory['ours']} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.refresh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=100_000, help="new keys for ours and the limit")
    parser.add_argument("--peer-rows", type=int, help="new keys for DataJoint (at most 5000 of --rows)")
    parser.add_argument("--idle-rows", type=int, help="keys without anything new (ten times --rows)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", choices=KINDS, default="mysql")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with running_server(options.server) as server:
        found = measure(
            server,
            rows=options.rows,
            peer_rows=options.peer_rows or min(options.rows, 5000),
            idle_rows=options.idle_rows or 10 * options.rows,
            rounds=options.rounds,
        )
    print(json.dumps(found) if options.json else report(found))


if __name__ == "__main__":
    main_or_exit(main)
