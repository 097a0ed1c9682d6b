"""What may become of a reserved job. Every settlement presents the fence of the reservation it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from populate_operator.jobs.keys import Key
from populate_operator.jobs.rows import Fence

MESSAGE_LENGTH = 2047  # characters, as in DataJoint
_CUT = "...truncated"


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

    `counted`: whether the try that ends here counts as an attempt.
    """

    key: Key
    fence: Fence
    delay: float = 0.0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Ignore:
    """The job is never to be run: the row becomes `ignore`."""

    key: Key
    fence: Fence


Settlement: TypeAlias = Complete | Error | Release | Ignore


def cut_message(message: str) -> str:
    """At most 2047 characters; a longer message ends in `...truncated`.

    Source: `datajoint.jobs.Job.error`.
    """
    message = message.encode(errors="replace").decode()  # half a surrogate pair is no text to a database
    if len(message) <= MESSAGE_LENGTH:
        return message
    return message[: MESSAGE_LENGTH - len(_CUT)] + _CUT
