"""Single jobs and queries on them, as DataJoint has them."""

from __future__ import annotations

import os
import platform
from typing import Any

import pytest

from populate_operator.jobs import BadKey, JobTable
from tests.integration.jobs.pipelines import Pipeline, build_imaging

KEY = {"subject": 1, "method": "otsu"}


@pytest.fixture
def jobs(imaging: Pipeline) -> JobTable:
    """A queue of four jobs."""
    build_imaging(imaging)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh()
    return jobs


def test_reserve_writes_what_datajoint_writes(jobs: JobTable, imaging: Pipeline) -> None:
    assert jobs.reserve(KEY)
    assert not jobs.reserve(KEY)
    [ours] = jobs.reserved
    assert imaging.tables["Segmentation"]().jobs.reserve({"subject": 2, "method": "otsu"})
    [theirs] = jobs.reserved.where({"subject": 2})
    assert (ours.host, ours.pid) == (theirs.host, theirs.pid) == (platform.node(), os.getpid())
    assert (ours.user, ours.version) == (theirs.user, theirs.version)
    assert ours.connection_id > 0 < theirs.connection_id
    assert ours.reserved_seconds is not None
    assert 0 <= ours.reserved_seconds < 60


def test_only_pending_and_due_jobs_are_reserved(jobs: JobTable, imaging: Pipeline) -> None:
    imaging.age("~~segmentation", -100, "subject = 1")
    assert not jobs.reserve(KEY)
    imaging.age("~~segmentation", 100, "subject = 1")
    assert jobs.reserve(KEY)
    for number, status in enumerate(["success", "error", "ignore"]):
        imaging.query(
            f"UPDATE `{imaging.name}`.`~~segmentation` SET status = '{status}' WHERE subject = {number}"
        )
        assert not jobs.reserve({"subject": number, "method": "otsu"})
    assert not jobs.reserve({"subject": 99, "method": "otsu"})


def test_complete(jobs: JobTable, imaging: Pipeline) -> None:
    keeping = imaging.jobs("Segmentation", keep_completed=True)
    assert keeping.complete(KEY, 2.5)
    [job] = jobs.completed
    assert (job.status, job.duration, job.completed_time is None) == ("success", 2.5, False)
    assert jobs.complete(KEY)
    assert not jobs.complete(KEY)
    assert not keeping.complete(KEY)
    assert jobs.progress() == {
        "pending": 3, "reserved": 0, "success": 0, "error": 0, "ignore": 0, "total": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "stack"),
    [
        ("ValueError: bad voltage", "Traceback\n  line\n"),
        ("längere Meldung 🐭 " * 300, "stack ß 🐍\n" * 900),
        ("", ""),
        ("100% of '%s' \\ \"quoted\"", "%d %s %%"),
        ("half \ud83d pair", "half \ud83d pair"),
    ],
)
def test_datajoint_reads_our_errors(jobs: JobTable, imaging: Pipeline, message: str, stack: str) -> None:
    assert jobs.error(KEY, message, stack)
    [theirs] = imaging.tables["Segmentation"]().jobs.errors.to_dicts()
    [ours] = jobs.errors
    clean = message.replace("\ud83d", "?")
    expected = clean if len(clean) <= 2047 else clean[:2035] + "...truncated"
    assert ours.error_message == theirs["error_message"] == expected
    assert ours.error_stack == theirs["error_stack"] == stack.replace("\ud83d", "?")
    assert ours.completed_time is not None
    assert not jobs.error({"subject": 99, "method": "otsu"}, "no such job")


def test_we_read_datajoints_errors(jobs: JobTable, imaging: Pipeline) -> None:
    theirs = imaging.tables["Segmentation"]().jobs
    theirs.error(KEY, "ValueError: ü" * 400, "Traceback ü\n" * 400)
    [job] = jobs.errors
    assert job.error_message.endswith("...truncated")
    assert job.error_stack == "Traceback ü\n" * 400


def test_an_error_stack_of_another_kind_is_shown_and_no_reason_to_fail(
    jobs: JobTable, imaging: Pipeline
) -> None:
    imaging.tables["Segmentation"]().jobs.error(KEY, "bad", error_stack={"not": "text"})
    [job] = jobs.errors
    assert job.error_stack is not None
    assert job.error_stack.startswith("b'dj0")


def test_ignore_a_job_that_is_there_and_one_that_is_not(jobs: JobTable, imaging: Pipeline) -> None:
    jobs.ignore(KEY)
    imaging.jobs("Segmentation", default_priority=9).ignore({"subject": 99, "method": "new"})
    assert [(job.key["subject"], job.priority) for job in jobs.ignored] == [(1, 5), (99, 9)]
    jobs.ignore(KEY)
    assert jobs.progress()["ignore"] == 2


def test_queries(jobs: JobTable, imaging: Pipeline) -> None:
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = 9 - subject")
    imaging.age("~~segmentation", -50, "subject = 2")
    pending = jobs.pending
    assert [job.key["subject"] for job in pending.by_urgency()] == [3, 2, 1, 0]
    assert [key["subject"] for key in pending.due().by_urgency().limit(2).keys()] == [3, 1]  # noqa: SIM118
    assert pending.limit(3).count() == 3
    assert pending.count() == 4
    assert (
        (pending & {"subject": 3}).count()
        == pending.where(jobs.key({"subject": 3, "method": "otsu"})).count()
        == 1
    )
    assert pending.where({}).count() == 4
    with pytest.raises(BadKey, match="'trial' is not an attribute"):
        pending.where({"trial": 3})
    for number in (2, 0, 3):
        jobs.error({"subject": number, "method": "otsu"}, "bad")
        imaging.age("~~segmentation", 10)
    assert [job.key["subject"] for job in jobs.errors.latest().limit(2)] == [3, 0]


def test_an_iteration_that_is_left_early_gives_its_connection_back(jobs: JobTable) -> None:
    for _ in range(12):
        assert next(iter(jobs.pending)).status == "pending"
    assert jobs.pending.count() == 4


def test_when_the_next_job_is_due(jobs: JobTable, imaging: Pipeline) -> None:
    assert jobs.next_due() == 0.0
    imaging.age("~~segmentation", -100)
    imaging.age("~~segmentation", -100, "subject > 0")
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = 1 WHERE subject = 1")
    assert jobs.next_due() == pytest.approx(100, abs=30)
    assert imaging.jobs("Segmentation", restrictions=["subject = 1"]).next_due() == pytest.approx(200, abs=30)
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET status = 'ignore'")
    assert jobs.next_due() is None


def test_what_the_target_has(jobs: JobTable, imaging: Pipeline) -> None:
    keys = [{"subject": number, "method": "otsu"} for number in range(450)]
    segmentation: Any = imaging.tables["Segmentation"]
    segmentation.insert(keys[:3], allow_direct_insert=True)
    assert jobs.in_target(keys) == {jobs.key(key) for key in keys[:3]}
    assert jobs.in_target([]) == set()
    assert jobs.target_progress() == (4, 3)
