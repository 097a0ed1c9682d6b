"""One worker on a shared queue, in a process of its own: `python -m tests.integration.jobs.interop_worker`.

Its standard input is one line of JSON with the account, the schema, the way of working and a name; a second
line is the start signal. It prints `ready`, and at its end the keys that it made as a line of JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from itertools import count
from typing import Any

import datajoint as dj
import pymysql

from populate_operator.jobs import Complete, Database, Error, Job, JobTable, Key
from tests.integration.jobs.interop_pipeline import TOO_NOISY, declare_measurement, is_noisy

logging.getLogger("datajoint").disabled = True  # it logs to where the answer goes


def main() -> None:
    order = json.loads(sys.stdin.readline())
    account, schema = order["account"], order["schema"]
    work = {"populate": populate, "reserve": reserve, "reserve_many": reserve_many}[order["way"]]
    made = work(account, schema, order["name"])
    next(made)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(list(made)), flush=True)


def populate(account: dict[str, Any], schema: str, name: str) -> Iterator[int]:
    """DataJoint's own worker."""
    instance = dj.Instance(**account, safemode=False)
    table = declare_measurement(instance, schema)["Measurement"]()
    yield -1
    while table.jobs.pending:
        table.populate(reserve_jobs=True, refresh=False, suppress_errors=True, max_calls=20)


def reserve(account: dict[str, Any], schema: str, name: str) -> Iterator[int]:
    """Ours, one by one and without a fence, as a DataJoint worker does."""
    table = JobTable(Database(**account), schema=schema, table="Measurement")
    connection = pymysql.connect(**account, database=schema, autocommit=True)
    table.rediscover()
    yield -1
    while keys := table.pending.limit(20).keys():
        for key in filter(table.reserve, keys):
            try:
                yield make(connection, key, "reserve")
            except ValueError as error:
                table.error(key, f"ValueError: {error}", traceback.format_exc())
            else:
                table.complete(key, 0.1)


def reserve_many(account: dict[str, Any], schema: str, name: str) -> Iterator[int]:
    """Ours in batches, fenced, as the operator does."""
    table = JobTable(Database(**account), schema=schema, table="Measurement")
    connection = pymysql.connect(**account, database=schema, autocommit=True)
    numbers = count()
    table.rediscover()
    yield -1
    while table.pending.count():
        hosts = [f"{name}-{next(numbers)}" for _ in range(10)]
        jobs = table.reserve_many(10, owner="populatequeue/interop", hosts=hosts)
        endings = []
        for job in jobs:
            ending, made = end(connection, job)
            endings.append(ending)
            yield from made
        assert table.settle(endings) == [True] * len(jobs)


def end(connection: Any, job: Job) -> tuple[Complete | Error, list[int]]:
    try:
        made = make(connection, job.key, "reserve_many")
    except ValueError as error:
        return Error(job.key, job.fence, f"ValueError: {error}", traceback.format_exc()), []
    return Complete(job.key, job.fence, 0.1), [made]


def make(connection: Any, key: Key, worker: str) -> int:
    """What the class does in `make`; a key that is made twice raises an error of the database."""
    time.sleep(0.005)  # or the batches would have nearly all, for DataJoint takes longer
    sample = int(str(key["sample_id"]))
    if is_noisy(sample):
        raise ValueError(TOO_NOISY)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO __measurement VALUES (%s, %s)", (sample, worker))
    return sample


if __name__ == "__main__":
    main()
