"""One cgroup per cluster, in every hierarchy the machine has (version 1, 2 or both).

It is how `down` finds every process of a cluster, containers included, whatever else was forgotten.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from dev.console import SetupError

PATIENCE = 60.0  # seconds for the kernel to let go of what was killed


def make(cgroup: str) -> None:
    """Create the cgroup in every hierarchy."""
    for root in hierarchies():
        path = root
        for part in Path(cgroup.lstrip("/")).parts:
            _delegate(path)
            path = path / part
            path.mkdir(exist_ok=True)
            _inherit_cpuset(path)


def enter(cgroup: str) -> None:
    """Move this process into the cgroup; for use between fork and exec."""
    for root in hierarchies():
        (root / cgroup.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))


def kill(cgroup: str) -> None:
    """Kill every process at or below the cgroup and wait until none is left.

    Raises SetupError when some survive.
    """
    deadline = time.monotonic() + PATIENCE
    while alive := set(processes(cgroup)):
        if time.monotonic() > deadline:
            raise SetupError(f"processes {sorted(alive)} of {cgroup} do not die; a reboot removes them")
        for pid in alive:
            _kill(pid)
        time.sleep(0.05)


def processes(cgroup: str) -> Iterator[int]:
    """Process ids at or below the cgroup, of any hierarchy."""
    for folder in _folders(cgroup):
        try:
            yield from map(int, (folder / "cgroup.procs").read_text().split())
        except FileNotFoundError:
            continue


def remove(cgroup: str) -> None:
    """Remove the cgroup, all below it, and its parent when that is left empty."""
    deadline = time.monotonic() + PATIENCE
    while folders := list(_folders(cgroup)):
        for folder in folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError as busy:
                if time.monotonic() > deadline:
                    raise SetupError(f"cgroup {folder} cannot be removed: {busy.strerror}") from busy
                time.sleep(0.05)
    for root in hierarchies():
        parent = (root / cgroup.lstrip("/")).parent
        if parent != root and parent.exists() and not any(parent.glob("*/")):
            parent.rmdir()


def hierarchies() -> list[Path]:
    """Where the machine's cgroup hierarchies are mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]


def _folders(cgroup: str) -> Iterator[Path]:
    """The cgroup's folders, deepest first, so that they can be removed in this order."""
    for root in hierarchies():
        for folder, _, _ in os.walk(root / cgroup.lstrip("/"), topdown=False):
            yield Path(folder)


def _delegate(path: Path) -> None:
    """Version 2 gives a child only the controllers its parent hands down; the kubelet wants them all."""
    file = path / "cgroup.controllers"
    available = file.read_text().split() if file.exists() else []
    if "memory" not in available:  # a machine of version 1 keeps the controllers that count there
        return
    for controller in available:
        # Some cannot be handed down everywhere; the kubelet names those that it cannot do without.
        with contextlib.suppress(OSError):
            (path / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(path: Path) -> None:
    """A new cpuset of version 1 is empty and takes no process until it has CPUs and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = path / name
        if file.exists() and not file.read_text().strip():
            inherited = (path.parent / name).read_text().strip()
            if inherited:
                file.write_text(inherited)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
