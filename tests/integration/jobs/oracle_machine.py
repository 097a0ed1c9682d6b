"""Random histories of a pipeline and its queue, done by DataJoint and by us, compared after every step.

Where we differ from DataJoint on purpose the machine says what each side has to do, checks both, and then
writes our twin's state into DataJoint's, so that the histories go on from the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from datajoint.errors import DataJointError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from populate_operator.jobs import JobTable
from tests.integration.jobs.oracle_twins import (
    PAIRED,
    PARENTS,
    SHAPES,
    SINGLE,
    TIMES,
    Job,
    Shape,
    Twins,
    assert_equal_job,
    assert_equal_jobs,
    is_near,
)

Key = tuple[Any, ...]

STALE_DEFAULT = 3600.0
PRIORITY_DEFAULT = 5

SUBJECTS, SESSIONS = st.integers(0, 3), st.integers(0, 1)
METHODS = st.sampled_from(["otsu", "Ångström", "o'clock %s"])
KEYS = {SINGLE: st.tuples(SUBJECTS), PAIRED: st.tuples(SUBJECTS, SESSIONS, METHODS)}
RESTRICTIONS = {
    SINGLE: [
        (),
        ("subject_id < 2",),
        ({"subject_id": 1},),
        ("subject_id > 0", "subject_id % 2 = 0"),
    ],
    PAIRED: [
        (),
        ("session = 0",),
        ({"way": "otsu"},),
        ("way LIKE '%o%'", {"subject_id": 0}),
        ("subject_id = 1 OR way = 'Ångström'", "session < 1"),
    ],
}
# Ages come in steps of 3000 s: no age is ever within the tolerance of a timeout.
AGES = st.sampled_from([0, 3000, 6000])
ENDINGS = st.sampled_from(["none", "none", "complete", "complete", "error", "ignore"])
DELAYS = st.sampled_from([0, 2000, 2000.25, -1])
PRIORITIES = st.sampled_from([None, 0, 1, 127, -3])
STALE = st.sampled_from([None, 0, 1000, 5000])
ORPHAN = st.sampled_from([None, 0, 1000, 5000.5])
DURATIONS = st.sampled_from([None, 0.0, 12.5])
TEXTS = st.one_of(
    st.sampled_from(["", "ValueError: bad voltage", "ü" * 2047, "x" * 2048, "失敗" * 1500]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
STACKS = st.one_of(
    st.none(), TEXTS, st.sampled_from(["t" * 986, "t" * 987, "t" * 988, "трассировка\n" * 400])
)


class QueueMachine(RuleBasedStateMachine):
    """One example: one shape of table, up to the given number of steps."""

    def __init__(self, twins: Twins) -> None:
        super().__init__()
        self.twins = twins
        self.shape = SINGLE
        twins.empty()

    @initialize(
        shape=st.sampled_from(SHAPES),
        subjects=st.sets(SUBJECTS, min_size=2),
        sessions=st.sets(st.tuples(SUBJECTS, SESSIONS), min_size=1),
        methods=st.sets(METHODS, min_size=1),
        is_refreshed=st.booleans(),
    )
    def begin(
        self,
        shape: Shape,
        subjects: set[int],
        sessions: set[tuple[int, int]],
        methods: set[str],
        is_refreshed: bool,
    ) -> None:
        self.shape = shape
        for subject in sorted(subjects):
            self.add_subject(subject)
        for subject, session in sorted(sessions):
            self.add_session(subject, session)
        for method in sorted(methods):
            self.add_method(method)
        if is_refreshed:
            self._refresh((), 0, None, None, None)

    # The pipeline ------------------------------------------------------------------------------------

    def add_subject(self, subject: int) -> None:
        self.twins.both("INSERT IGNORE INTO subject VALUES (%s, 7)", (subject,))

    def add_session(self, subject: int, session: int) -> None:
        self.add_subject(subject)
        self.twins.both("INSERT IGNORE INTO session VALUES (%s, %s, 7)", (subject, session))

    def add_method(self, method: str) -> None:
        self.twins.both("INSERT IGNORE INTO method VALUES (%s)", (method,))

    @rule(subject=SUBJECTS, session=SESSIONS, method=METHODS)
    def add_parents(self, subject: int, session: int, method: str) -> None:
        self.add_session(subject, session)
        self.add_method(method)

    @rule(data=st.data(), what=st.sampled_from(["rows", "rows", "subject", "method"]))
    def delete(self, data: st.DataObject, what: str) -> None:
        """Rows of the target, or a parent with all that depends on it."""
        if what == "subject":
            subject = data.draw(SUBJECTS)
            for table in ("__single", "__paired", *PARENTS[:2]):
                self.twins.both(f"DELETE FROM {table} WHERE subject_id = %s", (subject,))
        elif what == "method":
            method = data.draw(METHODS)
            self.twins.both("DELETE FROM __paired WHERE way = %s", (method,))
            self.twins.both("DELETE FROM method WHERE method = %s", (method,))
        else:
            for key in self._draw_keys(data):
                self.twins.both(f"DELETE FROM {self.shape.sql_name} WHERE {self._condition()}", key)

    @rule(data=st.data())
    def make_rows(self, data: st.DataObject) -> None:
        """Rows of the target by whatever means; where the table fans out, several of one key."""
        for key in sorted(set(self._draw_keys(data)) & self._source()):
            self._make(key, tuple(data.draw(st.integers(0, 2)) for _ in self.shape.further))

    def _make(self, key: Key, further: tuple[int, ...]) -> None:
        places = ", ".join(["%s"] * len(key + further))
        columns = ", ".join(self.shape.key + self.shape.further)
        self.twins.both(
            f"INSERT IGNORE INTO {self.shape.sql_name} ({columns}) VALUES ({places})", key + further
        )

    # The queue ---------------------------------------------------------------------------------------

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """Reserve jobs where they can be had, and end them whether they were had or not."""
        for key in self._draw_keys(data):
            job = self._as_mapping(key)
            assert self._ours.reserve(job) == self._theirs.reserve(job)
            match data.draw(ENDINGS, label="ending"):
                case "complete":
                    self._complete(key, data.draw(DURATIONS))
                case "error":
                    self._error(key, data.draw(TEXTS), data.draw(STACKS))
                case "ignore":
                    self._ignore(key)

    def _complete(self, drawn: Key, duration: float | None) -> None:
        key, is_there = self._as_mapping(drawn), drawn in self.twins.our_jobs(self.shape)
        assert self._ours.complete(key, duration) == is_there
        # Difference: DataJoint raises or is silent about an absent job, depending on keep_completed.
        if self.twins.keep_completed and not is_there:
            with pytest.raises(DataJointError):
                self._theirs.complete(key, duration)
        else:
            self._theirs.complete(key, duration)

    def _error(self, drawn: Key, message: str, stack: str | None) -> None:
        key, is_there = self._as_mapping(drawn), drawn in self.twins.our_jobs(self.shape)
        assert self._ours.error(key, message, stack) == is_there
        if is_there:
            self._theirs.error(key, message, stack)
        else:  # Difference: DataJoint raises where we return False.
            with pytest.raises(DataJointError):
                self._theirs.error(key, message, stack)

    def _ignore(self, drawn: Key) -> None:
        self._theirs.ignore(self._as_mapping(drawn))
        self._ours.ignore(self._as_mapping(drawn))

    @rule(data=st.data(), age=AGES, delay=DELAYS, priority=PRIORITIES, stale=STALE, orphan=ORPHAN)
    def refresh(
        self,
        data: st.DataObject,
        age: int,
        delay: float,
        priority: int | None,
        stale: float | None,
        orphan: float | None,
    ) -> None:
        restrictions = data.draw(st.sampled_from(RESTRICTIONS[self.shape]), label="restrictions")
        self._grow_older(age)
        self._refresh(restrictions, delay, priority, stale, orphan)

    def _grow_older(self, age: int) -> None:
        """As if everything in the queue had happened `age` seconds earlier."""
        if self.twins.our_jobs(self.shape):
            sets = ", ".join(f"{time} = {time} - INTERVAL {age} SECOND" for time in TIMES)
            self.twins.both(f"UPDATE `{self.shape.jobs_table}` SET {sets}")

    def _refresh(
        self,
        restrictions: Any,
        delay: float,
        priority: int | None,
        stale: float | None,
        orphan: float | None,
    ) -> None:
        arguments: Any = {
            "delay": delay,
            "priority": priority,
            "stale_timeout": stale,
            "orphan_timeout": orphan,
        }
        before = self.twins.our_jobs(self.shape)
        done = self._with_status(before, "pending", "error") & self._target()
        vanished = self._with_status(before, "reserved") - self._source()
        theirs = self._theirs.refresh(*restrictions, **arguments)
        ours = self._ours.refresh(*restrictions, **arguments)

        stale_timeout = STALE_DEFAULT if stale is None else stale
        held = {key for key in vanished if is_older(before[key]["created_time"], stale_timeout)}
        lost = {key for key in held if is_older(before[key]["reserved_time"], orphan)}
        assert ours["added"] == theirs["added"]
        assert ours["re_pended"] == theirs["re_pended"]
        assert ours["removed"] == theirs["removed"] + len(done) - len(held)
        assert ours["orphaned"] == theirs["orphaned"] + len(lost)
        self._settle_done(done)
        self._settle_held(held, lost, before)
        self._settle_in_place(before, PRIORITY_DEFAULT if priority is None else priority)

    def _settle_done(self, done: set[Key]) -> None:
        """Difference: such a pending or failed job stays in DataJoint for ever; we remove it."""
        theirs, ours = self.twins.their_jobs(self.shape), self.twins.our_jobs(self.shape)
        for key in done:
            assert theirs[key]["status"] in ("pending", "error")
            assert key not in ours
            self._delete_their(key)

    def _settle_held(self, held: set[Key], lost: set[Key], before: Mapping[Key, Job]) -> None:
        """Difference: DataJoint removes a stale job although somebody works on it; we leave it reserved.

        The orphan timeout, which comes after, still ends it.
        """
        theirs, ours = self.twins.their_jobs(self.shape), self.twins.our_jobs(self.shape)
        for key in held:
            assert key not in theirs
            if key in lost:
                assert ours[key]["status"] == "pending"
            else:
                assert_equal_job(before[key], ours[key])
            self._delete_our(key)

    def _settle_in_place(self, before: Mapping[Key, Job], priority: int) -> None:
        """Difference: DataJoint re-pends by delete and insert; we keep priority and created_time."""
        theirs, ours = self.twins.their_jobs(self.shape), self.twins.our_jobs(self.shape)
        for key in self._with_status(theirs, "pending"):
            if key in before and before[key]["status"] != "pending":
                assert ours[key]["status"] == "pending"
                assert ours[key]["priority"] == before[key]["priority"]
                assert is_near(ours[key]["created_time"], before[key]["created_time"])
                assert theirs[key]["priority"] == priority
                assert is_near(theirs[key]["created_time"], 0.0)
                self._age_their(key, ours[key])

    # Compared after every step -----------------------------------------------------------------------

    @invariant()
    def jobs_are_equal(self) -> None:
        assert_equal_jobs(self.twins.their_jobs(self.shape), self.twins.our_jobs(self.shape))

    @rule()
    def look(self) -> None:
        """What the queries say is what the tables hold."""
        jobs = self.twins.our_jobs(self.shape)
        assert self._ours.progress() == self._theirs.progress()
        for query, status in (
            (self._ours.pending, "pending"),
            (self._ours.reserved, "reserved"),
            (self._ours.errors, "error"),
            (self._ours.completed, "success"),
            (self._ours.ignored, "ignore"),
        ):
            found = {tuple(job.key.values()) for job in query}
            assert found == self._with_status(jobs, status)
            assert query.count() == len(found)

    # Reading and writing both ------------------------------------------------------------------------

    @property
    def _theirs(self) -> Any:
        return self.twins.theirs[self.shape]

    @property
    def _ours(self) -> JobTable:
        return self.twins.ours[self.shape]

    def _draw_keys(self, data: st.DataObject) -> list[Key]:
        """Rather keys of jobs than such that may not even be in the key source."""
        jobs = sorted(self.twins.our_jobs(self.shape))
        one = st.sampled_from(jobs) | st.sampled_from(jobs) | KEYS[self.shape] if jobs else KEYS[self.shape]
        keys: list[Key] = data.draw(st.lists(one, min_size=1, max_size=4, unique=True), label="keys")
        return keys

    def _as_mapping(self, key: Key) -> dict[str, Any]:
        return dict(zip(self.shape.key, key, strict=True))

    def _source(self) -> set[Key]:
        if self.shape is SINGLE:
            return self.twins.keys("SELECT subject_id FROM subject")
        return self.twins.keys("SELECT subject_id, session, method FROM session JOIN method")

    def _target(self) -> set[Key]:
        return self.twins.keys(f"SELECT DISTINCT {', '.join(self.shape.key)} FROM {self.shape.sql_name}")

    def _with_status(self, jobs: Mapping[Key, Job], *statuses: str) -> set[Key]:
        return {key for key, job in jobs.items() if job["status"] in statuses}

    def _delete_their(self, key: Key) -> None:
        self.twins.their(f"DELETE FROM `{self.shape.jobs_table}` WHERE {self._condition()}", key)

    def _delete_our(self, key: Key) -> None:
        self.twins.our(f"DELETE FROM `{self.shape.jobs_table}` WHERE {self._condition()}", key)

    def _age_their(self, key: Key, ours: Job) -> None:
        self.twins.their(
            f"UPDATE `{self.shape.jobs_table}` SET priority = %s, "
            f"created_time = created_time + INTERVAL %s SECOND WHERE {self._condition()}",
            (ours["priority"], round(ours["created_time"]), *key),
        )

    def _condition(self) -> str:
        return " AND ".join(f"{name} = %s" for name in self.shape.key)


def is_older(from_now: float | None, timeout: float | None) -> bool:
    """Whether a moment, given in seconds from now, is longer ago than a timeout that 0 and None turn off."""
    return bool(timeout) and from_now is not None and -from_now > (timeout or 0.0)
