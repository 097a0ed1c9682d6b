"""What a run has shown: pure judgements of what was seen, and the table that is printed."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.pod import fate
from tests.chaos.schedule import Fault, Kind
from tests.chaos.witness import Run

WORKER = "worker"


@dataclass(frozen=True)
class Evidence:
    """What is left when all is quiet, and what was done before."""

    seed: int
    keys: range
    runs: Sequence[Run]
    rows: Iterable[int]  # keys in the target
    jobs: Mapping[int, tuple[str, str]]  # status and error of each job that is left
    held: Sequence[str]  # pods with our finalizer
    disrupted: Mapping[str, Kind]  # pods that were deleted or evicted
    inflicted: Sequence[tuple[Fault, float]] = ()  # with the moment of its end
    settled: Sequence[float] = ()  # moments at which the operator was seen to have settled jobs
    missed: Sequence[Fault] = ()  # no pod ran, or the API server was down
    stuck: str = ""  # how the queue describes itself where it never came to rest


def by_key(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """Each key's runs, in their order."""
    found = defaultdict[int, list[Run]](list)
    for run in runs:
        found[run.key].append(run)
    return found


def overlaps(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Runs of one key that lived at the same time."""
    return [
        (first, second)
        for of_one in by_key(runs).values()
        for first, second in pairwise(of_one)
        if first.ended is None or first.ended > second.began
    ]


def lost(seen: Evidence) -> list[int]:
    """Keys without a row that have no error of their own either."""
    rows = set(seen.rows)
    return [key for key in seen.keys if key not in rows and not _has_true_error(seen, key)]


def violations(seen: Evidence) -> list[str]:
    """Every broken promise, in words; none is what all this is for."""
    rows, ran = set(seen.rows), by_key(seen.runs)
    found = [f"key {key} is lost: job {seen.jobs.get(key)}, runs {ran[key]}" for key in lost(seen)]
    found += [f"key {key} has a row and a job {seen.jobs[key]}" for key in sorted(rows & seen.jobs.keys())]
    found += [f"key {key} is no key of ours" for key in sorted(rows - set(seen.keys))]
    found += [f"pod {name} still has our finalizer" for name in seen.held]
    found += [
        f"key {first.key} ran twice at once: {first} and {second}"
        for first, second in overlaps(seen.runs)
        if seen.disrupted.get(first.by) is not Kind.POD_FORCE_DELETED
    ]
    for of_one in ran.values():
        found += [
            f"nothing explains the repeat after {run}" for run in of_one[:-1] if not _explained(seen, run)
        ]
    if seen.stuck:
        found.append(f"the queue never came to rest:\n{seen.stuck}")
    return found


def _has_true_error(seen: Evidence, key: int) -> bool:
    status, message = seen.jobs.get(key, ("", ""))
    is_doomed = fate(seen.seed, key, 1 << 30) == "exit"
    return is_doomed and status == "error" and ("exit code 3" in message or "doomed" in message)


def _explained(seen: Evidence, run: Run) -> bool:
    """Whether this run had to be followed by another one."""
    # A pod that is deleted after its row was made is complete: only where that came too late it runs again.
    return (
        run.by in seen.disrupted
        or run.by == WORKER
        or fate(seen.seed, run.key, run.attempt) in ("exit", "oom", "hang")
    )


def recoveries(seen: Evidence) -> list[float]:
    """Seconds from each fault's end to the first job that was settled after it, where one was left."""
    found = (
        next((moment - end for moment in seen.settled if moment > end), None) for _, end in seen.inflicted
    )
    return [seconds for seconds in found if seconds is not None]


def table(seen: Evidence) -> str:
    """The run in figures."""
    faults = Counter(fault.kind for fault, _ in seen.inflicted)
    times = Counter(len(of_one) for of_one in by_key(seen.runs).values())
    lines = [f"| {kind.value} | {faults[kind]} |" for kind in Kind]
    figures = {
        "**faults**": faults.total(),
        "not inflicted (no pod, or the API server was down)": len(seen.missed),
        "keys": len(seen.keys),
        "rows made": len(set(seen.rows)),
        "true errors": sum(status == "error" for status, _ in seen.jobs.values()),
        "executions": len(seen.runs),
        "of these by a DataJoint worker": sum(run.by == WORKER for run in seen.runs),
        "keys executed n times": ", ".join(f"{n}: {count}" for n, count in sorted(times.items())),
        "executions at the same time": len(overlaps(seen.runs)),
        "lost": len(lost(seen)),
        "recovery p50 / p95 / max": _quantiles(recoveries(seen)),
    }
    lines += [f"| {name} | {figure} |" for name, figure in figures.items()]
    return "\n".join([f"| seed {seen.seed} | |", "|---|---|", *lines])


def _quantiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "too few"
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return f"{cuts[9]:.1f} / {cuts[18]:.1f} / {max(values):.1f} s"
