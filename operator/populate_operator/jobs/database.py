"""A database account, and how work is done in it: whole transactions, retried, never left in doubt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import SSCursor

from populate_operator.jobs.connection import (
    Address,
    Timeouts,
    driver_errors,
    explain,
    identify,
    is_answered,
    is_lost,
    is_stale,
    is_worth_another_try,
)
from populate_operator.jobs.errors import CommitInDoubt, DatabaseUnreachable, JobsError
from populate_operator.jobs.forgotten import break_off
from populate_operator.jobs.pool import pool_of
from populate_operator.jobs.retry import RetryPolicy
from populate_operator.jobs.tls import Tls

T = TypeVar("T")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with `%s` for each of its `parameters`; a literal `%` in it is doubled.

    `schema`: where its unqualified tables are; needed for text that a user wrote.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    schema: str | None = None


class Session:
    """A connection on loan."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    def ask_id(self) -> int:
        """What CONNECTION_ID() is in this transaction; what the other side greeted with may be a proxy's."""
        return identify(self.connection).number

    def execute(self, statement: Statement) -> int:
        """Run a statement; the number of rows that it changed."""
        self._use(statement)
        with driver_errors(), self.connection.cursor() as cursor:
            changed: int = cursor.execute(statement.sql, statement.parameters)
            return changed

    def fetch(self, statement: Statement) -> list[Row]:
        """All rows of a query whose size is known to be small."""
        self._use(statement)
        with driver_errors(), self.connection.cursor() as cursor:
            cursor.execute(statement.sql, statement.parameters)
            return list(cursor.fetchall())

    def stream(self, statement: Statement, size: int) -> Generator[Row, None, None]:
        """Rows of a query as they come, never more than `size` of them in memory."""
        self._use(statement)
        with self.connection.cursor(SSCursor) as cursor, _left_unread(self.connection):
            with driver_errors():
                cursor.execute(statement.sql, statement.parameters)
                rows = cursor.fetchmany(size)
            while rows:
                yield from rows
                with driver_errors():
                    rows = cursor.fetchmany(size)

    def _use(self, statement: Statement) -> None:
        if statement.schema is not None:
            self.connection.select_db(statement.schema)


@contextmanager
def _left_unread(connection: Connection[Any]) -> Iterator[None]:
    """Shut the connection if its result is not read to the end.

    Its cursor would read on: for as long as there are rows, or from a connection that is lost.
    """
    try:
        yield
    finally:
        result = connection._result  # type: ignore[attr-defined]  # it has no public name
        if result is not None and result.unbuffered_active:
            result.unbuffered_active = False
            connection._force_close()  # type: ignore[attr-defined]  # nor has this


class Database:
    """An account on a MySQL (8.0+) or MariaDB (10.6+) server.

    Connections are pooled per server and account; nothing is opened before it is needed. Objects are
    safe to share between threads, and cheap: make one per account.

    `host`, `port`, `user`, `password`: the account. `tls`: see `Tls`. `timeouts`: seconds, see `Timeouts`.
    `retry`: how often and how long whole transactions are tried again after a deadlock, a lock
    timeout or a lost connection.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int = 3306,
        user: str,
        password: str,
        tls: Tls | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.address = Address(host, port, user, password, tls or Tls(), timeouts or Timeouts())
        self.retry = retry or RetryPolicy()
        self._pool = pool_of(self.address)
        self._chance = random.Random()  # noqa: S311 - spreads retries, protects nothing

    def __repr__(self) -> str:
        return f"Database({self.address})"

    def break_off_forgotten(self, *, after: float = 4.0) -> int:
        """End what waits for an answer although the server has been idle for `after` seconds; how many.

        Such work is tried again like any other whose connection was lost; slow statements are let be.
        Nothing happens where the server cannot be asked, or is being asked already.
        """
        if not self._pool.asking.acquire(blocking=False):
            return 0
        try:
            return break_off(self._pool, after=after)
        except (JobsError, pymysql.err.Error, OSError):
            return 0
        finally:
            self._pool.asking.release()

    def check(self) -> str:
        """Prove that the account can log in; the server's version as it states it.

        Raises DatabaseUnreachable, AccessDenied or UnsupportedServer.
        """
        return str(self.fetch(Statement("SELECT VERSION()"))[0][0])

    def fetch(self, statement: Statement) -> list[Row]:
        """All rows of one query outside any transaction."""
        return self._retried(lambda: self._once(lambda session: session.fetch(statement)))

    def execute(self, statement: Statement) -> int:
        """Run one statement as its own transaction; the number of rows that it changed.

        It is tried again when the answer was lost, so it has to be one that may be repeated.
        """
        return self._retried(lambda: self._once(lambda session: session.execute(statement)))

    def transaction(
        self, work: Callable[[Session], T], *, landed: Callable[[Session, T], bool] | None = None
    ) -> T:
        """Run `work` in one transaction and commit; what `work` returned.

        The whole of it is tried again on a deadlock, a lock timeout and a lost connection. When the
        connection breaks during COMMIT nobody knows whether it was done. Then `landed(session, result)`
        is asked on a new connection, in a transaction of its own: it reads back, with a locking read so
        that it waits for the old session to end, whether what `work` wrote is there. True: the result
        stands. False: `work` runs again. Without `landed` the work has to be one that may be repeated.

        Raises DatabaseUnreachable or DatabaseBusy when the retries are used up, CommitInDoubt when the
        server could not be asked, and what `work` raises.
        """
        return self._retried(lambda: self._attempt(work, landed))

    def stream(self, statement: Statement, size: int = 1000) -> Generator[Row, None, None]:
        """Rows of a query as they come, never more than `size` of them in memory.

        Holds a connection until it is used up or closed; rows that are left then are not read. Retried until
        the first row is there, so that a connection that died in the pool is not noticed; after that rows
        were handed out.
        """
        first, rows, loan = self._retried(lambda: self._open_stream(statement, size))
        try:
            with loan:
                yield from first
                yield from rows
        except (pymysql.err.Error, OSError) as error:
            raise explain(error, self.address) from error

    def _open_stream(self, statement: Statement, size: int) -> tuple[list[Row], Iterator[Row], ExitStack]:
        """The first row if there is one, the others, and what gives the connection back."""
        with ExitStack() as stack:
            session = stack.enter_context(self._session())
            rows = stack.enter_context(closing(session.stream(statement, size)))
            return list(islice(rows, 1)), rows, stack.pop_all()

    def _once(self, work: Callable[[Session], T]) -> T:
        with self._session() as session:
            return work(session)

    def _attempt(self, work: Callable[[Session], T], landed: Callable[[Session, T], bool] | None) -> T:
        result, broken = self._commit(work)
        if broken is None:
            return result
        if landed is not None and self._has_landed(landed, result):
            return result
        raise broken

    def _commit(self, work: Callable[[Session], T]) -> tuple[T, Exception | None]:
        """Work and commit; the error too if the connection broke before the commit was answered."""
        with self._session() as session:
            session.connection.begin()
            result = work(session)
            try:
                session.connection.commit()
            except (pymysql.err.Error, OSError) as error:
                if not is_lost(error):
                    raise
                return result, error
        return result, None

    def _has_landed(self, landed: Callable[[Session, T], bool], result: T) -> bool:
        def ask(session: Session) -> bool:
            session.connection.begin()
            answer = landed(session, result)
            session.connection.rollback()
            return answer

        try:
            return self._retried(lambda: self._once(ask), patient=True)
        except JobsError as error:
            raise CommitInDoubt(
                f"{self.address}: the connection broke during a commit and the server cannot be asked "
                f"whether it was done ({error}); read the queue again before going on"
            ) from error

    @contextmanager
    def _session(self) -> Iterator[Session]:
        connection = self._pool.acquire()
        try:
            yield Session(connection)
        except BaseException as error:
            if is_answered(error) and not is_stale(error) and _is_rolled_back(connection):
                self._pool.release(connection)
            else:
                # Closing undoes whatever was begun.
                self._pool.discard(connection)
            raise
        if connection.open:
            self._pool.release(connection)
        else:
            self._pool.discard(connection)

    def _retried(self, work: Callable[[], T], *, patient: bool = False) -> T:
        """Try `work` again as the policy allows; `patient` also bears a first try that cannot connect."""
        for attempt in range(1, self.retry.attempts + 1):
            is_last = attempt == self.retry.attempts
            try:
                return work()
            except (pymysql.err.Error, OSError) as error:
                if is_lost(error) or is_stale(error):
                    self._pool.close_idle()
                if is_last or not is_worth_another_try(error):
                    raise explain(error, self.address) from error
            except DatabaseUnreachable:
                if is_last or (attempt == 1 and not patient):
                    raise
            time.sleep(self.retry.delay(attempt, self._chance))
        raise ValueError("a retry policy has at least one attempt")


def _is_rolled_back(connection: Connection[Any]) -> bool:
    try:
        connection.rollback()
    except (pymysql.err.Error, OSError):
        return False
    return True
