"""A proxy that breaks the connection at its COMMIT: before the server gets it, or after it has done it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from dev.databases import Server

COMMIT = b"\x07\x00\x00\x00\x03COMMIT"


class CommitBreaker:
    """Forwards a port of its own to a server. Only plaintext shows where the COMMIT is.

    `break_next`: how many of the next commits break. `lets_pass`: whether the server gets them.
    `refuses_after`: whether nobody can connect any more once a commit broke.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.break_next, self.lets_pass, self.refuses_after = 0, False, False
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection((self.server.host, self.server.port))
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._forward, args=(source, sink, client), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is client and data == COMMIT and self.break_next:
                    self._break(client, sink)
                    return
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _break(self, client: socket.socket, upstream: socket.socket) -> None:
        self.break_next -= 1
        self.broken += 1
        if self.refuses_after:
            self.close()
        client.shutdown(socket.SHUT_RDWR)  # the answer has nowhere to go before the server can give it
        if self.lets_pass:
            upstream.sendall(COMMIT)
        upstream.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def commit_breaker(server: Server) -> Iterator[CommitBreaker]:
    """A breaker for one test."""
    breaker = CommitBreaker(server)
    yield breaker
    breaker.close()
