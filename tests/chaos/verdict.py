"""What a run has shown: pure judgements of what was seen, and the table that is printed."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from tests.chaos.pod import fate
from tests.chaos.schedule import Fault, Inflicted, Kind
from tests.chaos.witness import Run

WORKER = "worker"
TRUE_ERRORS = ("exit code 3", "doomed", "activeDeadlineSeconds")  # of those that can only fail
UNHINDERED_SECONDS = 5.0  # that a pod's program runs at most where nothing holds it up
STARTING_SECONDS = 1.0  # that a program may run before the runtime has told the kubelet of its start
ENDING_SECONDS = 5.0  # after the end of the kubelet, until containerd has ended what it was starting
COMPLETING_SECONDS = 5.0  # that DataJoint may need after its run for the row and the end of the job


@dataclass(frozen=True)
class Evidence:
    """What is left when all is quiet, and what was done before."""

    seed: int
    keys: range
    runs: Sequence[Run]
    rows: Mapping[int, str]  # keys in the target, and who made them
    jobs: Mapping[int, tuple[str, str]]  # status and error of each job that is left
    held: Sequence[str]  # pods with our finalizer
    disrupted: Mapping[str, Kind]  # pods that were deleted or evicted
    inflicted: Sequence[Inflicted] = ()
    settled: Sequence[float] = ()  # moments at which the operator was seen to have settled jobs
    missed: Sequence[Fault] = ()  # there was nothing to break
    stuck: str = ""  # how the queue describes itself where it never came to rest


def by_key(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """Each key's runs, in their order."""
    found = defaultdict[int, list[Run]](list)
    for run in runs:
        found[run.key].append(run)
    return found


def overlaps(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Runs of one key that lived at the same time, the earlier one first."""
    return [
        (first, second)
        for of_one in by_key(runs).values()
        for first, second in combinations(of_one, 2)
        if first.ended is None or first.ended > second.began
    ]


def lost(seen: Evidence) -> list[int]:
    """Keys without a row that have no error of their own either."""
    return [key for key in seen.keys if key not in seen.rows and not _has_true_error(seen, key)]


def violations(seen: Evidence) -> list[str]:
    """Every broken promise, in words; none is what all this is for."""
    ran = by_key(seen.runs)
    found = [f"key {key} is lost: job {seen.jobs.get(key)}, runs {ran[key]}" for key in lost(seen)]
    found += [f"key {key} has a row and a job {seen.jobs[key]}" for key in seen.rows if key in seen.jobs]
    found += [f"key {key} is no key of ours" for key in seen.rows if key not in seen.keys]
    found += [f"pod {name} still has our finalizer" for name in seen.held]
    found += [
        f"key {first.key} ran twice at once: {first} and {second}"
        for first, second in overlaps(seen.runs)
        if not _was_forced(seen, first)
    ]
    found += [
        f"nothing explains that {first} was followed by {second}"
        for of_one in ran.values()
        for first, second in pairwise(of_one)
        if not _is_explained(seen, first)
    ]
    if seen.stuck:
        found.append(f"the queue never came to rest:\n{seen.stuck}")
    return found


def _has_true_error(seen: Evidence, key: int) -> bool:
    status, message = seen.jobs.get(key, ("", ""))
    is_doomed = fate(seen.seed, key, 1 << 30) == "exit"
    return is_doomed and status == "error" and any(words in message for words in TRUE_ERRORS)


def _was_forced(seen: Evidence, run: Run) -> bool:
    return seen.disrupted.get(run.by) is Kind.POD_FORCE_DELETED


def _is_explained(seen: Evidence, run: Run) -> bool:
    """Whether this run had to be followed by another one. Where it made the row it must not be."""
    if run.by == WORKER:
        return _was_server_killed(seen, run)
    if _was_forced(seen, run):  # nobody knows whether it lives: its row may come too late
        return True
    if seen.rows.get(run.key) == run.by:
        return False
    # The deadline counts from the pod's start, which may be long before its program's.
    is_over_deadline = run.ended is None or run.ended - run.began > UNHINDERED_SECONDS
    return (
        run.by in seen.disrupted
        or is_over_deadline
        or _was_start_interrupted(seen, run)
        or fate(seen.seed, run.key, run.attempt) in ("exit", "oom", "hang")
    )


def _was_start_interrupted(seen: Evidence, run: Run) -> bool:
    """Whether its kubelet was killed while it was being started.

    containerd ends a container whose start nobody waits for any more, though its program may run already.
    """
    return run.ended is not None and any(
        one.began - STARTING_SECONDS < run.began and run.ended < one.began + ENDING_SECONDS
        for one in seen.inflicted
        if one.fault.kind is Kind.KUBELET_KILLED
    )


def _was_server_killed(seen: Evidence, run: Run) -> bool:
    """Whether the database went away before DataJoint could complete the job."""
    end = math.inf if run.ended is None else run.ended + COMPLETING_SECONDS
    return any(
        one.began <= end and run.began <= one.ended
        for one in seen.inflicted
        if one.fault.kind is Kind.DATABASE_KILLED
    )


def recoveries(seen: Evidence) -> list[float]:
    """Seconds from each fault's end to the first job that was settled after it, where one was left."""
    found = (
        next((moment - one.ended for moment in seen.settled if moment > one.ended), None)
        for one in seen.inflicted
    )
    return [seconds for seconds in found if seconds is not None]


def table(seen: Evidence) -> str:
    """The run in figures."""
    faults = Counter(one.fault.kind for one in seen.inflicted)
    times = Counter(len(of_one) for of_one in by_key(seen.runs).values())
    lines = [f"| {kind.value} | {faults[kind]} |" for kind in Kind]
    figures = {
        "**faults**": faults.total(),
        "not inflicted (no pod ran)": len(seen.missed),
        "keys": len(seen.keys),
        "rows made": len(seen.rows),
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
