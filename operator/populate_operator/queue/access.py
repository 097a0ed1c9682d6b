"""From a queue's spec to its job table: the account from the Secret, TLS, the key source from the class."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from urllib.parse import quote

from populate_operator.jobs import (
    BadKeySource,
    Database,
    DatabaseUnreachable,
    JobTable,
    StatementRefused,
    Tls,
)
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import ApiError, NotFound
from populate_operator.pods.owner import QueueRef
from populate_operator.queue.connection import Database as DatabaseSpec
from populate_operator.queue.resource import KeySource, PopulateQueueSpec
from populate_operator.queue.services import Services
from populate_operator.queue.store import QueueStore, Reading, owner_of

REREAD_SECONDS = 30.0  # how soon a rotated Secret is followed; a refused account is read again at once
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)


class NotReady(Exception):
    """Something the queue needs is not there yet: a CamelCase reason, and a message with the remedy."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Account:
    """What the Secrets hold."""

    user: str
    password: str
    ca: str | None


class AccountReader:
    """Reads a queue's Secrets by name, and again from time to time: nothing may list or watch Secrets."""

    def __init__(self, api: PodApi, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._known: tuple[DatabaseSpec, Account, float] | None = None

    def forget(self) -> None:
        """Read again at the next call: the account was refused."""
        self._known = None

    async def account(self, database: DatabaseSpec) -> Account:
        """The account for `database`. Raises NotReady and ApiError."""
        known = self._known
        if known and known[0] == database and time.monotonic() - known[2] < REREAD_SECONDS:
            return known[1]
        credentials, tls = database.credentials, database.tls
        user = await self._text(credentials.secret_name, credentials.username_key)
        password = await self._text(credentials.secret_name, credentials.password_key)
        ca = await self._text(tls.ca_secret_name, tls.ca_key) if tls.ca_secret_name else None
        account = Account(user, password, ca)
        self._known = (database, account, time.monotonic())
        return account

    async def _text(self, secret: str, key: str) -> str:
        try:
            data = await self._api.secret(self._namespace, secret)
        except NotFound:
            raise NotReady(
                "SecretNotFound", f"there is no Secret {secret} in namespace {self._namespace}: create it"
            ) from None
        if key not in data:
            raise NotReady(
                "SecretIncomplete", f"Secret {secret} in namespace {self._namespace} has no key {key}: add it"
            )
        try:
            return data[key].decode()
        except UnicodeDecodeError:
            raise NotReady("SecretIncomplete", f"key {key} of Secret {secret} is not UTF-8 text") from None


class Access:
    """The job table of one queue, as its spec, its Secrets and DNS have it; kept while they stay the same."""

    def __init__(self, queue: QueueRef, services: Services) -> None:
        self.store: QueueStore | None = None
        self._is_bare = False  # without key source and restrictions
        self._made_of: object = None
        self._service: tuple[str, str] | None = None  # a host that is a Service, and the Service's name
        self._queue, self._services = queue, services
        self._accounts = AccountReader(services.api, queue.namespace)

    def forget_account(self) -> None:
        """The account was refused: its Secret is read again."""
        self._accounts.forget()

    async def read(self, spec: PopulateQueueSpec, class_query: str | None, *, is_deleting: bool) -> Reading:
        """The queue as the database has it now, by the job table of `open`.

        A queue that is deleted needs less to be settled: the account that was known last, where its Secret is
        gone too, and neither key source nor restrictions. Raises NotReady, ApiError and JobsError.
        """
        try:
            store = await self.open(spec, class_query)
        except (ApiError, NotReady):
            if self.store is None or not is_deleting:
                raise
            store = self.store
        try:
            return await store.read()
        except (BadKeySource, StatementRefused):
            if self._is_bare or not is_deleting:
                raise
        self._is_bare = True
        return await (await self.open(spec, class_query)).read()

    async def open(self, spec: PopulateQueueSpec, class_query: str | None) -> QueueStore:
        """The job table for `spec`; `class_query` is the key source that its class told.

        Raises NotReady, ApiError, and DatabaseUnreachable for a name that cannot be looked up. The database
        is not asked.
        """
        account = await self._accounts.account(spec.database)
        if self._is_bare:
            spec = spec.model_copy(update={"restrictions": (), "key_source": KeySource()})
        key_source = class_query if spec.key_source.from_class else spec.key_source.query
        host = await self._resolve(spec.database.host)
        policy = spec.restrictions, spec.keep_completed, spec.priority
        made_of = spec.database, host, account, key_source, policy
        if self.store is None or self._made_of != made_of:
            owner = owner_of(self._services.installation, self._queue.uid)
            table = build_table(spec, host, account, key_source)
            lane = self._services.threads.lane(f"{host}:{spec.database.port}")
            self.store = QueueStore(table, owner=owner, lane=lane)
            self._made_of = made_of
        return self.store

    async def _resolve(self, host: str) -> str:
        """One that was found to be a Service is no other server while that Service is made anew."""
        if self._service is None or self._service[0] != host:
            resolved = await resolve_host(host, self._queue.namespace)
            self._service = (host, resolved) if resolved != host else None
            return resolved
        return self._service[1]


async def resolve_host(host: str, namespace: str) -> str:
    """The host as the queue's pods mean it: a bare name is first of all a Service of their namespace.

    Raises DatabaseUnreachable where the name server does not say whether there is one: the same name may
    mean another server here, in the operator's own namespace.
    """
    if "." in host or ":" in host or host == "localhost":
        return host
    service = f"{host}.{namespace}.svc"
    try:
        await asyncio.get_running_loop().getaddrinfo(service, None)
    except UnicodeError as error:  # a part of more than 63 characters
        raise DatabaseUnreachable(f"{host}: no host has such a name; mend spec.database.host") from error
    except socket.gaierror as error:
        if error.errno in _NO_SUCH_NAME:  # or no cluster DNS here: the name is left to this machine
            return host
        raise DatabaseUnreachable(
            f"{host}: the name server does not answer for {service} ({error.strerror}); see whether it runs, "
            "or give an address or a full name as spec.database.host"
        ) from error
    return service


def build_table(spec: PopulateQueueSpec, host: str, account: Account, key_source: str | None) -> JobTable:
    """The job table that the spec describes, its server reached as `host`; nothing is read yet. Pure."""
    database = Database(
        host=host,
        port=spec.database.port,
        user=account.user,
        password=account.password,
        tls=Tls(mode=spec.database.tls.mode, ca=account.ca),
    )
    return JobTable(
        database,
        schema=spec.schema_name,
        table=spec.table,
        key_source=key_source,
        restrictions=spec.restrictions,
        keep_completed=spec.keep_completed,
        default_priority=spec.priority,
    )


def table_id(spec: PopulateQueueSpec, schema: str, table: str) -> str:
    """One name for a table on a server, by which queues of the same pipeline find each other."""
    return "/".join(
        quote(part, safe="") for part in (f"{spec.database.host}:{spec.database.port}", schema, table)
    )
