"""A worker takes its job back while others put it into the queue again.

The other one comes between the look, which finds no job, and the insert: a refresh, and one whose new job is
reserved at once. Nothing is raised, and one worker has the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dev.databases import Database
from populate_operator.jobs import Fence, JobTable
from populate_operator.jobs.database import Session, Statement
from tests.integration.jobs.arena import create_work

LIVE = Fence("owner", "pod-live")
KEY = {"item_id": 2}


@pytest.fixture
def table(database: Database) -> JobTable:
    """A queue that was emptied, with its keys still to be populated."""
    table = create_work(database, 3)
    table.refresh()
    for number in range(3):
        table.complete({"item_id": number})
    return table


def come_between(patch: pytest.MonkeyPatch, other: Callable[[], Any]) -> None:
    """Do `other` once, on a connection of its own, right before the next insert of a job."""
    execute = Session.execute

    def run(session: Session, statement: Statement) -> int:
        if statement.sql.startswith("INSERT INTO"):
            patch.setattr(Session, "execute", execute)
            other()
        return execute(session, statement)

    patch.setattr(Session, "execute", run)


def test_a_refresh_comes_between(table: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    come_between(monkeypatch, table.refresh)
    assert table.take_back(KEY, fence=LIVE, attempt=2, version="v")
    [job] = table.reserved
    assert (dict(job.key), job.fence, job.attempt, job.version) == (KEY, LIVE, 2, "v")
    assert table.pending.count() == 2


def test_another_reservation_comes_between(table: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    def reserve() -> None:
        table.refresh()
        table.reserve_many(3, owner="owner", hosts=["pod-0", "pod-1", "pod-2"])

    come_between(monkeypatch, reserve)
    assert not table.take_back(KEY, fence=LIVE, attempt=2)
    assert {job.host for job in table.reserved} == {"pod-0", "pod-1", "pod-2"}


def test_an_ignored_job_comes_between(table: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    come_between(monkeypatch, lambda: table.ignore(KEY))
    assert not table.take_back(KEY, fence=LIVE, attempt=2)
    assert table.ignored.keys() == [KEY]
