"""A way to a server that a test can break as networks break: refused, silent, slow, forgotten."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BYTES = 65536


class Gateway:
    """Listens on `address`, and passes what comes on to `server` (host, port)."""

    def __init__(self, address: str, server: tuple[str, int]) -> None:
        self._server = server
        self._is_silent = False
        self._delay = 0.0
        self._links: list[_Link] = []
        self._listener = socket.create_server((address, 0))
        self.address, self.port = self._listener.getsockname()[:2]
        self._serve()

    def lead_to(self, server: tuple[str, int]) -> None:
        """New connections are led to another server; those that there are stay with theirs."""
        self._server = server

    def refuse(self) -> None:
        """Nobody listens any more, and connections are reset."""
        _end(self._listener)
        self._reset()

    def silence(self) -> None:
        """Connections stay and new ones are accepted, but not a byte comes through."""
        self._is_silent = True
        for link in self._links:
            link.flowing.clear()

    def slow_down(self, seconds: float) -> None:
        """Whatever is sent arrives that much later."""
        self._delay = seconds

    def forget(self) -> None:
        """The connections that there are stay silent for good; new ones work."""
        self.silence()
        self._links = []
        self._is_silent = False

    def mend(self) -> None:
        """All is as it was; what was held back goes its way."""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server((self.address, self.port))
            self._serve()
        self._is_silent, self._delay = False, 0.0
        for link in self._links:
            link.flowing.set()

    def _reset(self) -> None:
        for link in self._links:
            link.close()
        self._links = []

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = listener.accept()
                try:
                    upstream = socket.create_connection(self._server)
                except OSError:  # as the server itself would have it
                    client.close()
                    continue
                link = _Link(client, upstream, lambda: self._delay)
                self._links.append(link)
                if not self._is_silent:
                    link.flowing.set()
                if listener.fileno() < 0:  # it was closed after it had let this one in
                    link.close()


class _Link:
    """A client's connection and the one to the server in its stead."""

    def __init__(self, client: socket.socket, upstream: socket.socket, delay: Callable[[], float]) -> None:
        self._ends, self._delay = (client, upstream), delay
        self.flowing = threading.Event()
        for source, sink in ((client, upstream), (upstream, client)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            _end(end)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BYTES):
                self.flowing.wait()
                time.sleep(self._delay())
                sink.sendall(data)
        self.flowing.wait()  # a peer that is silent does not say goodbye either
        self.close()


def _end(one: socket.socket) -> None:
    """Wake who waits for it, and reset it: a server that writes would not notice before its own timeout."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def gateway(address: str, server: tuple[str, int]) -> Iterator[Gateway]:
    found = Gateway(address, server)
    try:
        yield found
    finally:
        found.refuse()


class Turnstile:
    """Pods connect, say who they are, and wait until they are let through; no database has part in it."""

    def __init__(self, address: str) -> None:
        self._waiting: dict[str, socket.socket] = {}
        self._listener = socket.create_server((address, 0))
        self.address, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def waiting(self) -> set[str]:
        """The names of those that wait, or were let through."""
        return set(self._waiting)

    def let_through(self, *names: str) -> None:
        for name in names:
            _end(self._waiting[name])

    def close(self) -> None:
        _end(self._listener)
        self.let_through(*self._waiting)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                pod, _ = self._listener.accept()
                name = pod.makefile().readline().strip()
                self._waiting[name] = pod
