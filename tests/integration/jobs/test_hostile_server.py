"""What listens where a queue says that its database is: no database, or one that means harm.

Every answer is an error with a remedy, soon, and nothing of this machine is sent.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from populate_operator.jobs import AccessDenied, Database, DatabaseUnreachable, RetryPolicy, Timeouts

SECRET = "nobody is to read this"
TEXTS = {
    "an SSH server": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "zeros": bytes(64),
    "a greeting that is cut": struct.pack("<I", 40) + b"\n8.0.40\0",
    "a short greeting": b"\x02\0\0\0\n8",
    "a version that is no text": b"\x06\0\0\0\n\xff\xfe\xfd\0\0",
    "an empty packet": b"\0\0\0\0",
    "an endless packet": b"\xff\xff\xff\0" + b"\n" * 4096,
}


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose connections `serve` answers; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def database(port: int, connect: float = 5.0) -> Database:
    timeouts = Timeouts(connect=connect, read=3600)  # a test that hangs has waited for the wrong one
    return Database(
        host="127.0.0.1", port=port, user="u", password="p", timeouts=timeouts, retry=RetryPolicy(attempts=2)
    )


@pytest.mark.parametrize("what", TEXTS)
def test_what_is_no_database_is_unreachable(what: str) -> None:
    heard = bytearray()

    def serve(connection: socket.socket) -> None:
        connection.sendall(TEXTS[what])
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            heard.extend(connection.recv(65536))

    with listening(serve) as port, pytest.raises(DatabaseUnreachable, match="check host, port"):
        database(port).check()
    assert not heard, "no name and no password before the other side has greeted as a database"


def test_what_never_speaks_holds_a_thread_for_the_connect_timeout_only() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1)  # until the client gives up

    with listening(serve) as port, pytest.raises(DatabaseUnreachable, match="timed out"):
        database(port, connect=0.2).check()


def test_a_server_that_asks_for_a_file_gets_none(tmp_path: Path) -> None:
    file, heard = tmp_path / "token", bytearray()
    file.write_text(SECRET)

    def serve(connection: socket.socket) -> None:
        connection.sendall(_packet(0, _greeting()))
        heard.extend(connection.recv(65536))
        connection.sendall(_packet(2, b"\0\0\0\2\0\0\0"))  # logged in
        while asked := connection.recv(65536):
            heard.extend(asked)
            connection.sendall(_packet(1, b"\xfb" + str(file).encode()))  # the answer to LOAD DATA LOCAL

    with listening(serve) as port, pytest.raises(DatabaseUnreachable, match="LOAD_LOCAL"):
        database(port).check()
    assert b"sql_mode" in heard, "the login went through"
    assert SECRET.encode() not in heard


def test_an_error_of_megabytes_is_cut() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(_packet(0, _greeting()))
        connection.recv(65536)
        connection.sendall(_packet(2, struct.pack("<BH", 255, 1045) + b"#28000" + b"no entry " * 1_000_000))

    with listening(serve) as port, pytest.raises(AccessDenied, match="check the credentials") as refused:
        database(port).check()
    assert len(str(refused.value)) < 1200


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def _greeting() -> bytes:
    """Protocol 10 of a MySQL 8.0 without TLS that takes any password."""
    capabilities = 0x000A_A205  # 4.1 protocol, secure connection, transactions, plugin authentication
    low, high = capabilities & 0xFFFF, capabilities >> 16
    return (
        b"\n8.0.40\0" + struct.pack("<I", 7) + b"saltsalt\0" + struct.pack("<HBHHB", low, 45, 2, high, 21)
        + bytes(10) + b"saltsaltsalt\0" + b"mysql_native_password\0"
    )  # fmt: skip
