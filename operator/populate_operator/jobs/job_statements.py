"""The SQL of single jobs and batches of them. Each function builds one statement; nothing is executed."""

# ruff: noqa: S608 - identifiers come quoted from `identifiers`, values are parameters

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from populate_operator.jobs.database import Statement
from populate_operator.jobs.identifiers import columns, quote
from populate_operator.jobs.relations import Queue, Relation, build_key_condition

# The columns of a job after its key, in the order of `rows.read_job`.
JOB_COLUMNS = (
    "status",
    "priority",
    "created_time",
    "scheduled_time",
    "reserved_time",
    "completed_time",
    "duration",
    "error_message",
    "error_stack",
    "user",
    "host",
    "pid",
    "connection_id",
    "version",
)
# What a reservation leaves as it is: all that a claim has to read, in the order of `rows.read_claimed`.
CLAIMED_COLUMNS = (
    "priority",
    "created_time",
    "scheduled_time",
    "completed_time",
    "duration",
    "error_message",
    "error_stack",
    "pid",
    "connection_id",
    "user",
)
# Seconds since 1970. Not an age, which would make another time of it at each look.
_COMPLETED_AT = "UNIX_TIMESTAMP(`completed_time`)"
_RESERVED_SECONDS = "TIMESTAMPDIFF(MICROSECOND, `reserved_time`, CURRENT_TIMESTAMP(6)) / 1000000"
URGENCY = "`priority`, `scheduled_time`"

Value = tuple[str, tuple[Any, ...]]  # an expression and its parameters
NOW: Value = ("CURRENT_TIMESTAMP(3)", ())


def value(parameter: Any) -> Value:
    """A value given as a parameter."""
    return "%s", (parameter,)


# The columns that tell how a job ended, for one that has not.
NOT_ENDED: Mapping[str, Value] = {
    "completed_time": value(None),
    "duration": value(None),
    "error_message": value(""),
    "error_stack": value(None),
}


def build_select_jobs(
    queue: Queue, where: str, parameters: tuple[Any, ...], tail: str = "", schema: str | None = None
) -> Statement:
    """Whole jobs; `tail` may order, limit and lock them."""
    return Statement(
        f"SELECT {columns(queue.names)}, {columns(JOB_COLUMNS)}, {_RESERVED_SECONDS}, {_COMPLETED_AT} "
        f"FROM {queue.jobs.sql} WHERE {where}{tail}",
        parameters,
        schema,
    )


def build_select_keys(queue: Queue, where: str, parameters: tuple[Any, ...], tail: str) -> Statement:
    """Keys of jobs."""
    return Statement(f"SELECT {columns(queue.names)} FROM {queue.jobs.sql} WHERE {where}{tail}", parameters)


def build_count(queue: Queue, where: str, parameters: tuple[Any, ...], tail: str) -> Statement:
    """How many jobs; `tail` may limit them."""
    if not tail:
        return Statement(f"SELECT COUNT(*) FROM {queue.jobs.sql} WHERE {where}", parameters)
    return Statement(
        f"SELECT COUNT(*) FROM (SELECT 1 FROM {queue.jobs.sql} WHERE {where}{tail}) AS counted", parameters
    )


def build_claim(queue: Queue, limit: int, scope: Statement, timestamps: Sequence[str] = ()) -> Statement:
    """Lock the most urgent due jobs that nobody else has locked; `scope` is a further condition.

    The last column says whether the text of each of `timestamps`, attributes of that type, means its moment.
    """
    kept = (f"UNIX_TIMESTAMP({t}) = UNIX_TIMESTAMP(CAST({t} AS DATETIME(6)))" for t in map(quote, timestamps))
    return Statement(
        f"SELECT {columns((*queue.names, *CLAIMED_COLUMNS))}, {_COMPLETED_AT}, "
        f"{' AND '.join(kept) or 'TRUE'} FROM {_by_urgency(queue)} "
        f"WHERE `status` = 'pending' AND `scheduled_time` <= CURRENT_TIMESTAMP(3){_and(scope)} "
        f"ORDER BY {URGENCY} LIMIT {limit:d} FOR UPDATE SKIP LOCKED",
        scope.parameters,
        scope.schema,
    )


def build_reserve_claimed(
    queue: Queue, keys: Sequence[Sequence[Any]], hosts: Sequence[str], common: tuple[Any, Any, Any]
) -> Statement:
    """Reserve jobs that this transaction has locked, each for its host; `common`: time, owner, version.

    As in `build_overwrite` every row is met by its primary key, so that none is inserted; only what differs
    from job to job is a value of its own, because formatting values is most of the work.
    """
    row = f"({', '.join(['%s'] * len(queue.names))}, 'reserved', 0, %s)"
    return Statement(
        f"INSERT INTO {queue.jobs.sql} ({columns((*queue.names, 'status', 'priority', 'host'))}) "
        f"VALUES {', '.join([row] * len(keys))} ON DUPLICATE KEY UPDATE `status` = VALUES(`status`), "
        f"`host` = VALUES(`host`), `pid` = {_left('pid')} + 1, `connection_id` = {_left('connection_id')}, "
        "`reserved_time` = %s, `user` = %s, `version` = %s",
        (*(value for key, host in zip(keys, hosts, strict=True) for value in (*key, host)), *common),
    )


def _left(name: str) -> str:
    """A number that a release left, which also clears the user; 0 in a row that a worker had meanwhile.

    That is a process or a session of the worker's. Has to stand before `user` is written.
    """
    return f"IF(`user` = '', {quote(name)}, 0)"


def build_reserve(queue: Queue, key: Sequence[Any], host: str, pid: int) -> Statement:
    """Reserve one job as a DataJoint worker does.

    Source: `datajoint.jobs.Job.reserve`.
    """
    condition, parameters = build_key_condition(queue.names, [key])
    return Statement(
        f"UPDATE {queue.jobs.sql} SET `status` = 'reserved', `host` = %s, `pid` = %s, "
        "`connection_id` = CONNECTION_ID(), `user` = USER(), `version` = '', "
        f"`reserved_time` = CURRENT_TIMESTAMP(3) WHERE {condition} "
        "AND `status` = 'pending' AND `scheduled_time` <= CURRENT_TIMESTAMP(3)",
        (host, pid, *parameters),
    )


def build_lock(
    queue: Queue, keys: Sequence[Sequence[Any]], *, reserved: bool = False, tail: str = " FOR UPDATE"
) -> Statement:
    """Lock jobs by key, whatever became of them; with `reserved` only those that are reserved.

    Only by the primary key: in the order of the other index two batches would lock each other out. `tail`
    may pass over those that somebody else has locked, or read them without a lock.
    """
    condition, parameters = build_key_condition(queue.names, keys)
    if reserved:
        condition += " AND `status` = 'reserved'"
    by_key = replace(queue, jobs=Relation(f"{queue.jobs.sql} FORCE INDEX (PRIMARY)"))
    return build_select_jobs(by_key, condition, parameters, tail)


def build_delete_job(queue: Queue, key: Sequence[Any]) -> Statement:
    """Delete one job whatever its status: the caller locked it and knows, or does not care."""
    condition, parameters = build_key_condition(queue.names, [key])
    return Statement(f"DELETE FROM {queue.jobs.sql} WHERE {condition}", parameters)


def build_overwrite(queue: Queue, names: Sequence[str], rows: Sequence[Sequence[Value]]) -> Statement:
    """Write `names` of many jobs that this transaction has locked, each row with values of its own.

    One multi-row statement: INSERT meets every row by its primary key, so all of it is an update, and
    the values are converted by the columns themselves, whatever their type and collation.
    """
    own = set(queue.names)
    updates = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in names if name not in own)
    values = ", ".join("(" + ", ".join(expression for expression, _ in row) + ")" for row in rows)
    return Statement(
        f"INSERT INTO {queue.jobs.sql} ({columns(names)}) VALUES {values} ON DUPLICATE KEY UPDATE {updates}",
        tuple(parameter for row in rows for _, parameters in row for parameter in parameters),
    )


def build_adopt(queue: Queue, owner: str, former: str) -> Statement:
    """Make `owner` the owner of all jobs that `former` has reserved."""
    return Statement(
        f"UPDATE {queue.jobs.sql} SET `user` = %s WHERE `status` = 'reserved' AND `user` = %s",
        (owner, former),
    )


def build_update_job(queue: Queue, key: Sequence[Any], values: Mapping[str, Value]) -> Statement:
    """Set columns of one job whatever its status."""
    condition, parameters = build_key_condition(queue.names, [key])
    sets = ", ".join(f"{quote(name)} = {expression}" for name, (expression, _) in values.items())
    own = tuple(parameter for _, given in values.values() for parameter in given)
    return Statement(f"UPDATE {queue.jobs.sql} SET {sets} WHERE {condition}", (*own, *parameters))


def build_insert_job(queue: Queue, key: Sequence[Any], values: Mapping[str, Value]) -> Statement:
    """Insert one job unless there is one of this key."""
    expressions = ["%s"] * len(key) + [expression for expression, _ in values.values()]
    own = tuple(parameter for _, given in values.values() for parameter in given)
    names = columns((*queue.names, *values))
    first = quote(queue.names[0])
    return Statement(
        f"INSERT INTO {queue.jobs.sql} ({names}) VALUES ({', '.join(expressions)}) "
        f"ON DUPLICATE KEY UPDATE {first} = {first}",
        (*key, *own),
    )


def build_find_job(queue: Queue, key: Sequence[Any]) -> Statement:
    """One row if there is such a job."""
    condition, parameters = build_key_condition(queue.names, [key])
    return Statement(f"SELECT 1 FROM {queue.jobs.sql} WHERE {condition}", parameters)


def build_ignore(queue: Queue, key: Sequence[Any], priority: int) -> Statement:
    """Insert a job as ignored, or make it so."""
    places = ", ".join(["%s"] * len(key))
    return Statement(
        f"INSERT INTO {queue.jobs.sql} ({columns(queue.names)}, `status`, `priority`) "
        f"VALUES ({places}, 'ignore', %s) ON DUPLICATE KEY UPDATE `status` = 'ignore'",
        (*key, priority),
    )


def build_in_target(queue: Queue, keys: Sequence[Sequence[Any]]) -> Statement:
    """One row with a truth value for each key: whether the target has it, by the target's own equality."""
    tests = []
    for key in keys:
        condition, _ = build_key_condition(queue.names, [key], "t")
        tests.append(f"EXISTS (SELECT 1 FROM {queue.target.sql} AS t WHERE {condition})")
    return Statement(f"SELECT {', '.join(tests)}", tuple(value for key in keys for value in key))


def build_count_by_status(queue: Queue, scope: Statement) -> Statement:
    """Counts by status; `scope` is a condition."""
    where = f" WHERE {scope.sql}" if scope.sql else ""
    return Statement(
        f"SELECT `status`, COUNT(*) FROM {queue.jobs.sql}{where} GROUP BY `status`",
        scope.parameters,
        scope.schema,
    )


def build_next_due(queue: Queue, scope: Statement, above: int) -> Statement:
    """The first pending job of the next priority above `above`: the priority, and seconds until it is due.

    One step along the index, whose entries of a priority are in the order of their time.
    """
    return Statement(
        "SELECT `priority`, TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(6), `scheduled_time`) / 1000000 "
        f"FROM {_by_urgency(queue)} WHERE `status` = 'pending' AND `priority` > %s{_and(scope)} "
        f"ORDER BY {URGENCY} LIMIT 1",
        (above, *scope.parameters),
        scope.schema,
    )


def build_owners(queue: Queue, prefix: str) -> Statement:
    """Who has reserved jobs, and how many: users that start with `prefix`."""
    return Statement(
        f"SELECT `user`, COUNT(*) FROM {queue.jobs.sql} WHERE `status` = 'reserved' "
        "AND LEFT(`user`, %s) = %s GROUP BY `user`",
        (len(prefix), prefix),
    )


def _by_urgency(queue: Queue) -> str:
    """The jobs along their index, also where a restriction of the key tempts the server to the primary key.

    By that it would sort, and so lock, every job that the restriction lets through.
    """
    return f"{queue.jobs.sql} FORCE INDEX ({quote(queue.claim_index)})"


def _and(scope: Statement) -> str:
    return f" AND ({scope.sql})" if scope.sql else ""
