"""A proxy that breaks the connection at its COMMIT: before the server gets it, or after it has done it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from dev.databases import Server
from tests.integration.jobs.proxies import Proxy

COMMIT = b"\x07\x00\x00\x00\x03COMMIT"


class CommitBreaker(Proxy):
    """Only plaintext shows where the COMMIT is.

    `break_next`: how many of the next commits break. `lets_pass`: whether the server gets them.
    `refuses_after`: whether nobody can connect any more once a commit broke.
    """

    def __init__(self, server: Server) -> None:
        self.break_next, self.lets_pass, self.refuses_after = 0, False, False
        self.broken = 0
        super().__init__(server)

    def forward(self, source: socket.socket, sink: socket.socket, client: socket.socket) -> None:
        """As every proxy does, until a COMMIT is to be broken."""
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
