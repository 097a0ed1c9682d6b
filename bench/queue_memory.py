"""How much memory a refresh takes in a process of its own: `python -m bench.queue_memory` with JSON on stdin.

Prints the MB by which the process's peak is over what it had after the import, and the keys it added.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from dev.cache import REPOSITORY
from dev.databases import Server
from populate_operator.jobs import Database, JobTable


def measure(server: Server, schema: str) -> dict[str, Any]:
    """Refresh `Work` of `schema` in a new process: `peak_mb` over its import, and `added`."""
    order = {
        "account": {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
        },
        "schema": schema,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.queue_memory"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"},
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def resident_mb(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (the peak) of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def main() -> None:
    order = json.load(sys.stdin)
    before = resident_mb("VmRSS")
    added = JobTable(Database(**order["account"]), schema=order["schema"], table="Work").refresh()["added"]
    print(json.dumps({"peak_mb": round(resident_mb("VmHWM") - before, 1), "added": added}))


if __name__ == "__main__":
    main()
