"""A row of a jobs table as a typed value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from populate_operator.jobs.blobs import unpack_text
from populate_operator.jobs.keys import Key, KeySchema

Status = Literal["pending", "reserved", "success", "error", "ignore"]
STATUSES: tuple[Status, ...] = ("pending", "reserved", "success", "error", "ignore")


class Fence(NamedTuple):
    """Who holds a reservation: the owner, and the one worker (a pod's name) that it was made for."""

    owner: str
    host: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was when it was read. Times are the database's clock in the server's own zone."""

    key: Key
    status: Status
    priority: int  # lower is more urgent
    created_time: datetime
    scheduled_time: datetime  # not to be started before
    reserved_time: datetime | None
    completed_time: datetime | None
    duration: float | None  # seconds
    error_message: str
    error_stack: str | None
    user: str  # the owner where `reserve_many` reserved it, else the database account of the worker
    host: str  # the fence where `reserve_many` reserved it, else the worker's host name
    pid: int  # the attempt where `reserve_many` reserved it, else the worker's process
    connection_id: int  # what `Release.carry` left, else the session of the worker that reserved it
    version: str
    reserved_seconds: float | None  # how long ago it was reserved, by the database's clock
    completed_at: datetime | None  # `completed_time` in UTC, and with that zone

    @property
    def attempt(self) -> int:
        """The number of this try, 1 for the first; meaningful where `reserve_many` reserved it."""
        return self.pid

    @property
    def fence(self) -> Fence:
        """What a settlement of this reservation has to present."""
        return Fence(self.user, self.host)


def read_job(keys: KeySchema, row: Sequence[Any]) -> Job:
    """A job from a row of `job_statements.build_select_jobs`."""
    rest = list(row[len(keys.attributes) :])
    stack, age, completed = rest[8], rest[14], rest[15]
    rest[8] = None if stack is None else _readable(stack)
    rest[14] = None if age is None else float(age)
    rest[15] = _moment(completed)
    return Job(keys.from_row(row), *rest)


def read_claimed(
    keys: KeySchema,
    row: Sequence[Any],
    name_host: Callable[[Key, int], str],
    common: tuple[datetime, str, str],
) -> Job:
    """A job that is being reserved, from a row of `job_statements.build_claim`.

    `name_host` is asked with the key and the attempt; `common`: time, owner, version.
    """
    key, own = keys.from_row(row), row[len(keys.attributes) :]
    priority, created, scheduled, completed, duration, message, stack, pid, connection_id, user, at, _ = own
    reserved, owner, version = common
    # As `job_statements.build_reserve_claimed` writes them: a worker's process and session count for nothing.
    attempts, carried = (pid, connection_id) if user == "" else (0, 0)
    return Job(
        key=key,
        status="reserved",
        priority=priority,
        created_time=created,
        scheduled_time=scheduled,
        reserved_time=reserved,
        completed_time=completed,
        duration=duration,
        error_message=message,
        error_stack=None if stack is None else _readable(stack),
        user=owner,
        host=name_host(key, attempts + 1),
        pid=attempts + 1,
        connection_id=carried,
        version=version,
        reserved_seconds=0.0,
        completed_at=_moment(at),
    )


def _moment(seconds: Decimal | None) -> datetime | None:
    """From seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC)


def _readable(stack: bytes) -> str:
    try:
        return unpack_text(stack)
    except ValueError:  # written by something else than DataJoint: shown, never a reason to fail
        return repr(stack[:1000])
