"""How soon work goes on after a long outage: from the end of the outage to the settled outcomes that waited.

`python -m bench.recovery --seconds 300` lets two pods of each queue end while, side by side, one way to the
database is refused and one silent; then while the server is dead; then while the API server is out of reach.
Needs a native cluster with the operator's image (`make images`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dev.cluster import current
from dev.console import main_or_exit, say
from tests.e2e.lab.outage import FAILS, Case, Lab, outage_lab
from tests.e2e.lab.queues import eventually

Act = Callable[[], object]


def at_work(lab: Lab) -> Case:
    """A queue with two pods that wait at the gate; a third job is pending."""
    case = lab.case()
    case.begin()
    eventually("two pods work", lambda: len(case.at_the_gate()) == 2, queue=case.queue)
    return case


def let_end(case: Case) -> None:
    names = case.at_the_gate()
    case.gate.let_through(*names)
    eventually("ended", lambda: not {pod["metadata"]["name"] for pod in case.queue.running()} & set(names))


def has_gone_on(case: Case) -> bool:
    """Whether both outcomes are settled and the third job is reserved."""
    statuses = {key: status for key, (status, _) in case.jobs().items()}
    return statuses == {FAILS: "error", 3: "reserved"}


def recovery(case: Case) -> float:
    """Seconds until it has gone on, from now; then its last pod is let through."""
    began = time.monotonic()
    while not has_gone_on(case):
        time.sleep(0.02)
    seconds = time.monotonic() - began
    case.gate.let_through(*case.at_the_gate())
    return seconds


def of_ways(lab: Lab, seconds: float) -> dict[str, float]:
    refused, silent = at_work(lab), at_work(lab)
    refused.way.refuse()
    silent.way.silence()
    for case in (refused, silent):
        let_end(case)
    time.sleep(seconds)
    found = {}
    for name, case in (("database refused", refused), ("database silent", silent)):
        case.way.mend()
        found[name] = recovery(case)
    return found


def of_server(lab: Lab, seconds: float) -> float:
    case = at_work(lab)
    lab.instance.kill()
    let_end(case)
    time.sleep(seconds)
    lab.instance.start()
    return recovery(case)


def of_api_server(lab: Lab, seconds: float) -> float:
    """The operator loses its lease, ends, and is started again, as a kubelet would."""
    case = at_work(lab)
    lab.api.refuse()
    lab.operator.wait()
    lab.operator.start()
    let_end(case)
    time.sleep(seconds)
    lab.api.mend()
    return recovery(case)


def main() -> None:
    parser = argparse.ArgumentParser(prog="recovery", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long each outage lasts")
    asked = parser.parse_args()
    with outage_lab(current(), "recovery", Path(tempfile.mkdtemp(prefix="populate-recovery-"))) as lab:
        say(f"the ways to the database, {asked.seconds:.0f} s")
        found = of_ways(lab, asked.seconds)
        say("the server of the database")
        found["database server killed"] = of_server(lab, asked.seconds)
        say("the way to the API server")
        found["API server refused"] = of_api_server(lab, asked.seconds)
    print("| outage of " + f"{asked.seconds:.0f} s" + " | goes on after |\n|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.1f} s |")


if __name__ == "__main__":
    main_or_exit(main)
