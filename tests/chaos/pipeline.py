"""The same tables as a DataJoint user has them, and a worker that competes for the keys."""

from __future__ import annotations

import os
import socket
import time

import datajoint as dj

from tests.chaos.pod import fate

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
    maker : varchar(255)
    """

    def make(self, key: dict[str, int]) -> None:
        session = key["session"]
        address = os.environ["WITNESS_HOST"], int(os.environ["WITNESS_PORT"])
        with socket.create_connection(address) as witness:
            witness.sendall(f"{session} 1 worker\n".encode())
            time.sleep(0.5)
            if fate(int(os.environ["SEED"]), session, 1 << 30) == "exit":
                raise ValueError("doomed")
            self.insert1({**key, "maker": "worker"})


def main() -> None:
    """One job in two seconds, until an error ends it; whoever started this starts it again, as a user does.

    DataJoint's connection may never be of use any more once the database has failed it in a transaction.
    """
    while True:
        Spikes.populate(reserve_jobs=True, max_calls=1, suppress_errors=True)
        time.sleep(2.0)


if __name__ == "__main__":
    main()
