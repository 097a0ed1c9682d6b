"""A TCP proxy that cuts a connection to a server at its COMMIT: before, while or after it is done."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Literal

from dev.databases import Server

# before: the server never sees the COMMIT. after: it is done and the answer is lost. late: the client loses
# its connection at once, and the COMMIT reaches the server when `release` is called.
Cut = Literal["before", "after", "late"]

_HEADER = 4  # bytes: length (3) and sequence number (1) of a packet
_COM_QUERY = b"\x03"


class CuttingProxy:
    """Listens on `port`; forwards everything, but cuts the first connection whose statement `is_victim`.

    The client has to speak without TLS. `was_cut` is set when it has happened.
    """

    def __init__(self, server: Server, cut: Cut, is_victim: Callable[[bytes], bool]) -> None:
        self.server, self.cut, self._is_victim = server, cut, is_victim
        self.was_cut, self._released = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        number: int = self._listener.getsockname()[1]
        return number

    def release(self) -> None:
        """Let a late COMMIT through."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                link = _Link(client, socket.create_connection((self.server.host, self.server.port)))
                self._links.append(link)
                threading.Thread(target=link.answer, daemon=True).start()
                threading.Thread(target=self._ask, args=(link,), daemon=True).start()

    def _ask(self, link: _Link) -> None:
        with contextlib.suppress(OSError):  # one of its ends is closed
            for packet in link.packets():
                if self._is_to_be_cut(packet):
                    self._cut(packet, link)
                    return
                link.upstream.sendall(packet)
        _end(link.upstream)

    def _is_to_be_cut(self, packet: bytes) -> bool:
        with self._lock:
            if self.was_cut.is_set() or packet[_HEADER : _HEADER + 1] != _COM_QUERY:
                return False
            if self._is_victim(packet[_HEADER + 1 :]):
                self.was_cut.set()
            return self.was_cut.is_set()

    def _cut(self, packet: bytes, link: _Link) -> None:
        match self.cut:
            case "before":
                link.close()
            case "after":
                link.is_muted = True
                link.upstream.sendall(packet)
            case "late":
                _end(link.client)
                self._released.wait()
                link.upstream.sendall(packet)


class _Link:
    """A client's connection and its own to the server."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client, self.upstream = client, upstream
        self.is_muted = False

    def packets(self) -> Iterator[bytes]:
        """Whole packets of the MySQL protocol from the client, until the connection ends."""
        with contextlib.suppress(OSError), self.client.makefile("rb") as stream:
            while header := stream.read(_HEADER):
                yield header + stream.read(int.from_bytes(header[:3], "little"))

    def answer(self) -> None:
        """Forward what the server says; when muted its next word is dropped and the connection ends."""
        with contextlib.suppress(OSError):
            while (data := self.upstream.recv(65536)) and not self.is_muted:
                self.client.sendall(data)
        self.close()

    def close(self) -> None:
        _end(self.client)
        _end(self.upstream)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
