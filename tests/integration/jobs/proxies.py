"""Proxies before a server: what every one of them does, and one with session numbers of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from dev.databases import Server


class Proxy:
    """Forwards a port of its own to a server; `forward` says how what is sent goes on."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody can connect any more."""
        # Closing alone does not wake the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def greet(self, client: socket.socket, upstream: socket.socket) -> None:
        """What comes before all else."""

    def forward(self, source: socket.socket, sink: socket.socket, client: socket.socket) -> None:
        """Pass on what `source` sends until one of the ends is gone; `client` is one of the two."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection((self.server.host, self.server.port))
            self.greet(client, upstream)
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self.forward, args=(source, sink, client), daemon=True).start()


class NumberingProxy(Proxy):
    """Greets every client with the same session number, `number`, and passes all else on as it is."""

    def __init__(self, server: Server, number: int) -> None:
        self._number = number
        super().__init__(server)

    def greet(self, client: socket.socket, upstream: socket.socket) -> None:
        """The number has 4 bytes, behind the header, the protocol's version, and the server's with a zero."""
        greeting = upstream.recv(65536)
        start = greeting.index(0, 5) + 1
        client.sendall(greeting[:start] + self._number.to_bytes(4, "little") + greeting[start + 4 :])


@contextlib.contextmanager
def numbering_proxy(server: Server, number: int) -> Iterator[NumberingProxy]:
    """A proxy for one test."""
    proxy = NumberingProxy(server, number)
    yield proxy
    proxy.close()
