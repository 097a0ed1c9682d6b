"""SQL of users cannot leave its statement: what the text checks let through is tried on real servers.

A canary table and the session are as before after every attempt, whether it was refused or not. And what is
counted for a queue of several on one table: the jobs within its restrictions.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from populate_operator.jobs import BadKeySource, JobTable
from populate_operator.jobs.database import Statement
from populate_operator.queue.status import JobCounts
from populate_operator.queue.store import QueueStore
from populate_operator.queue.threads import Threads
from tests.integration.jobs.pipelines import Pipeline, build_imaging
from tests.unit.jobs.test_sql_text import ESCAPES, NO_CONDITIONS

TRICKS = [
    "subject = 1 OR 1 = 1",
    "subject = (SELECT COUNT(*) FROM canary)",
    "subject = '1\\'' OR '1' = '1'",
    'subject = "1\\" OR " OR TRUE',
    "method = 'a'' OR '''",
    "method = 'x' OR method = '%s %d %(a)s %%'",
    "`subject` = 1 AND 'it''s -- not a comment' <> ''",
    "@x = 1 OR @@session.sql_mode = ''",
    "subject IN (SELECT 1 UNION SELECT 2)",
    "EXISTS (SELECT 1 FROM canary WHERE canary.a = subject)",
    "CHAR(59) = ';'",
    "x'3b' = ';'",
    "CHAR_LENGTH(USER()) = 0 OR (SELECT 'a' 'b') = 'ab'",
    "'\u02bc' = 'x'",
    "method = '\\\\' OR TRUE",
]


@pytest.fixture
def jobs(imaging: Pipeline) -> JobTable:
    build_imaging(imaging)
    imaging.query(f"CREATE TABLE IF NOT EXISTS `{imaging.name}`.canary (a INT PRIMARY KEY)")
    imaging.query(f"REPLACE INTO `{imaging.name}`.canary VALUES (1)")
    return imaging.jobs("Segmentation")


def assert_unharmed(jobs: JobTable) -> None:
    database = jobs.database
    assert database.fetch(Statement(f"SELECT a FROM `{jobs.schema}`.canary")) == [(1,)]
    assert database.fetch(Statement("SELECT @x")) == [(None,)]
    assert "STRICT_ALL_TABLES" in str(database.fetch(Statement("SELECT @@sql_mode")))


def test_what_is_taken_stays_in_its_parentheses(jobs: JobTable) -> None:
    """AND-ed with FALSE no restriction adds a job, and none claims one."""
    jobs.refresh()
    for text in TRICKS:
        assert jobs.refresh("FALSE", text)["added"] == 0
        scoped = JobTable(
            jobs.database, schema=jobs.schema, table="Segmentation", restrictions=[text, "subject < 0"]
        )
        assert scoped.reserve_many(9, owner="o", hosts=list("abcdefghi")) == []
        assert scoped.target_progress() == (0, 0)
        assert scoped.progress(restricted=True)["total"] == 0
        assert_unharmed(jobs)


@pytest.mark.parametrize("text", [text for text, _ in ESCAPES + NO_CONDITIONS])
def test_what_is_refused_never_reaches_the_server(jobs: JobTable, text: str) -> None:
    with pytest.raises(BadKeySource):
        jobs.refresh(text)
    assert jobs.progress()["total"] == 0
    assert_unharmed(jobs)


@pytest.mark.parametrize(
    "select",
    [
        "SELECT subject, method FROM subject JOIN `#method` WHERE FALSE OR '1' = '1\\' -- '",
        "SELECT subject, 'a) AS k; DROP TABLE canary; -- ' AS method FROM subject WHERE FALSE",
        'SELECT subject, "x\\") UNION SELECT 1, \'" AS method FROM subject WHERE FALSE',
        "(SELECT subject, method FROM subject JOIN `#method` WHERE FALSE) UNION (SELECT 9, 'x' LIMIT 0)",
    ],
)
def test_selects_stay_in_their_parentheses(imaging: Pipeline, jobs: JobTable, select: str) -> None:
    assert imaging.jobs("Segmentation", key_source=select).refresh()["added"] == 0
    assert_unharmed(jobs)


@pytest.mark.parametrize(
    "restriction",
    ["subject < 2", "age < 20", "subject IN (SELECT subject FROM subject WHERE age < 20)"],
    ids=["key", "column of a parent", "subquery"],
)
async def test_a_queue_counts_the_jobs_within_its_restrictions(
    imaging: Pipeline, jobs: JobTable, restriction: str
) -> None:
    jobs.refresh()
    jobs.error({"subject": 1, "method": "otsu"}, "bad")
    jobs.ignore({"subject": 3, "method": "otsu"})
    imaging.age("~~segmentation", -100, "subject IN (0, 2)")
    threads = Threads(1)
    lane = threads.lane("server")
    ours = QueueStore(imaging.jobs("Segmentation", restrictions=[restriction]), owner="ours", lane=lane)
    every = QueueStore(jobs, owner="every", lane=lane)

    assert (await ours.figures(datetime.now(UTC))).jobs == JobCounts(scheduled=1, error=1, total=2)
    assert (await every.figures(datetime.now(UTC))).jobs == JobCounts(scheduled=2, error=1, ignore=1, total=4)

    imaging.age("~~segmentation", 100, "subject IN (0, 2)")
    assert (await ours.figures(datetime.now(UTC))).jobs == JobCounts(pending=1, error=1, total=2)
    imaging.query(f"DELETE FROM `{imaging.name}`.`~~segmentation` WHERE subject < 2")
    assert (await ours.figures(datetime.now(UTC))).jobs == JobCounts()
    jobs.error({"subject": 2, "method": "otsu"}, "bad")
    errors = [(await store.figures(datetime.now(UTC))).errors for store in (ours, every)]
    assert [len(found) for found in errors] == [0, 1]
    assert ours.table.progress()["total"] == jobs.progress(restricted=True)["total"] == 2
    threads.close()
