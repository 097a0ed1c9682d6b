"""Authenticated requests of plain JSON to the API server, retried where that is safe.

The kubernetes package's client supplies configuration, TLS, tokens and the connection pool. Its typed
models stay out: for thousands of pods they cost more than the requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from populate_operator import __version__
from populate_operator.pods.errors import Conflict, Unreachable, error_of

JsonObject = dict[str, Any]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

JSON = "application/json"
ANYTHING = "*/*"
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"

_LONGEST_PAUSE = 30.0
# HttpProcessingError: what came is no HTTP, or a line of it is longer than the buffer.
_NO_ANSWER = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError)
# aiohttp takes a line of up to twice this, and reads no further while so much waits to be taken; nothing is
# reserved. An object has 1.5 MiB in etcd, and JSON writes one byte as six at worst.
_READ_BUFFER = 1 << 24


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> ApiSession:
    """A session with the cluster of `kubeconfig`, else of the pod this runs in, else kubectl's default.

    Raises kubernetes' ConfigException where none of these is usable. Close it with `close()`.
    """
    configuration = Configuration()
    if kubeconfig is None and context is None and os.environ.get(SERVICE_HOST_ENV_NAME):
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    else:
        file = str(kubeconfig) if kubeconfig else None
        await load_kube_config(  # type: ignore[no-untyped-call]
            file, context, configuration, persist_config=False
        )
    # As kubectl does: cluster CAs that lack RFC 5280's optional extensions are common.
    configuration.disable_strict_ssl_verification = True
    # Left to aiohttp, environment and .netrc would be read again for every request.
    configuration.proxy = configuration.proxy or proxy_for(configuration.host)
    configuration.client_session_kwargs = {"trust_env": False, "read_bufsize": _READ_BUFFER}
    # No limit: each watched namespace holds a connection, and the lease must never wait for one to be free.
    configuration.connection_pool_maxsize = 0
    return ApiSession(ApiClient(configuration))


def proxy_for(server: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, NO_PROXY) names for the URL of a server."""
    parts = urlsplit(server)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def retry_pause(attempt: int, asked: float | None, chance: float) -> float:
    """Seconds before the next try after failed try number `attempt` (from 1); `chance` in [0, 1) spreads."""
    grown = min(_LONGEST_PAUSE, 0.2 * 2.0 ** (attempt - 1)) * (0.5 + chance)
    return grown if asked is None else min(_LONGEST_PAUSE, asked) + 0.1 * grown


@dataclass(frozen=True, slots=True)
class _Request:
    method: Method
    path: str
    query: Mapping[str, str | int] | None = None
    body: JsonObject | None = None
    content_type: str = JSON
    accept: str = ANYTHING

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_locked(self) -> bool:
        """Whether it is for one version of the object only, which the caller has read."""
        return "resourceVersion" in ((self.body or {}).get("metadata") or {})


class ApiSession:
    """Requests to one API server, as `client`'s configuration says. Safe for concurrent use."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._configuration = client.configuration

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def request(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: JsonObject | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float = 35.0,  # noqa: ASYNC109 - per try; an admission webhook may take 30 s
        attempts: int = 6,
        fence: Callable[[], None] = lambda: None,
    ) -> JsonObject:
        """The object that the server answers with.

        Retries lost connections, 429 and 5xx with growing, spread pauses or the server's Retry-After, so
        every request must bear repetition. `fence` is called before each try, and may raise. Raises ApiError:
        see its subclasses.
        """
        request = _Request(method, path, query, body, content_type, accept)
        answer = await self._retried(request, timeout, attempts, fence)
        try:
            parsed = json.loads(answer)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise Unreachable(f"{request}: the answer is not a JSON object; is this an API server?")
        return parsed

    async def text(
        self,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 - as above
        attempts: int = 2,
    ) -> str:
        """A plain-text answer, as of a pod's log. Raises ApiError."""
        answer = await self._retried(_Request("GET", path, query), timeout, attempts)
        return answer.decode(errors="replace")

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str | int], limit: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of one GET as it arrives; never retried. Raises ApiError, also while it is read."""
        request = _Request("GET", path, query)
        try:
            response = await self._send(request, limit)
            try:
                await _raise_for_status(response, request)
                yield response.content
            finally:
                response.close()
        except (*_NO_ANSWER, ValueError) as error:  # ValueError: what its reader cannot make sense of
            raise _unreachable(request, error) from error

    async def _retried(
        self, request: _Request, seconds: float, attempts: int, fence: Callable[[], None] = lambda: None
    ) -> bytes:
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10.0))
        attempt = 1
        while True:
            fence()
            try:
                return await self._once(request, limit)
            except Unreachable as error:
                if attempt >= attempts:
                    raise
                await asyncio.sleep(retry_pause(attempt, error.retry_after, random.random()))  # noqa: S311
            attempt += 1

    async def _once(self, request: _Request, limit: aiohttp.ClientTimeout) -> bytes:
        try:
            async with await self._send(request, limit) as response:
                await _raise_for_status(response, request)
                return await response.read()
        except _NO_ANSWER as error:
            raise _unreachable(request, error) from error
        except Conflict as error:
            # Contention inside the server: of creations for the namespace's ResourceQuota, of a patch with
            # other writers. Nothing was written and the next try will do, but for a version that is past.
            is_settled = error.already_exists or request.is_locked
            if request.method in ("POST", "PATCH") and not is_settled:
                raise Unreachable(error.message, reason=error.reason, status=error.status) from error
            raise

    async def _send(self, request: _Request, limit: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        url = self._configuration.host + request.path
        if request.query:
            url += f"?{urlencode(request.query)}"
        headers = {
            "Accept": request.accept,
            "Content-Type": request.content_type,
            "User-Agent": f"populate-operator/{__version__}",
        }
        # Asked each time: in a cluster the service account's token is rotated on disk.
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        answer = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
            request.method, url, headers=headers, body=request.body, _request_timeout=limit
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _raise_for_status(response: aiohttp.ClientResponse, request: _Request) -> None:
    if response.status >= 300:
        raise error_of(response.status, await response.read(), response.headers, what=str(request))


def _unreachable(request: _Request, error: Exception) -> Unreachable:
    # An HttpProcessingError as text begins with a status that no server has sent.
    told = error.message if isinstance(error, HttpProcessingError) else str(error)
    cause = told or type(error).__name__
    return Unreachable(f"{request}: the API server does not answer: {cause}", reason="Unreachable")
