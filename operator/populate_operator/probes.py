"""/livez, /readyz and /metrics over HTTP: what Kubernetes and Prometheus ask the operator."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]  # the complaint, or None when all is well


@asynccontextmanager
async def serve_probes(port: int, *, live: Check, ready: Check) -> AsyncIterator[int]:
    """Answer on all addresses while the block runs; yields the port, chosen freely when `port` is 0.

    A check that returns a complaint is answered 503 with the complaint as the body.
    """
    app = web.Application()
    app.add_routes(
        [web.get("/livez", _answer(live)), web.get("/readyz", _answer(ready)), web.get("/metrics", _metrics)]
    )
    # aiohttp would wait a minute for connections that a scraper keeps open.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        listener = _listen(port)
        await web.SockSite(runner, listener).start()
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, so that a free port is the same one for both."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        complaint = check()
        return web.Response(text=complaint or "ok", status=503 if complaint else 200)

    return handle


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
