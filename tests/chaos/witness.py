"""Who ran which key from when until when: every run holds a connection for as long as its process lives.

Neither the database nor Kubernetes has part in it, so that their failures do not blur it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass


@dataclass
class Run:
    """One execution of a key; times are of this machine's monotonic clock, `ended` None while it lives."""

    key: int
    attempt: int
    by: str
    began: float
    ended: float | None = None


class Witness:
    """Listens on `address`; `runs` are in the order of their beginning."""

    def __init__(self, address: str) -> None:
        self.runs: list[Run] = []
        self._listener = socket.create_server((address, 0), backlog=64)
        self.address, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as lines, contextlib.suppress(OSError):
            words = lines.readline().split()
            if not words:  # it ended before it said who it is
                return
            run = Run(int(words[0]), int(words[1]), words[2], time.monotonic())
            self.runs.append(run)
            try:
                lines.read()
            finally:
                run.ended = time.monotonic()
