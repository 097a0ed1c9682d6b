"""What may stand before servers: an address that moves, and a proxy with session numbers of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from dev.databases import Server
from tests.e2e.lab.gateway import Gateway


class MovingAddress(Gateway):
    """New connections may be led to another server; those that there are stay with theirs."""

    def lead_to(self, server: Server) -> None:
        self._server = (server.host, server.port)


@contextlib.contextmanager
def moving_address(server: Server) -> Iterator[MovingAddress]:
    """An address that means `server` at first."""
    address = MovingAddress("127.0.0.1", (server.host, server.port))
    try:
        yield address
    finally:
        address.refuse()


class NumberingProxy:
    """Greets every client with the same session number, `number`, and passes all else on as it is."""

    def __init__(self, server: Server, number: int) -> None:
        self._server, self._number = server, number
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection((self._server.host, self._server.port))
                client.sendall(self._renumbered(upstream.recv(65536)))
                for source, sink in ((client, upstream), (upstream, client)):
                    threading.Thread(target=_forward, args=(source, sink), daemon=True).start()

    def _renumbered(self, greeting: bytes) -> bytes:
        """The number has 4 bytes, behind the header, the protocol's version, and the server's with a zero."""
        start = greeting.index(0, 5) + 1
        return greeting[:start] + self._number.to_bytes(4, "little") + greeting[start + 4 :]


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def numbering_proxy(server: Server, number: int) -> Iterator[NumberingProxy]:
    """A proxy for one test."""
    proxy = NumberingProxy(server, number)
    yield proxy
    proxy.close()
