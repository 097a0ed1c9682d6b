"""Refresh: what is added, removed, re-pended, and when.

- delay and priority of new jobs, by the database's clock
- stale, vanished, done and orphaned jobs, each left alone for every reason not to touch it
- keep_completed
- what the server refuses for a reason that is none of the key source
- nothing to do; many pages; refreshes at the same time
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from populate_operator.jobs import Complete, Error, Job, JobTable, StatementRefused
from tests.integration.jobs.pipelines import Pipeline, build_imaging


def subject_of(job: Job) -> int:
    subject = job.key["subject"]
    assert isinstance(subject, int)
    return subject


def statuses(jobs: JobTable) -> dict[int, str]:
    """The status of each subject's job."""
    queries = (jobs.pending, jobs.reserved, jobs.errors, jobs.completed, jobs.ignored)
    return {subject_of(job): job.status for query in queries for job in query}


def key(subject: int) -> dict[str, Any]:
    return {"subject": subject, "method": "otsu"}


def counts(added: int = 0, removed: int = 0, orphaned: int = 0, re_pended: int = 0) -> dict[str, int]:
    return {"added": added, "removed": removed, "orphaned": orphaned, "re_pended": re_pended}


def test_new_jobs_have_the_priority_and_delay_asked_for(imaging: Pipeline) -> None:
    build_imaging(imaging)
    jobs = imaging.jobs("Segmentation", default_priority=7)
    assert jobs.refresh("subject = 0") == counts(added=1)
    assert jobs.refresh("subject = 1", priority=-3, delay=100.5) == counts(added=1)
    assert jobs.refresh(delay=-1) == counts(added=2)
    now, later, past, _ = sorted(jobs.pending, key=subject_of)
    assert [now.priority, later.priority, past.priority] == [7, -3, 7]
    assert now.scheduled_time == now.created_time
    assert (later.scheduled_time - later.created_time).total_seconds() == pytest.approx(100.5, abs=0.002)
    assert (past.scheduled_time - past.created_time).total_seconds() == pytest.approx(-1, abs=0.002)
    assert jobs.pending.due().count() == 3
    assert jobs.pending.scheduled().keys() == [key(1)]


def test_a_refusal_for_another_reason_is_not_blamed_on_the_keys(pipeline: Pipeline) -> None:
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh("FALSE")
    pipeline.query(
        f"CREATE TRIGGER `{pipeline.name}`.closed BEFORE INSERT ON `{pipeline.name}`.`~~segmentation` "
        "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closed for the night'"
    )
    with pytest.raises(StatementRefused, match="closed for the night"):
        jobs.refresh()


@pytest.mark.parametrize("priority", [-129, 128, 200])
def test_a_priority_that_the_column_cannot_hold_is_refused(imaging: Pipeline, priority: int) -> None:
    build_imaging(imaging)
    with pytest.raises(ValueError, match="from -128 to 127"):
        imaging.jobs("Segmentation", default_priority=priority)
    with pytest.raises(ValueError, match="from -128 to 127"):
        imaging.jobs("Segmentation").refresh(priority=priority)


def test_stale_jobs_are_removed_but_not_those_at_work_or_ignored(imaging: Pipeline) -> None:
    build_imaging(imaging, subjects=6)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh("subject < 5")
    jobs.reserve(key(1))
    jobs.ignore(key(2))
    jobs.error(key(3), "bad")
    imaging.query(f"DELETE FROM `{imaging.name}`.subject WHERE subject < 5")
    assert jobs.refresh(stale_timeout=0) == counts(added=1, removed=1)  # an error without key and row
    assert statuses(jobs) == {0: "pending", 1: "reserved", 2: "ignore", 4: "pending", 5: "pending"}
    assert jobs.refresh() == counts()
    imaging.age("~~segmentation", 1000)
    assert jobs.refresh() == counts()
    assert jobs.refresh(stale_timeout=1100) == counts()
    assert jobs.refresh("subject = 0", stale_timeout=900) == counts(removed=2)
    assert statuses(jobs) == {1: "reserved", 2: "ignore", 5: "pending"}
    imaging.age("~~segmentation", 3600)
    assert jobs.refresh() == counts()


def test_restrictions_never_remove_other_jobs(imaging: Pipeline) -> None:
    build_imaging(imaging)
    imaging.jobs("Segmentation").refresh()
    imaging.age("~~segmentation", 9999)
    restricted = imaging.jobs("Segmentation", restrictions=["subject = 0"])
    assert restricted.refresh("subject < 0") == counts()
    assert restricted.pending.count() == 4


def test_jobs_whose_row_is_made_already_are_removed(imaging: Pipeline) -> None:
    segmentation = build_imaging(imaging)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh()
    jobs.reserve(key(0))
    jobs.error(key(1), "bad")
    segmentation.insert([key(number) for number in range(3)], allow_direct_insert=True)
    assert jobs.refresh() == counts(removed=2)
    assert statuses(jobs) == {0: "reserved", 3: "pending"}


@pytest.mark.parametrize("keep_completed", [False, True])
def test_completed_jobs_whose_row_left_the_target(imaging: Pipeline, keep_completed: bool) -> None:
    segmentation = build_imaging(imaging)
    jobs = imaging.jobs("Segmentation", keep_completed=keep_completed)
    jobs.refresh(priority=3)
    claimed = jobs.reserve_many(4, owner="o", hosts=list("abcd"), version="v1")
    segmentation.insert([key(number) for number in range(4)], allow_direct_insert=True)
    jobs.settle([Complete(job.key, job.fence, 1.5) for job in claimed])
    imaging.age("~~segmentation", 100)
    imaging.query(f"DELETE FROM `{imaging.name}`.__segmentation WHERE subject < 2")
    if not keep_completed:
        assert jobs.refresh() == counts(added=2)
        return
    before = {job.key: job for job in jobs.completed}
    assert jobs.refresh("subject = 0") == counts(re_pended=1)
    [job] = jobs.pending
    assert (job.priority, job.created_time) == (3, before[job.key].created_time)
    assert job.scheduled_time > before[job.key].scheduled_time
    assert (job.pid, job.user, job.host, job.version, job.duration) == (0, "", "", "", None)
    assert (job.reserved_time, job.completed_time) == (None, None)
    assert statuses(jobs) == {0: "pending", 1: "success", 2: "success", 3: "success"}


def test_orphans_of_others_are_pending_again_in_place(imaging: Pipeline) -> None:
    build_imaging(imaging)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh(priority=3)
    for number in range(2):
        jobs.reserve(key(number))
    [ours] = jobs.reserve_many(1, owner="populatequeue/a/b", hosts=["pod"])
    imaging.age("~~segmentation", 500)
    before = {job.key: job for job in jobs.reserved}
    arguments: dict[str, Any] = {"spared_owners": ["populatequeue/"], "stale_timeout": 0}
    for timeout in (None, 0, 600):
        assert jobs.refresh(orphan_timeout=timeout, **arguments) == counts()
    assert jobs.refresh(orphan_timeout=400, **arguments) == counts(orphaned=2)
    assert [job.fence for job in jobs.reserved] == [ours.fence]
    for number in range(2):
        [job] = jobs.pending.where(key(number))
        assert (job.priority, job.created_time) == (3, before[job.key].created_time)
        assert (job.pid, job.user, job.host, job.connection_id, job.reserved_time) == (0, "", "", 0, None)
        assert jobs.reserve(key(number))
    assert jobs.refresh(orphan_timeout=400) == counts(orphaned=1)


def test_errors_stay(imaging: Pipeline) -> None:
    build_imaging(imaging)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh()
    [job] = jobs.reserve_many(1, owner="o", hosts=["a"])
    jobs.settle([Error(job.key, job.fence, "bad")])
    imaging.age("~~segmentation", 99999)
    assert jobs.refresh(orphan_timeout=1) == counts()
    assert jobs.errors.count() == 1


def test_many_pages(imaging: Pipeline) -> None:
    """More keys than are read or written at once."""
    build_imaging(imaging, subjects=0)
    imaging.query(
        f"INSERT INTO `{imaging.name}`.subject (subject, age) "
        "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 999) "
        "SELECT a.i * 25 + b.i, 0 FROM n AS a JOIN n AS b ON b.i < 25"
    )
    jobs = imaging.jobs("Segmentation", keep_completed=True)
    assert jobs.refresh() == counts(added=25_000)
    assert jobs.refresh() == counts()
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET status = 'success' WHERE subject %% 2 = 0")
    assert jobs.refresh() == counts(re_pended=12_500)
    imaging.query(
        f"INSERT INTO `{imaging.name}`.__segmentation (subject, method) "
        f"SELECT subject, method FROM `{imaging.name}`.`~~segmentation` WHERE subject < 12000"
    )
    assert jobs.refresh() == counts(removed=12_000)
    imaging.query(f"DELETE FROM `{imaging.name}`.__segmentation")
    imaging.query(f"DELETE FROM `{imaging.name}`.subject")
    imaging.age("~~segmentation", 9999)
    assert jobs.refresh() == counts(removed=13_000)
    assert sum(1 for _ in jobs.pending) == jobs.progress()["total"] == 0


def test_refreshes_at_the_same_time_add_each_job_once(imaging: Pipeline) -> None:
    build_imaging(imaging, subjects=500)
    jobs = imaging.jobs("Segmentation")
    jobs.progress()
    start, results = threading.Barrier(4), []

    def refresh() -> None:
        own = imaging.jobs("Segmentation")
        start.wait()
        results.append(own.refresh()["added"])

    threads = [threading.Thread(target=refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == jobs.pending.count() == 500
