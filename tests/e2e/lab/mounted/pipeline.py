"""A pipeline in DataJoint for pods and for workers elsewhere; pods get this file from a ConfigMap."""

from __future__ import annotations

import os
import time

import datajoint as dj

schema = dj.Schema(os.environ["POPULATE_SCHEMA"])


@schema
class Session(dj.Manual):  # type: ignore[misc]
    definition = """
    session : int32
    """


@schema
class Spikes(dj.Computed):  # type: ignore[misc]
    definition = """
    -> Session
    ---
    maker : varchar(255)  # the pod's name, or `worker`
    """

    def make(self, key: dict[str, int]) -> None:
        time.sleep(0.1)
        self.insert1({**key, "maker": os.environ.get("POPULATE_POD", "worker")})


@schema
class Even(dj.Computed):  # type: ignore[misc]
    definition = """
    -> Session
    """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Not the join of the parents: only the class knows."""
        return Session() & "session % 2 = 0"

    def make(self, key: dict[str, int]) -> None:
        self.insert1(key)
