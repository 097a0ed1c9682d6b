"""Where we differ from DataJoint on purpose: its behaviour and ours, side by side.

`theirs` and `ours` are equal pipelines, whose queues start equal: four pending jobs.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import pymysql
import pytest
from datajoint.errors import DataJointError

from dev.databases import Database, Server
from populate_operator.jobs import BadKey, Complete, Error, Fence, JobTable, Release, Settlement
from tests.integration.jobs.pipelines import Pipeline, build_imaging, declare_imaging, empty_imaging

KEY = {"subject": 1, "method": "otsu"}


class Sides(NamedTuple):
    """Two pipelines, DataJoint's queue of the first and our queue of the second."""

    theirs: Pipeline
    ours: Pipeline
    datajoint: Any
    jobs: JobTable

    def both(self, statement: str) -> None:
        for pipeline in (self.theirs, self.ours):
            pipeline.query(statement.format(s=f"`{pipeline.name}`"))

    def age(self, seconds: float) -> None:
        for pipeline in (self.theirs, self.ours):
            pipeline.age("~~segmentation", seconds)


@pytest.fixture(scope="module")
def pipelines(server: Server) -> Iterator[tuple[Pipeline, Pipeline]]:
    databases = [Database(server, f"populate_test_{secrets.token_hex(6)}").create() for _ in range(2)]
    theirs, ours = (Pipeline(database) for database in databases)
    declare_imaging(theirs)
    declare_imaging(ours)
    yield theirs, ours
    for pipeline, database in zip((theirs, ours), databases, strict=True):
        pipeline.close()
        database.drop()


@pytest.fixture
def sides(pipelines: tuple[Pipeline, Pipeline]) -> Sides:
    for pipeline in pipelines:
        empty_imaging(pipeline)
        build_imaging(pipeline)
    theirs, ours = pipelines
    sides = Sides(theirs, ours, theirs.tables["Segmentation"]().jobs, ours.jobs("Segmentation"))
    sides.datajoint.refresh()
    sides.jobs.refresh()
    return sides


def test_a_reserved_job_whose_key_vanished(sides: Sides) -> None:
    """DataJoint removes it under the hands of its worker; we let the worker end it."""
    sides.datajoint.reserve(KEY)
    sides.jobs.reserve(KEY)
    sides.both("DELETE FROM {s}.subject WHERE subject = 1")
    sides.age(4000)
    assert sides.datajoint.refresh()["removed"] == 1
    assert len(sides.datajoint & KEY) == 0
    assert sides.jobs.refresh()["removed"] == 0
    assert sides.jobs.reserved.keys() == [KEY]


def test_restrictions_and_stale_jobs(sides: Sides) -> None:
    """Both judge staleness by the whole key source: DataJoint too, since 2.3."""
    sides.age(4000)
    assert sides.datajoint.refresh("subject = 0")["removed"] == 0
    assert sides.jobs.refresh("subject = 0")["removed"] == 0


def test_orphans(sides: Sides) -> None:
    """DataJoint deletes and inserts: priority and created_time are lost; we update in place."""
    sides.both("UPDATE {s}.`~~segmentation` SET priority = 2")
    sides.age(1000)
    sides.datajoint.reserve(KEY)
    sides.jobs.reserve(KEY)
    sides.age(1000)
    before = next(iter(sides.jobs.reserved))
    created = (sides.datajoint & KEY).fetch1("created_time")
    assert sides.datajoint.refresh(orphan_timeout=500)["orphaned"] == 1
    assert sides.jobs.refresh(orphan_timeout=500)["orphaned"] == 1
    theirs, [ours] = (sides.datajoint & KEY).fetch1(), sides.jobs.pending.where(KEY)
    assert (theirs["status"], theirs["priority"]) == ("pending", 5)
    assert theirs["created_time"] > created
    assert (ours.status, ours.priority, ours.created_time) == ("pending", 2, before.created_time)


def test_completed_jobs_that_become_pending_again(sides: Sides) -> None:
    """As for orphans."""
    sides.theirs.instance.config.jobs.keep_completed = True
    keeping = sides.ours.jobs("Segmentation", keep_completed=True)
    try:
        sides.both("UPDATE {s}.`~~segmentation` SET priority = 2")
        sides.datajoint.complete(KEY)
        keeping.complete(KEY)
        assert sides.datajoint.refresh()["re_pended"] == 1
        assert keeping.refresh()["re_pended"] == 1
    finally:
        sides.theirs.instance.config.jobs.keep_completed = False
    assert (sides.datajoint & KEY).fetch1("priority") == 5
    assert [job.priority for job in keeping.pending.where(KEY)] == [2]


@pytest.mark.parametrize("status", ["pending", "error"])
def test_pending_and_failed_jobs_whose_row_is_there_already(sides: Sides, status: str) -> None:
    """DataJoint keeps them for ever; we remove them."""
    for pipeline in (sides.theirs, sides.ours):
        pipeline.tables["Segmentation"].insert1(KEY, allow_direct_insert=True)
    if status == "error":
        sides.datajoint.error(KEY, "bad")
        sides.jobs.error(KEY, "bad")
    sides.age(4000)
    assert sides.datajoint.refresh()["removed"] == 0
    assert (sides.datajoint & KEY).fetch1("status") == status
    assert sides.jobs.refresh()["removed"] == 1
    assert sides.jobs.progress()["total"] == sides.jobs.pending.count() == 3


def test_a_late_worker(sides: Sides) -> None:
    """DataJoint lets it destroy its successor's reservation; ours has to present its fence."""
    sides.datajoint.reserve(KEY)
    sides.datajoint.complete(KEY)  # by a worker that had lost the job long ago
    assert len(sides.datajoint & KEY) == 0

    [first] = sides.jobs.reserve_many(1, owner="o", hosts=["pod-1"])
    sides.jobs.settle([Release(first.key, first.fence)])
    successors = sides.jobs.reserve_many(4, owner="o", hosts=["pod-2", "pod-3", "pod-4", "pod-5"])
    late: list[Settlement] = [Complete(first.key, first.fence), Error(first.key, first.fence, "late")]
    assert sides.jobs.settle(late) == [False, False]
    assert sides.jobs.reserved.count() == len(successors) == 4


def test_settling_a_job_that_is_not_there(sides: Sides) -> None:
    """DataJoint is silent or raises, depending on what it was to do; we say that it had no effect."""
    absent = {"subject": 9, "method": "otsu"}
    sides.datajoint.complete(absent)
    with pytest.raises(DataJointError):
        sides.datajoint.error(absent, "bad")
    assert not sides.jobs.complete(absent)
    assert not sides.jobs.error(absent, "bad")
    key = sides.jobs.key(absent)
    assert sides.jobs.settle([Complete(key, Fence("o", "h")), Error(key, Fence("o", "h"), "bad")]) == [
        False,
        False,
    ]


def test_populate_of_a_key_that_makes_nothing(sides: Sides) -> None:
    """`populate(key)` succeeds for a key that does not exist; we can ask the target for its row."""
    absent = {"subject": 9, "method": "otsu"}
    for pipeline in (sides.theirs, sides.ours):
        assert pipeline.tables["Segmentation"].populate(absent) == {"success_count": 0, "error_list": []}
    assert sides.jobs.in_target([absent]) == set()


def test_priorities_that_the_column_cannot_hold(sides: Sides) -> None:
    """DataJoint's settings allow 200 and the server refuses it at the first new job; we refuse it at once."""
    sides.both("DELETE FROM {s}.`~~segmentation`")
    sides.theirs.instance.config.jobs.default_priority = 200
    try:
        with pytest.raises(pymysql.err.DataError, match="Out of range value for column 'priority'"):
            sides.datajoint.refresh()
    finally:
        sides.theirs.instance.config.jobs.default_priority = 5
    with pytest.raises(ValueError, match="from -128 to 127, not 200"):
        sides.ours.jobs("Segmentation", default_priority=200)


def test_restrictions_by_an_attribute_that_is_not_there(sides: Sides) -> None:
    """DataJoint ignores it and adds every key; we refuse it."""
    sides.both("DELETE FROM {s}.`~~segmentation`")
    assert sides.datajoint.refresh({"subjct": 1})["added"] == 4
    with pytest.raises(BadKey, match="'subjct' is not an attribute of the key"):
        sides.jobs.refresh({"subjct": 1})
    assert sides.jobs.progress()["total"] == 0


def test_restrictions_by_columns_of_the_parents(sides: Sides) -> None:
    """DataJoint refuses them for the default key source; we read them as conditions on the parents."""
    sides.both("DELETE FROM {s}.`~~segmentation`")
    with pytest.raises(DataJointError, match="`age` is not found"):
        sides.datajoint.refresh("age > 10")
    assert sides.jobs.refresh("age > 10")["added"] == 2
