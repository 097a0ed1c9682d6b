"""JobTable: the job queue of one auto-populated table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from populate_operator.jobs import job_statements as statements
from populate_operator.jobs import refresh, reserve, settle, single
from populate_operator.jobs.context import Discovered, check_source
from populate_operator.jobs.database import Database, Row, Statement
from populate_operator.jobs.key_source import Restricted, Restriction, read_restrictions
from populate_operator.jobs.keys import Key, KeySchema
from populate_operator.jobs.populated import TargetProgress, count_populated, find_in_target
from populate_operator.jobs.query import JobQuery, find_next_due
from populate_operator.jobs.refresh import RefreshOptions, RefreshResult, check_priority
from populate_operator.jobs.reserve import Hosts
from populate_operator.jobs.rows import STATUSES, Fence, Job, Status
from populate_operator.jobs.settlements import Settlement, end_unseen
from populate_operator.jobs.target import Target

STALE_TIMEOUT = 3600.0  # seconds; DataJoint's `config.jobs.stale_timeout`


class JobTable:
    """The job queue of one Computed or Imported table, shared with DataJoint's own workers.

    Nothing is read before it is needed. Safe to share between threads.

    `schema`, `table`: the table to be populated; `table` is the class (`SpikeSorting`) or the SQL name
    (`__spike_sorting`). `key_source`: one SELECT that yields the key attributes instead of the join of
    the table's parents; `%%` in it is read as `%`, as DataJoint's `make_sql()` writes it. `restrictions`:
    SQL conditions, or mappings of key attributes to values, that a key has to meet to be added, claimed
    by `reserve_many`, counted by `target_progress` or, if asked, by `progress`. `keep_completed`: completed
    jobs stay as `success`. `default_priority`: of new jobs, -128 to 127, lower is more urgent.

    Beside what each method names, all raise DatabaseUnreachable, DatabaseBusy or AccessDenied, and at
    first use NoSuchSchema, NoSuchTable, NotAutoPopulated, BadKeySource or IncompatibleJobsTable.
    """

    def __init__(
        self,
        database: Database,
        *,
        schema: str,
        table: str,
        key_source: str | None = None,
        restrictions: Sequence[Restriction] = (),
        keep_completed: bool = False,
        default_priority: int = 5,
    ) -> None:
        self.database, self.schema, self.table = database, schema, table
        self.key_source, self.restrictions = key_source, tuple(restrictions)
        self.keep_completed, self.default_priority = keep_completed, check_priority(default_priority)
        self._found = Discovered(database, schema, table, key_source)

    def __repr__(self) -> str:
        return f"JobTable({self.schema}.{self.table} at {self.database.address})"

    # What was found in the database ------------------------------------------------------------------

    @property
    def target(self) -> Target:
        """The table that is populated."""
        return self._found.get().target

    @property
    def keys(self) -> KeySchema:
        """The typed key of a job."""
        return self._found.get().target.keys

    def key(self, values: Mapping[str, Any] | str) -> Key:
        """The typed key from a mapping or from JSON text.

        Raises BadKey naming the attribute that is missing, unknown or of the wrong type.
        """
        return self.keys.from_json(values) if isinstance(values, str) else self.keys.key(values)

    def rediscover(self) -> Target:
        """Read the target, its jobs table and its key source again; `refresh` does so by itself."""
        return self._found.again().target

    # Queries -----------------------------------------------------------------------------------------

    @property
    def pending(self) -> JobQuery:
        """Jobs that wait for a worker."""
        return self._with_status("pending")

    @property
    def reserved(self) -> JobQuery:
        """Jobs that somebody works on."""
        return self._with_status("reserved")

    @property
    def errors(self) -> JobQuery:
        """Jobs that failed."""
        return self._with_status("error")

    @property
    def completed(self) -> JobQuery:
        """Jobs that succeeded, where those are kept."""
        return self._with_status("success")

    @property
    def ignored(self) -> JobQuery:
        """Jobs that are never to be run."""
        return self._with_status("ignore")

    def owned(self, owner: str) -> JobQuery:
        """The jobs that `owner` has reserved."""
        return JobQuery(self.database, self._found.get, "`status` = 'reserved' AND `user` = %s", (owner,))

    def _with_status(self, status: Status) -> JobQuery:
        return JobQuery(self.database, self._found.get, "`status` = %s", (status,))

    def progress(self, *, restricted: bool = False) -> dict[str, int]:
        """Jobs by status, and `total`: all, or those within the restrictions."""
        queue, scope = self._found.get().queue, self.scope() if restricted else Statement("")
        found = self._fetch(statements.build_count_by_status(queue, scope))
        counts = dict.fromkeys(STATUSES, 0) | {status: int(count) for status, count in found}
        return counts | {"total": sum(counts.values())}

    def target_progress(self) -> TargetProgress:
        """How far the target is populated, whatever the queue says.

        Raises BadKeySource when the server refuses a restriction.
        """
        context = self._found.get()
        return count_populated(self.database, context, context.restrict(self._restricted()))

    def in_target(self, keys: Iterable[Mapping[str, Any]]) -> set[Key]:
        """Those of `keys` that the target has, by the target's own equality. Raises BadKey, NoSuchTable."""
        typed = [self.key(key) for key in keys]
        return self._found.or_forget(lambda: find_in_target(self.database, self._found.get(), typed))

    def next_due(self) -> float | None:
        """Seconds until the first pending job may start: 0.0 if one may now, None if none is pending."""
        context, scope = self._found.get(), self.scope()
        return self._found.unless_missing(lambda: find_next_due(self.database, context, scope), None)

    def owners(self, prefix: str) -> dict[str, int]:
        """Who has reserved jobs: users that start with `prefix`, and how many each has."""
        rows = self._fetch(statements.build_owners(self._found.get().queue, prefix))
        return {user: int(count) for user, count in rows}

    # Refresh -----------------------------------------------------------------------------------------

    def refresh(
        self,
        *restrictions: Restriction,
        delay: float = 0,
        priority: int | None = None,
        stale_timeout: float | None = None,
        orphan_timeout: float | None = None,
        spared_owners: Sequence[str] = (),
    ) -> RefreshResult:
        """Bring the queue in line with key source and target; the jobs table is declared if need be.

        1. (key source, restricted) - target - jobs is added as pending, due `delay` seconds from now.
        2. With `keep_completed`: `success` jobs in the restricted key source whose rows left the target
           become pending again.
        3. Pending and failed jobs whose key is in the target already are removed; so are `success` and
           `error` jobs whose key is neither in the whole key source nor in the target, whatever their age;
           and jobs, neither ignored nor reserved, created more than `stale_timeout` seconds ago (default
           3600, 0 skips it) whose key is no longer in the whole key source.
        4. Jobs reserved more than `orphan_timeout` seconds ago (None skips it) become pending again, in
           place, but for those whose user starts with one of `spared_owners`.

        All times are the database's. Returns the numbers `added`, `removed`, `orphaned`, `re_pended`.
        Source: `datajoint.jobs.Job.refresh`; the differences are listed in docs/jobs.md.

        Raises BadKeySource when a restriction is not one boolean expression or the server refuses it.
        """
        self._found.again()
        context = self._found.declared()
        source = context.restrict(self._restricted(restrictions))
        check_source(self.database, source)
        options = RefreshOptions(
            priority=self.default_priority if priority is None else check_priority(priority),
            delay=delay,
            keep_completed=self.keep_completed,
            stale_timeout=STALE_TIMEOUT if stale_timeout is None else stale_timeout,
            orphan_timeout=orphan_timeout,
            spared_owners=spared_owners,
        )
        return refresh.refresh(self.database, context, source, options)

    def scope(self) -> Statement:
        """The condition that a job is within the restrictions; empty without any."""
        return self._found.get().scope(self._restricted())

    def _restricted(self, further: Sequence[Restriction] = ()) -> Restricted:
        return read_restrictions(self.keys, (*self.restrictions, *further))

    # One job, as DataJoint has it --------------------------------------------------------------------

    def reserve(self, key: Mapping[str, Any]) -> bool:
        """Reserve a job for this process if it is pending and due; whether it was got. Atomic.

        Raises BadKey.
        """
        context, typed = self._found.get(), self.key(key)
        return self._found.unless_missing(lambda: reserve.reserve_one(self.database, context, typed), False)

    def complete(self, key: Mapping[str, Any], duration: float | None = None) -> bool:
        """A job is done after `duration` seconds: `success` where completed jobs are kept, else deleted.

        Whatever its status, as in DataJoint; `settle` is for those who hold a fence. Returns whether there
        was such a job. Raises BadKey.
        """
        context, typed = self._found.get(), self.key(key)
        end = single.keep if self.keep_completed else single.drop
        return self._found.unless_missing(lambda: end(self.database, context, typed, duration), False)

    def error(self, key: Mapping[str, Any], error_message: str, error_stack: str | None = None) -> bool:
        """A job failed. A message over 2047 characters is cut and then ends in `...truncated`.

        Whatever its status, as in DataJoint; `settle` is for those who hold a fence. Returns whether there
        was such a job. Raises BadKey.
        """
        context, typed = self._found.get(), self.key(key)
        return self._found.unless_missing(
            lambda: single.fail(self.database, context, typed, error_message, error_stack), False
        )

    def ignore(self, key: Mapping[str, Any]) -> None:
        """A job is never to be run; it is inserted if it is absent.

        Raises BadKey.
        """
        typed = self.key(key)
        self._found.insert(
            typed, lambda context: single.ignore(self.database, context, typed, self.default_priority)
        )

    # Many jobs, fenced -------------------------------------------------------------------------------

    def reserve_many(self, limit: int, *, owner: str, hosts: Hosts, version: str = "") -> list[Job]:
        """Reserve up to `limit` due jobs within the restrictions, the most urgent first, in one transaction.

        Jobs that another claimant has locked are passed over. Each job gets a host of its own, the next of
        `hosts` or what it returns for the key and the attempt: together with `owner` that is the fence that
        a settlement has to present. `user` becomes `owner`, `pid` the number of the attempt, `version` the
        last 64 characters of `version`. When the commit's answer is lost, the fences are read back.

        Returns the reserved jobs. Raises CommitInDoubt, and BadKey for a job whose key is taken for another.
        """
        count = limit if callable(hosts) else min(limit, len(hosts))
        if count <= 0:
            return []
        context, scope = self._found.get(), self.scope()
        return self._found.unless_missing(
            lambda: reserve.reserve_due(self.database, context, count, scope, owner, hosts, version), []
        )

    def settle(self, settlements: Sequence[Settlement]) -> list[bool | None]:
        """End reservations; for each whether it took effect, which it does only if its fence still holds.

        None: another session has locked the job, try again. A batch of up to 200 is one transaction. A late
        or repeated settlement changes nothing. Raises CommitInDoubt.
        """
        return self._found.unless_missing(
            lambda: settle.settle(
                self.database, self._found.get(), settlements, keep_completed=self.keep_completed
            ),
            [False] * len(settlements),
        )

    def take_back(self, key: Mapping[str, Any], *, fence: Fence, attempt: int, version: str = "") -> bool:
        """Give a worker that is alive its lost reservation again, as after the restore of an old dump.

        Returns whether the worker holds the job now; not if somebody else does, or it is ignored. An absent
        job is made, and one that is pending or has ended is reserved: nobody else works on it. The jobs
        table is declared if need be. Raises BadKey.
        """
        typed = self.key(key)
        return self._found.insert(
            typed,
            lambda context: reserve.take_back(
                self.database, context, typed, fence, attempt, version, self.default_priority
            ),
        )

    def release_owner(self, owner: str, *, except_hosts: Collection[str] = ()) -> int:
        """End all reservations of `owner`, who is gone, but those of `except_hosts`. Returns how many.

        A job whose key is in the target is done; any other is pending again, and that try not counted.
        """
        held = [job for job in self.owned(owner) if job.host not in except_hosts]
        done = self.in_target([job.key for job in held])
        return sum(map(bool, self.settle([end_unseen(job, is_done=job.key in done) for job in held])))

    def adopt(self, owner: str, *, former: str) -> int:
        """Make `owner` the owner of what `former` has reserved; the hosts stay. Returns how many."""
        statement = statements.build_adopt(self._found.get().queue, owner, former)
        return self._found.unless_missing(lambda: self.database.execute(statement), 0)

    def _fetch(self, statement: Statement) -> list[Row]:
        return self._found.unless_missing(lambda: self.database.fetch(statement), [])
