"""One claimant of a race, in a process of its own: `python -m tests.integration.jobs.race_claimant`.

Its standard input is one line of JSON with the account, the schema, the way of claiming and a name; a second
line is the start signal. It prints `ready`, then each key when it holds it, and ends when nothing is pending.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Iterator
from itertools import count

from populate_operator.jobs import Database, JobTable, Key

LOOK, BATCH = 500, 20
OWNER = "populatequeue/race"


def main() -> None:
    order = json.loads(sys.stdin.readline())
    table = JobTable(Database(**order["account"]), schema=order["schema"], table="Work")
    claim = one_by_one(table, order["name"]) if order["way"] == "reserve" else batches(table, order["name"])
    table.rediscover()
    print("ready", flush=True)
    sys.stdin.readline()
    for keys in claim:
        print("\n".join(str(key["item_id"]) for key in keys), flush=True)


def one_by_one(table: JobTable, name: str) -> Iterator[Iterable[Key]]:
    """As a DataJoint worker does: look what is pending, then try some; others are after the same keys."""
    chance = random.Random(name)  # noqa: S311
    while keys := table.pending.by_urgency().limit(LOOK).keys():
        for key in chance.sample(keys, min(BATCH, len(keys))):
            if table.reserve(key):
                yield [key]


def batches(table: JobTable, name: str) -> Iterator[Iterable[Key]]:
    """As the operator does: a batch at a time, each job under a host of its own."""
    numbers = count()
    while table.pending.limit(1).count():  # no batch may mean that others have the rest locked just now
        hosts = [f"{name}-{next(numbers)}" for _ in range(BATCH)]
        if jobs := table.reserve_many(BATCH, owner=OWNER, hosts=hosts):
            yield [job.key for job in jobs]


if __name__ == "__main__":
    main()
