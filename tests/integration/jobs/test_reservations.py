"""Batches of reservations, and their settlement under the fence.

- urgency, dueness, limits, hosts, attempts, versions
- every settlement, by the holder of the fence, by a late one, twice, for many
- live workers take back, owners that are gone are released
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from populate_operator.jobs import (
    Complete,
    Error,
    Fence,
    Ignore,
    Job,
    JobTable,
    Key,
    Release,
    Settlement,
)
from tests.integration.jobs.pipelines import Pipeline, build_imaging

OWNER = "populatequeue/installation/uid"
LATE = Fence(OWNER, "another-pod")


@pytest.fixture
def jobs(imaging: Pipeline) -> JobTable:
    """A queue of six jobs."""
    build_imaging(imaging, subjects=6)
    jobs = imaging.jobs("Segmentation")
    jobs.refresh()
    return jobs


def reserve(jobs: JobTable, *hosts: str) -> list[Job]:
    return jobs.reserve_many(len(hosts), owner=OWNER, hosts=hosts, version="registry/image:1")


def only(jobs: JobTable, subject: int) -> Job:
    queries = (jobs.pending, jobs.reserved, jobs.errors, jobs.completed, jobs.ignored)
    [job] = [job for query in queries for job in query.where({"subject": subject})]
    return job


def test_the_most_urgent_due_jobs_each_get_a_host(jobs: JobTable, imaging: Pipeline) -> None:
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = 9 - subject")
    imaging.age("~~segmentation", -100, "subject = 5")
    claimed = reserve(jobs, "pod-a", "pod-b")
    assert [(job.key["subject"], job.host) for job in claimed] == [(4, "pod-a"), (3, "pod-b")]
    stored = {job.key: job for job in jobs.reserved}
    for job in claimed:
        there = stored[job.key]
        assert (there.user, there.host, there.version) == (OWNER, job.host, "registry/image:1")
        assert (there.attempt, there.connection_id, there.status) == (1, 0, "reserved")
        assert there.reserved_time == job.reserved_time
        assert there.fence == job.fence == Fence(OWNER, job.host)
    assert jobs.owned(OWNER).count() == 2
    assert jobs.owned("other").count() == 0
    assert jobs.owners("populatequeue/") == {OWNER: 2}
    assert jobs.owners("other") == {}


@pytest.mark.parametrize(
    ("limit", "hosts", "count"), [(0, "abc", 0), (-1, "abc", 0), (2, "abc", 2), (9, "ab", 2), (9, "", 0)]
)
def test_as_many_as_asked_for_and_hosts_there_are(jobs: JobTable, limit: int, hosts: str, count: int) -> None:
    assert len(jobs.reserve_many(limit, owner=OWNER, hosts=list(hosts))) == count
    assert jobs.reserved.count() == count


def test_hosts_made_from_key_and_attempt(jobs: JobTable) -> None:
    claimed = jobs.reserve_many(
        99, owner=OWNER, hosts=lambda key, attempt: f"pod-{key['subject']!r}-{attempt}"
    )
    assert {job.host for job in claimed} == {f"pod-{number}-1" for number in range(6)}


@pytest.mark.parametrize("host", ["", "x" * 256])
def test_a_host_that_is_no_fence_is_refused_and_nothing_reserved(jobs: JobTable, host: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 characters"):
        reserve(jobs, "good", host)
    assert jobs.reserved.count() == 0


def test_a_long_version_keeps_its_end(jobs: JobTable) -> None:
    [job] = jobs.reserve_many(
        1, owner=OWNER, hosts=["a"], version="registry.example/" + "x" * 60 + "@sha256:end"
    )
    assert (len(job.version), job.version[-11:]) == (64, "@sha256:end")
    assert only(jobs, 0).version == job.version


def test_more_jobs_than_one_statement_takes(imaging: Pipeline) -> None:
    build_imaging(imaging, subjects=1200)
    jobs = imaging.jobs("Segmentation", keep_completed=True)
    jobs.refresh()
    claimed = jobs.reserve_many(1200, owner=OWNER, hosts=[f"pod-{number}" for number in range(1200)])
    assert len({job.fence for job in claimed}) == jobs.reserved.count() == 1200
    settlements: list[Settlement] = [Complete(job.key, job.fence) for job in claimed]
    settlements[::3] = [Error(job.key, job.fence, "bad") for job in claimed[::3]]
    assert jobs.settle(settlements) == [True] * 1200
    assert (jobs.completed.count(), jobs.errors.count()) == (800, 400)


def test_a_released_job_carries_a_number_to_its_next_reservation_and_no_further(jobs: JobTable) -> None:
    [job] = reserve(jobs, "a")
    assert job.connection_id == 0
    assert jobs.settle([Release(job.key, job.fence, carry=2)]) == [True]
    [waiting] = jobs.pending.where(job.key)
    assert waiting.connection_id == 2
    [again] = [one for one in reserve(jobs, *"bcdefg") if one.key == job.key]
    [stored] = jobs.reserved.where(job.key)
    assert again.connection_id == stored.connection_id == 2
    assert jobs.settle([Release(again.key, again.fence)]) == [True]
    [waiting] = jobs.pending.where(job.key)
    assert waiting.connection_id == 0


def test_a_number_that_a_worker_left_is_no_attempt_and_is_not_carried(
    jobs: JobTable, imaging: Pipeline
) -> None:
    """Somebody set the job of a DataJoint worker back to pending by hand."""
    assert jobs.reserve({"subject": 0, "method": "otsu"})
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET status = 'pending'")
    waiting = only(jobs, 0)
    assert waiting.user
    assert waiting.connection_id
    [again] = [job for job in reserve(jobs, *"abcdef") if job.key == waiting.key]
    [stored] = jobs.reserved.where(waiting.key)
    for job in (again, stored):
        assert (job.attempt, job.connection_id) == (1, 0)


def test_complete_deletes_or_keeps(jobs: JobTable, imaging: Pipeline) -> None:
    first, second = reserve(jobs, "a", "b")
    assert jobs.settle([Complete(first.key, first.fence, 1.25)]) == [True]
    keeping = imaging.jobs("Segmentation", keep_completed=True)
    assert keeping.settle([Complete(second.key, second.fence, 1.25)]) == [True]
    [job] = jobs.completed
    assert (job.key, job.duration, job.attempt, job.host) == (second.key, 1.25, 1, "b")
    assert job.completed_time is not None
    assert jobs.progress()["total"] == 5


def test_error_keeps_who_it_was(jobs: JobTable) -> None:
    [job] = reserve(jobs, "a")
    settlement = Error(job.key, job.fence, "ValueError: bad 🐭" * 200, "Traceback\n" * 300, 3.5)
    assert jobs.settle([settlement]) == [True]
    [error] = jobs.errors
    assert (error.host, error.user, error.attempt, error.duration) == ("a", OWNER, 1, 3.5)
    assert error.error_message.endswith("...truncated")
    assert error.error_stack == "Traceback\n" * 300
    assert error.reserved_time == job.reserved_time


def test_release_counts_attempts_and_delays_in_place(jobs: JobTable) -> None:
    [job] = reserve(jobs, "a")
    before = only(jobs, 0)
    assert jobs.settle([Release(job.key, job.fence, delay=1000)]) == [True]
    released = only(jobs, 0)
    assert (released.status, released.attempt, released.host, released.user) == ("pending", 1, "", "")
    assert (released.created_time, released.priority) == (before.created_time, before.priority)
    assert (released.scheduled_time - released.created_time).total_seconds() > 900
    assert job.key not in [claimed.key for claimed in reserve(jobs, *"bcdefgh")]


@pytest.mark.parametrize(("counted", "attempt"), [(True, 2), (False, 1)])
def test_the_next_attempt_of_a_released_job(jobs: JobTable, counted: bool, attempt: int) -> None:
    [job] = reserve(jobs, "a")
    jobs.settle([Release(job.key, job.fence, counted=counted)])
    again = {claimed.key: claimed for claimed in reserve(jobs, *"bcdefgh")}
    assert again[job.key].attempt == attempt


def test_ignore_changes_the_status_alone(jobs: JobTable) -> None:
    [job] = reserve(jobs, "a")
    assert jobs.settle([Ignore(job.key, job.fence)]) == [True]
    assert (only(jobs, 0).status, only(jobs, 0).host) == ("ignore", "a")


SETTLEMENTS: dict[str, Callable[[Key, Fence], Settlement]] = {
    "complete": lambda key, fence: Complete(key, fence),
    "error": lambda key, fence: Error(key, fence, "late"),
    "release": lambda key, fence: Release(key, fence),
    "ignore": lambda key, fence: Ignore(key, fence),
}


@pytest.mark.parametrize("settlement", SETTLEMENTS)
def test_without_the_fence_nothing_happens(jobs: JobTable, settlement: str) -> None:
    [job] = reserve(jobs, "a")
    before = only(jobs, 0)
    for fence in (LATE, Fence("another owner", "a"), Fence("", ""), Fence(OWNER, "A")):
        assert jobs.settle([SETTLEMENTS[settlement](job.key, fence)]) == [False]
    after = only(jobs, 0)
    assert replace(after, reserved_seconds=0.0) == replace(before, reserved_seconds=0.0)


def test_a_job_that_somebody_has_locked_holds_up_no_other(jobs: JobTable, imaging: Pipeline) -> None:
    """Neither one of these jobs nor another one of the table, which a DELETE of many keys would read."""
    claimed = reserve(jobs, *"abcde")
    settlements = [Complete(job.key, job.fence) for job in claimed]
    with imaging.instance.connection.transaction:
        for subject in (1, 5):
            imaging.query(
                f"UPDATE `{imaging.name}`.`~~segmentation` SET priority = 1 WHERE subject = %s", (subject,)
            )
        assert jobs.settle(settlements) == [True, None, True, True, True]
    assert jobs.settle(settlements) == [False, True, False, False, False]


def test_a_late_worker_does_not_touch_the_reservation_of_its_successor(jobs: JobTable) -> None:
    [first] = reserve(jobs, "a")
    jobs.settle([Release(first.key, first.fence)])
    successors = {job.key: job for job in reserve(jobs, *"bcdefgh")}
    assert jobs.settle([Complete(first.key, first.fence), Error(first.key, first.fence, "late")]) == [
        False,
        False,
    ]
    assert only(jobs, 0).fence == successors[first.key].fence


def test_a_batch_reports_each_settlement(jobs: JobTable) -> None:
    claimed = reserve(jobs, "a", "b", "c", "d")
    a, b, c, d = claimed
    effects = jobs.settle(
        [
            Complete(a.key, a.fence),
            Complete(a.key, a.fence),
            Error(b.key, LATE, "late"),
            Error(b.key, b.fence, "first"),
            Release(b.key, b.fence),
            Release(c.key, c.fence),
            Ignore(d.key, d.fence),
        ]
    )
    assert effects == [True, False, False, True, False, True, True]
    assert jobs.progress() == {
        "pending": 3, "reserved": 0, "success": 0, "error": 1, "ignore": 1, "total": 5,
    }  # fmt: skip
    assert jobs.settle([]) == []


def test_settling_what_is_no_longer_there(jobs: JobTable, imaging: Pipeline) -> None:
    [job] = reserve(jobs, "a")
    imaging.tables["Segmentation"]().jobs.delete()
    assert jobs.settle([Error(job.key, job.fence, "bad")]) == [False]
    assert jobs.progress()["total"] == 0
    imaging.tables["Segmentation"]().jobs.drop()
    assert jobs.settle([Complete(job.key, job.fence)] * 3) == [False] * 3


def test_a_live_worker_takes_its_job_back(jobs: JobTable, imaging: Pipeline) -> None:
    fence = Fence(OWNER, "pod-live")
    key = jobs.key({"subject": 0, "method": "otsu"})
    assert jobs.take_back(key, fence=fence, attempt=3, version="v")  # it is pending
    job = only(jobs, 0)
    assert (job.fence, job.attempt, job.version, job.status) == (fence, 3, "v", "reserved")
    assert jobs.take_back(key, fence=fence, attempt=3)  # it has it
    assert not jobs.take_back(key, fence=LATE, attempt=1)  # somebody else does
    imaging.tables["Segmentation"]().jobs.drop()
    assert jobs.take_back(key, fence=fence, attempt=3)  # the whole table was dropped
    assert (only(jobs, 0).fence, only(jobs, 0).priority) == (fence, 5)
    imaging.query(f"UPDATE `{imaging.name}`.`~~segmentation` SET status = 'ignore'")
    assert not jobs.take_back(key, fence=fence, attempt=3)
    assert jobs.refresh()["added"] == 5


def test_a_live_worker_takes_its_job_back_that_has_ended_as_of_an_old_dump(
    jobs: JobTable, imaging: Pipeline
) -> None:
    done, failed = reserve(jobs, "old-1", "old-2")
    keeping = imaging.jobs("Segmentation", keep_completed=True)
    ends: list[Settlement] = [
        Complete(done.key, done.fence, 1.5),
        Error(failed.key, failed.fence, "bad", "stack", 2.5),
    ]
    assert keeping.settle(ends) == [True, True]
    for job in (done, failed):
        fence = Fence(OWNER, f"live-{job.host}")
        assert keeping.take_back(job.key, fence=fence, attempt=2)
    taken = {job.key: job for job in keeping.reserved}
    assert [taken[job.key].host for job in (done, failed)] == ["live-old-1", "live-old-2"]
    for job in taken.values():
        assert (job.attempt, job.error_message, job.error_stack) == (2, "", None)
        assert (job.completed_time, job.duration) == (None, None)


def test_the_jobs_of_an_owner_that_is_gone_are_released(jobs: JobTable) -> None:
    reserve(jobs, "a", "b", "c")
    jobs.reserve_many(1, owner="another", hosts=["a"])
    assert jobs.release_owner(OWNER, except_hosts={"b"}) == 2
    assert {job.host for job in jobs.owned(OWNER)} == {"b"}
    assert {job.attempt for job in jobs.pending} == {0}
    assert jobs.release_owner(OWNER) == 1
    assert jobs.owners("") == {"another": 1}


def test_what_an_owner_that_is_gone_had_done_is_not_done_again(jobs: JobTable, imaging: Pipeline) -> None:
    keeping = imaging.jobs("Segmentation", keep_completed=True)
    segmentation = imaging.tables["Segmentation"]
    for table, left in ((jobs, 0), (keeping, 1)):
        done, lost = reserve(table, "done", "lost")
        segmentation.insert1(dict(done.key), allow_direct_insert=True)
        assert table.release_owner(OWNER) == 2
        assert [job.key for job in table.completed] == [done.key] * left
        [waiting] = table.pending.where(lost.key)
        assert waiting.attempt == 0


def test_an_owner_takes_over_what_another_one_had(jobs: JobTable) -> None:
    for owner in ("former", "other", "new"):
        jobs.reserve_many(1, owner=owner, hosts=[f"pod-{owner}"])
    assert jobs.adopt("new", former="former") == 1
    assert {job.host for job in jobs.owned("new")} == {"pod-former", "pod-new"}
    assert jobs.owners("") == {"new": 2, "other": 1}
    assert jobs.adopt("new", former="former") == 0


def test_datajoint_works_on_what_is_left(jobs: JobTable, imaging: Pipeline) -> None:
    """Our reservations are closed to it, our releases open."""
    first, second = reserve(jobs, "a", "b")
    jobs.settle([Release(second.key, second.fence)])
    assert imaging.tables["Segmentation"].populate(reserve_jobs=True)["success_count"] == 5
    assert [job.fence for job in jobs.reserved] == [first.fence]
    assert jobs.progress()["total"] == 1
