"""Two proxies between the operator and a real API server that break what the network and servers break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from kubernetes.aio.client.api_client import ApiClient


class TcpProxy:
    """Passes bytes to the API server until told to stall, to cut or to refuse."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._host, self._port = str(address.hostname), address.port or 443
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections: asyncio.Queue[None] = asyncio.Queue()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[TcpProxy]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def stall(self) -> None:
        """Go silent without closing anything, as a dead peer or a NAT that forgot the connection does."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let bytes flow and connections in again."""
        self._refusing = False
        self._flowing.set()

    def cut(self) -> None:
        """Reset every open connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset every connection, and the new ones too."""
        self._refusing = True
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.put_nowait(None)
        if self._refusing:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, upstream_writer}
        try:
            await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
        finally:
            self._writers -= {writer, upstream_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


Matches = Callable[[web.BaseRequest], bool]


def is_watch(request: web.BaseRequest) -> bool:
    """Whether the request opens a watch."""
    return "watch" in request.query


def is_list(request: web.BaseRequest) -> bool:
    """Whether the request is for a page of a list."""
    return "limit" in request.query


def is_method(method: str) -> Matches:
    """Whether the request is a POST, PATCH, ..."""
    return lambda request: request.method == method


@dataclass(frozen=True)
class Fault:
    """What befalls the first request that `matches`: one of the others."""

    matches: Matches
    status: int = 0  # the answer instead of the server's
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    loses_answer: bool = False  # the server acts, but the client never hears of it
    query: dict[str, str] = field(default_factory=dict)  # changed on the way to the server
    path: str = ""  # asked of the server instead of the request's own

    def answer(self) -> web.Response:
        """The error as the API server words it."""
        body = {"kind": "Status", "code": self.status, "reason": self.reason, "message": "injected"}
        return web.json_response(body, status=self.status, headers=self.headers)


NO_FAULT = Fault(matches=lambda request: True)


class HttpProxy:
    """Passes requests to the API server with the account of `client`, and breaks those that `faults` name."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.faults: list[Fault] = []
        self.seen: list[web.BaseRequest] = []
        self.arrivals: asyncio.Queue[web.BaseRequest] = asyncio.Queue()
        self.most_in_flight = 0
        self.url = ""
        self._in_flight = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[HttpProxy]:
        """Listen on a free port of loopback."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        connector = aiohttp.TCPConnector(ssl=self._client.rest_client.ssl_context, limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as self._upstream:
                yield self
        finally:
            await runner.cleanup()

    async def next_arrival(self, matches: Matches) -> web.BaseRequest:
        """Wait for a further request of that kind."""
        async with asyncio.timeout(30):
            while not matches(request := await self.arrivals.get()):
                pass
        return request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        self.arrivals.put_nowait(request)
        fault = next((one for one in self.faults if one.matches(request)), NO_FAULT)
        if fault is not NO_FAULT:
            self.faults.remove(fault)
        if fault.status:
            return fault.answer()
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return await self._forward(request, fault)
        finally:
            self._in_flight -= 1

    async def _forward(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        async with self._upstream.request(
            request.method,
            self._client.configuration.host + (fault.path or request.path),
            params={**request.query, **fault.query},
            data=await request.read() or None,
            headers=await self._headers(request),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as upstream:
            response = web.StreamResponse(status=upstream.status)
            response.content_type = upstream.content_type
            if fault.loses_answer:
                await upstream.read()
                assert request.transport is not None
                request.transport.close()
                return response
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            return response

    async def _headers(self, request: web.BaseRequest) -> dict[str, str]:
        kind = request.headers.get("Content-Type")  # which not every client sends with a GET
        headers = {"Content-Type": kind} if kind else {}
        token = await self._client.configuration.get_api_key_with_prefix("BearerToken")
        return headers | ({"Authorization": token} if token else {})
