"""A pipeline in DataJoint whose sessions meet different fates; pods get this file from a ConfigMap."""

from __future__ import annotations

import os

import datajoint as dj

schema = dj.Schema(os.environ["POPULATE_SCHEMA"])

LONG = "電圧 " * 500


def descend(depth: int) -> None:
    """Fail so deep, and by turns with `descend_on`, that the traceback is long and not folded."""
    if depth == 0:
        raise ZeroDivisionError("at the bottom")
    descend_on(depth - 1)


def descend_on(depth: int) -> None:
    descend(depth)


@schema
class Session(dj.Manual):  # type: ignore[misc]
    definition = """
    session : int32
    """


@schema
class Spikes(dj.Computed):  # type: ignore[misc]
    definition = """
    -> Session
    """

    def make(self, key: dict[str, int]) -> None:
        match key["session"]:
            case 1:
                self.insert1(key)
            case 2:
                raise ValueError("bad voltage")
            case 3:
                raise ValueError(LONG)
            case 4:
                descend(60)
            case 5:
                self.insert1(key)
                raise KeyError("after the insert")
            case 6:
                return
