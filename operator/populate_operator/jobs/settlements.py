"""What may become of a reserved job. Every settlement presents the fence of the reservation it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from populate_operator.jobs.keys import Key
from populate_operator.jobs.rows import Fence, Job

MESSAGE_LENGTH = 2047  # characters, as in DataJoint
_CUT = "...truncated"
# MySQL's character sets whose codec is known for sure; of any other only ASCII is used.
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "latin2": "iso8859_2"}


@dataclass(frozen=True, slots=True)
class Complete:
    """The work is done: the row is deleted, or becomes `success` where completed jobs are kept."""

    key: Key
    fence: Fence
    duration: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Error:
    """The work failed for good: the row becomes `error`. A long message is cut as DataJoint cuts it."""

    key: Key
    fence: Fence
    message: str
    stack: str | None = None
    duration: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Release:
    """The job becomes `pending` again, due `delay` seconds from now, in place.

    `counted`: whether the try that ends here counts as an attempt. `carry`: a number of the caller's own,
    kept in `connection_id` until the job is reserved by `reserve_many`, which hands it on.
    """

    key: Key
    fence: Fence
    delay: float = 0.0
    counted: bool = True
    carry: int = 0


@dataclass(frozen=True, slots=True)
class Ignore:
    """The job is never to be run: the row becomes `ignore`."""

    key: Key
    fence: Fence


Settlement: TypeAlias = Complete | Error | Release | Ignore


def end_unseen(job: Job, *, is_done: bool) -> Settlement:
    """The end of a reservation of which nobody saw the end: the target decides, and no try is counted."""
    if is_done:
        return Complete(job.key, job.fence)
    return Release(job.key, job.fence, counted=False, carry=job.connection_id)


def fit_message(message: str, charset: str = "utf8mb4") -> str:
    """At most 2047 characters, a longer message ends in `...truncated`; all of the column's `charset`.

    What the character set lacks becomes `?`: that an error is written matters more than its spelling.
    Source of the cut: `datajoint.jobs.Job.error`.
    """
    if len(message) > MESSAGE_LENGTH:
        message = message[: MESSAGE_LENGTH - len(_CUT)] + _CUT
    if charset in ("utf8mb3", "utf8"):
        message = re.sub(r"[^\x00-\uffff]", "?", message)
    codec = _CODECS.get(charset, "ascii")
    return message.encode(codec, errors="replace").decode(codec)
