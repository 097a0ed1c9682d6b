"""Keys and names that mean something to SQL, JSON, Kubernetes or a shell, on the whole way of a job.

SQL -> JSON -> the pod's environment -> what the runner reads -> the target -> the fenced settlement.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dev.databases import Database
from populate_operator.jobs import BadKey, Complete, Error, Fence, JobTable
from populate_operator.pods.build import DatabaseAccess, PodRequest, build_pod
from populate_operator.pods.owner import QueueRef
from tests.integration.jobs.arena import account, rows

VALUES = [
    "it's \"quoted\" ''twice''",
    "`tick` and ``ticks``",
    "100% %s %(key)s %%",
    "nul\0inside",
    "\N{SLEEPING SYMBOL} 電圧 e\u0301 \u202eright to left",
    "back\\slash\\' OR 1=1 -- ",
    "$(DJ_PASS) ${DJ_PASS} $$ `id`",
    "new\nline\ttab\rreturn \x1b[31m\x7f",
    '{"json": [1]}',
    "'; DROP TABLE origin; -- ",
    "long " + "x" * 250,
    " ",
]
LONGEST = "x" * 62
ODD = "a`b %s \"c\" 'd' ; -- \N{GREEK SMALL LETTER MU}"
NAMES = {"64 characters": (f"{LONGEST}yz", LONGEST), "odd": (ODD, "derived"), "plain": ("attr", "derived")}

Declare = Callable[[str], JobTable]


@pytest.fixture
def declare(database: Database) -> Declare:
    def make(names: str) -> JobTable:
        column, table = NAMES[names]
        name = column.replace("`", "``").replace("%", "%%")
        own = f"`{name}` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        with database.connect() as connection:
            rows(connection, f"CREATE TABLE origin ({own}, PRIMARY KEY (`{name}`))", ())
            rows(
                connection,
                f"CREATE TABLE `__{table}` ({own}, PRIMARY KEY (`{name}`), "
                f"CONSTRAINT c FOREIGN KEY (`{name}`) REFERENCES origin (`{name}`))",
                (),
            )
            for value in VALUES:
                rows(connection, "INSERT INTO origin VALUES (%s)", (value,))
        return JobTable(account(database.server), schema=database.name, table=f"__{table}")

    return make


def key_in_pod(key: str) -> str:
    """POPULATE_KEY as the container sees it: through the API's JSON, and expanded as the kubelet does it."""
    request = PodRequest(
        name="q-abcdefghijkl",
        queue=QueueRef("populate.datajoint.io/v1alpha1", "lab", "q", "uid"),
        template={"spec": {"containers": [{"name": "main"}]}},
        database=DatabaseAccess("db", 3306, "account", "username", "password"),
        schema="lab",
        table="__derived",
        key=key,
        attempt=1,
    )
    pod = json.loads(json.dumps(build_pod(request)))
    assert pod["metadata"]["annotations"]["populate.datajoint.io/key"] == key
    value = next(one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "POPULATE_KEY")
    assert "\0" not in value, "no environment can hold it"
    assert "$(" not in value.replace("$$", ""), "the kubelet would expand it"
    return str(value.replace("$$", "$"))


@pytest.mark.parametrize("names", NAMES)
def test_every_key_makes_its_way(declare: Declare, database: Database, names: str) -> None:
    jobs, (column, table) = declare(names), NAMES[names]
    assert jobs.refresh()["added"] == len(VALUES)
    claimed = jobs.reserve_many(99, owner="o", hosts=lambda _key, attempt: f"pod-{attempt}")
    assert {job.key[column] for job in claimed} == set(VALUES)
    for job in claimed:
        in_pod = json.loads(key_in_pod(job.key.json))
        with database.connect() as connection:
            rows(connection, f"INSERT INTO `__{table}` VALUES (%s)", (in_pod[column],))
        key = jobs.key(in_pod)
        assert jobs.in_target([key]) == {key}
        assert jobs.reserved.where(key).count() == 1
        assert jobs.settle([Complete(key, Fence("o", "another"))]) == [False]
        assert jobs.settle([Complete(key, job.fence)]) == [True]
    assert jobs.progress()["total"] == 0
    assert jobs.refresh()["added"] == 0


def test_errors_name_them_as_they_are(declare: Declare) -> None:
    jobs = declare("plain")
    jobs.refresh()
    claimed = jobs.reserve_many(99, owner="o", hosts=lambda _key, attempt: f"pod-{attempt}")
    settled = [
        Error(job.key, job.fence, f"bad: {job.key['attr']!s}", f"{job.key['attr']!s}\0") for job in claimed
    ]
    assert all(jobs.settle(settled))
    assert {(job.error_message, job.error_stack) for job in jobs.errors} == {
        (f"bad: {value}", f"{value}\0") for value in VALUES
    }


@pytest.mark.parametrize("value", ["x" * 256, "x" * 70_000, "half \ud800"])
def test_a_live_pod_whose_key_was_edited_gets_no_job_and_stops_nothing(declare: Declare, value: str) -> None:
    jobs = declare("plain")
    jobs.refresh()
    with pytest.raises(BadKey):
        jobs.take_back(jobs.key(json.dumps({"attr": value})), fence=Fence("o", "pod"), attempt=2**31 - 1)
    assert jobs.progress()["pending"] == len(VALUES)
    assert jobs.take_back({"attr": "absent"}, fence=Fence("o", "pod"), attempt=2**31 - 1)
