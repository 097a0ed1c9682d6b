"""Objects for the tests of the queue: each builder gives a plain one; arguments name what matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from populate_operator.pods.view import PodView, Termination, Waiting
from populate_operator.queue.plan import Observed, Reservation
from populate_operator.queue.resource import PopulateQueueSpec, parse_spec

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    """The time that many seconds before NOW."""
    return NOW - timedelta(seconds=seconds)


def spec_json(**fields: Any) -> dict[str, Any]:
    """The smallest spec, with `fields` (camelCase) set."""
    return {
        "database": {"host": "mysql", "credentials": {"secretName": "dj"}},
        "schema": "ephys",
        "table": "SpikeSorting",
        "template": {"spec": {"containers": [{"name": "populate", "image": "ephys:1"}]}},
    } | fields


def make_spec(**fields: Any) -> PopulateQueueSpec:
    """The smallest spec as the operator reads it."""
    return parse_spec(spec_json(**fields))


def make_pod(name: str = "pod-a", **fields: Any) -> PodView:
    """A pod that was created 30 s ago and is running."""
    plain: dict[str, Any] = {
        "namespace": "lab",
        "name": name,
        "uid": f"uid-{name}",
        "resource_version": "1",
        "queue": "sorting",
        "queue_uid": "queue-uid",
        "key": f'{{"id": "{name}"}}',
        "attempt": 1,
        "phase": "Running",
        "reason": "",
        "message": "",
        "node": "node-1",
        "created_at": ago(30),
        "scheduled": True,
        "started_at": ago(25),
        "deleting_since": None,
        "has_finalizer": True,
        "disruption": None,
        "waiting": None,
        "termination": None,
        "memory_limit": None,
    }
    return PodView(**plain | fields)


def pending_pod(name: str = "pod-a", waiting: str | None = None, message: str = "", **fields: Any) -> PodView:
    """A pod that has not started; `waiting` is its container's reason."""
    wait = Waiting("populate", waiting, message) if waiting else None
    return make_pod(name, **{"phase": "Pending", "started_at": None, "waiting": wait} | fields)


def succeeded_pod(name: str = "pod-a", **fields: Any) -> PodView:
    """A pod that ran from 25 to 5 s ago and exited 0."""
    return make_pod(name, **{"phase": "Succeeded", "termination": termination(0, "Completed")} | fields)


def failed_pod(name: str = "pod-a", exit_code: int = 1, reason: str = "Error", **fields: Any) -> PodView:
    """A pod that ran from 25 to 5 s ago and failed."""
    message = fields.pop("report", "")
    ended = termination(exit_code, reason, message)
    return make_pod(name, **{"phase": "Failed", "termination": ended} | fields)


def termination(exit_code: int, reason: str, message: str = "") -> Termination:
    """The end of the main container, which ran for 20 s."""
    return Termination("populate", exit_code, reason, message, started_at=ago(25), finished_at=ago(5))


def job_of(pod: PodView, **fields: Any) -> Reservation:
    """The reservation that names `pod`, as old as the pod."""
    plain: dict[str, Any] = {
        "key": pod.key,
        "pod": pod.name,
        "attempt": pod.attempt,
        "age": (NOW - pod.created_at).total_seconds(),
    }
    return Reservation(**plain | fields)


def make_job(pod: str = "pod-a", **fields: Any) -> Reservation:
    """A reservation of 5 s ago, the first attempt at its key."""
    plain: dict[str, Any] = {"key": f'{{"id": "{pod}"}}', "pod": pod, "attempt": 1, "age": 5.0}
    return Reservation(**plain | fields)


def observe(*parts: PodView | Reservation, **fields: Any) -> Observed:
    """A queue with these pods and reservations, refreshed a second ago, with nothing due."""
    pods = {part.name: part for part in parts if isinstance(part, PodView)}
    jobs = {part.pod: part for part in parts if isinstance(part, Reservation)}
    plain: dict[str, Any] = {"pods": pods, "reservations": jobs, "last_refresh": ago(1)}
    return Observed(**plain | fields)


def at_work(pod: PodView, **fields: Any) -> tuple[PodView, Reservation]:
    """A pod and the reservation that names it."""
    return pod, job_of(pod, **fields)
