"""Servers for development that outlive the command which starts them; their data stay in the cache."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict
from pathlib import Path

from dev.cache import cache_dir, lock
from dev.console import SetupError, say
from dev.databases import engines
from dev.databases.instance import initialise, spawn, wait_until_ready
from dev.databases.server import KINDS, Kind, Server

STOP_SECONDS = 60


def start() -> list[Server]:
    """Start what does not run yet, on the port and with the data of last time; the servers of every kind."""
    with lock("databases"):
        return [_start(kind) for kind in KINDS]


def stop() -> None:
    """Shut the servers down in order; data, port and account stay for the next start."""
    with lock("databases"):
        for kind in KINDS:
            if pid := _pid(kind):
                _end(pid)
                say(f"databases: stopped {kind}")


def running() -> list[Server]:
    """The servers that run now."""
    return [server for kind in KINDS if _pid(kind) and (server := _recorded(kind))]


def _start(kind: Kind) -> Server:
    recorded = _recorded(kind)
    if recorded and _pid(kind):
        return recorded
    engine, folder = engines.find(kind), _folder(kind)
    server = recorded or initialise(engine, folder)
    server = wait_until_ready(server, spawn(engine, folder, server.port), folder)
    (folder / "server.json").write_text(json.dumps(asdict(server)))
    say(f"databases: started {kind} {server.version} on port {server.port}")
    return server


def _folder(kind: Kind) -> Path:
    return cache_dir("databases", kind)


def _recorded(kind: Kind) -> Server | None:
    try:
        return Server(**json.loads((_folder(kind) / "server.json").read_text()))
    except FileNotFoundError:
        return None


def _pid(kind: Kind) -> int | None:
    """The process of our server: the pid file's, unless that number belongs to another program by now."""
    data = _folder(kind) / "data"
    try:
        pid = int((data / "server.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return pid if str(data).encode() in command else None


def _end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_SECONDS)[0]:
            raise SetupError(f"server process {pid} did not stop in {STOP_SECONDS} s: kill -9 {pid}")
    finally:
        os.close(descriptor)
