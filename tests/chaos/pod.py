"""What a job's pod runs: it names itself to the witness, then meets the fate that seed, key and attempt give.

The text of this file is the pod's program; the verdict asks `fate` what must have happened.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import time

import pymysql

DOOMED = 0.03  # of the keys: they fail at every attempt
FATES = {"ok": 0.80, "late": 0.06, "exit": 0.08, "oom": 0.04, "hang": 0.02}
HARMLESS_ATTEMPT = 3  # from here on only the doomed fail
DEADLINE = 45  # seconds, of the pod: a database that is away for longer costs the attempt
WORK = (0.5, 2.5)  # seconds


def fate(seed: int, key: int, attempt: int) -> str:
    """`ok`, `late` (the row is made, then exit code 1), `exit` (3), `oom` or `hang`."""
    if random.Random(f"{seed}/{key}").random() < DOOMED:  # noqa: S311
        return "exit"
    if attempt >= HARMLESS_ATTEMPT:
        return "ok"
    rng = random.Random(f"{seed}/{key}/{attempt}")  # noqa: S311
    return rng.choices(list(FATES), list(FATES.values()))[0]


def insert(key: int) -> None:
    """Make the row, however often the database fails meanwhile."""
    while True:
        try:
            connection = pymysql.connect(
                host=os.environ["DJ_HOST"],
                port=int(os.environ["DJ_PORT"]),
                user=os.environ["DJ_USER"],
                password=os.environ["DJ_PASS"],
                database=os.environ["POPULATE_SCHEMA"],
                autocommit=True,
                connect_timeout=5,
                read_timeout=5,
            )
            with connection, connection.cursor() as cursor:
                row = (key, os.environ["POPULATE_POD"])
                cursor.execute("INSERT INTO __spikes (session, maker) VALUES (%s, %s)", row)
            return
        except pymysql.err.IntegrityError:
            return  # it was made: by our insert whose answer was lost, or by another run
        except pymysql.err.Error:
            time.sleep(0.2)


def main() -> None:
    key = json.loads(os.environ["POPULATE_KEY"])["session"]
    attempt = int(os.environ["POPULATE_ATTEMPT"])
    witness = socket.create_connection((os.environ["WITNESS_HOST"], int(os.environ["WITNESS_PORT"])))
    witness.sendall(f"{key} {attempt} {os.environ['POPULATE_POD']}\n".encode())
    time.sleep(random.uniform(*WORK))  # noqa: S311
    end = fate(int(os.environ["SEED"]), key, attempt)
    if end == "hang":
        time.sleep(3600)
    if end == "oom":
        bytearray(200 << 20)
    if end in ("ok", "late"):
        insert(key)
    print("session", key, end, flush=True)
    sys.exit({"exit": 3, "late": 1}.get(end, 0))


if __name__ == "__main__":
    main()
