"""One server of our own: its data directory, its process, and the certainty that both go away."""

from __future__ import annotations

import contextlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pymysql

from dev.console import SetupError, run
from dev.databases import engines
from dev.databases.server import Kind, Server

USER = "populate"
START_SECONDS = 120

# Reads one line from the session that owns the server. End of file instead means that the session is gone,
# however it died, and so must be its server and data.
WATCHER = 'read -r farewell || { kill -9 "$1"; rm -rf "$2"; }'


class Instance:
    """A throwaway server: `with Instance("mysql") as instance: instance.server.connect()`.

    `restart` and a `start` after `kill` keep port, account and data; `close` removes the data. The server
    and its data also go when the process that made them dies by any signal. `options` are the server
    program's own and override ours. The data lie in a new folder of `parent`, by default of the system's
    for what is temporary.
    """

    def __init__(self, kind: Kind, *, options: Sequence[str] = (), parent: Path | None = None) -> None:
        self.kind = kind
        engine = engines.find(kind)
        self._engine = replace(engine, options=(*engine.options, *options))
        self.folder = Path(tempfile.mkdtemp(prefix=f"populate-{kind}-", dir=parent))
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        try:
            self.server = initialise(self._engine, self.folder)
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id, or None while the server is down."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server if it is down and wait until it answers; raises SetupError with its log if not."""
        if self.pid is None:
            self._process = spawn(self._engine, self.folder, self.server.port)
            watch = ["sh", "-c", WATCHER, "watcher", str(self._process.pid), str(self.folder)]
            self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
            self.server = wait_until_ready(self.server, self._process, self.folder)

    def stop(self) -> None:
        """Shut the server down in order, as an administrator would; open connections are lost."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Crash the server: nothing is flushed, no connection is told."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Crash the server, for its data is worthless, and remove the data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, sign: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(sign)
            self._process.wait()
        if self._watcher and self._watcher.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._watcher.communicate(b"goodbye\n")
        self._process = self._watcher = None


def initialise(engine: engines.Engine, folder: Path) -> Server:
    """Fill `folder` with an empty server that has one account; returns it, not yet running."""
    run(engine.initialise_command(folder / "data"), log=folder / "server.log")
    server = Server(engine.kind, "127.0.0.1", _free_port(), USER, secrets.token_hex(8))
    account = f"'{server.user}'@'%'"
    (folder / "accounts.sql").write_text(
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION;\n"
    )
    return server


def spawn(engine: engines.Engine, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server in its own session, so that a Ctrl-C meant for the tests is not its own."""
    command = engine.command(folder / "data", port, folder / "accounts.sql")
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], folder: Path) -> Server:
    """The server with its version once it answers; raises SetupError when it ends or stays silent instead."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return server.identified()
        except pymysql.Error:
            time.sleep(0.05)  # neither server tells its parent when it listens
    tail = "\n".join((folder / "server.log").read_text(errors="replace").splitlines()[-12:])
    raise SetupError(f"{server.kind} did not start on port {server.port}; its log ends:\n{tail}")


def _free_port() -> int:
    """A port below the range that outgoing connections take theirs from, so that a restart finds it free."""
    while True:
        port = random.randrange(20000, 32000)  # noqa: S311
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
