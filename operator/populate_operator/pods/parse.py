"""From the API's plain JSON of a pod to a PodView. Pure, and never raises: users may edit what we wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, get_args

from populate_operator.pods.names import (
    ATTEMPT_ANNOTATION,
    FINALIZER,
    KEY_ANNOTATION,
    MAIN_CONTAINER,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    QUEUE_LABEL,
    QUEUE_UID_LABEL,
)
from populate_operator.pods.owner import QUEUE_KIND
from populate_operator.pods.view import Phase, PodView, Termination, Waiting

Json = Mapping[str, Any]
Container = TypeVar("Container", bound=Json)

_MOST_ATTEMPTS = 2**31 - 1  # what a row can count
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_PHASES = frozenset(get_args(Phase))
# These say only that a container's turn has not come: the reason lies with another container.
_IN_TURN = frozenset({"", "PodInitializing", "ContainerCreating"})


def view_of(raw: Json) -> PodView:
    """The view of a pod as the API server sent it."""
    metadata, spec, status = (_object(raw, part) for part in ("metadata", "spec", "status"))
    labels, annotations = _object(metadata, "labels"), _object(metadata, "annotations")
    owner = _owner(metadata)
    main = main_container(_objects(spec, "containers")) or {}
    statuses = {_text(one, "name"): one for one in _objects(status, "containerStatuses")}
    main_status = statuses.get(_text(main, "name"), {})
    phase = _phase(status)
    scheduled = _condition(status, "PodScheduled")
    disrupted = _condition(status, "DisruptionTarget")
    return PodView(
        namespace=_text(metadata, "namespace"),
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        # The owner reference outranks the labels: nobody edits it by mistake.
        queue=_text(owner, "name") or _text(labels, QUEUE_LABEL),
        queue_uid=_text(owner, "uid") or _text(labels, QUEUE_UID_LABEL),
        key=_text(annotations, KEY_ANNOTATION),
        attempt=_attempt(annotations),
        phase=phase,
        reason=_text(status, "reason"),
        message=_text(status, "message") or _text(disrupted, "message"),
        node=_text(spec, "nodeName"),
        created_at=_time(metadata, "creationTimestamp") or _BEGINNING,
        scheduled=bool(_text(spec, "nodeName")) or _text(scheduled, "status") == "True",
        started_at=_started_at(main_status),
        deleting_since=_time(metadata, "deletionTimestamp"),
        has_finalizer=FINALIZER in _list(metadata, "finalizers"),
        disruption=_text(disrupted, "reason") if _text(disrupted, "status") == "True" else None,
        waiting=_waiting(status, main_status, scheduled),
        termination=_termination(status, main_status, phase),
        memory_limit=_text(_object(_object(main, "resources"), "limits"), "memory") or None,
        changed_at=_changed_at(metadata),
        is_kept_by_others=_is_kept_by_others(metadata),
        is_labelled=_text(labels, MANAGED_BY_LABEL) == MANAGED_BY and QUEUE_UID_LABEL in labels,
    )


def main_container(containers: Sequence[Container]) -> Container | None:
    """The container that does the work: the one named `populate`, else the first; None if there is none."""
    named = (one for one in containers if one.get("name") == MAIN_CONTAINER)
    return next(named, containers[0] if containers else None)


def _termination(status: Json, main_status: Json, phase: Phase) -> Termination | None:
    """How the deciding container ended: in a failed pod the first that failed, the main one before others."""
    ends = [end for one in _in_order(status, main_status) if (end := _end_of(one, phase))]
    if phase == "Failed":
        failed = next((end for end in ends if end.exit_code != 0), None)
        if failed:
            return failed
    main_name = _text(main_status, "name")
    return next((end for end in ends if end.container == main_name), None)


def _in_order(status: Json, main_status: Json) -> Iterator[Json]:
    yield main_status
    yield from _objects(status, "initContainerStatuses")
    yield from (one for one in _objects(status, "containerStatuses") if one is not main_status)


def _end_of(container: Json, phase: Phase) -> Termination | None:
    state = _object(container, "state")
    end = _object(state, "terminated")
    # A restarted container keeps its last end in lastState; while it runs again it has not ended.
    if not end and ("running" not in state or phase in ("Succeeded", "Failed")):
        end = _object(_object(container, "lastState"), "terminated")
    if not end:
        return None
    return Termination(
        container=_text(container, "name"),
        exit_code=_integer(end.get("exitCode"), -1),
        reason=_text(end, "reason"),
        message=_text(end, "message"),
        started_at=_time(end, "startedAt"),
        finished_at=_time(end, "finishedAt"),
    )


def _waiting(status: Json, main_status: Json, scheduled: Json) -> Waiting | None:
    if _text(scheduled, "status") == "False":  # Unschedulable, or SchedulingGated as by Kueue
        return Waiting("", _text(scheduled, "reason"), _text(scheduled, "message"))
    found = [
        Waiting(_text(one, "name"), _text(waits, "reason"), _text(waits, "message"))
        for one in _in_order(status, main_status)
        if (waits := _object(_object(one, "state"), "waiting"))
    ]
    telling = (one for one in found if one.reason not in _IN_TURN)
    return next(telling, found[0] if found else None)


def _started_at(container: Json) -> datetime | None:
    state = _object(container, "state")
    return _time(_object(state, "running"), "startedAt") or _time(_object(state, "terminated"), "startedAt")


def _changed_at(metadata: Json) -> datetime | None:
    times = [
        _time(one, "time")
        for one in _objects(metadata, "managedFields")
        if one.get("subresource") != "status"
    ]
    return max((time for time in times if time), default=None)


def _is_kept_by_others(metadata: Json) -> bool:
    # Once no grace is left the object does not wait for the kubelet, but for finalizers alone.
    is_forced = _integer(metadata.get("deletionGracePeriodSeconds"), -1) == 0
    return is_forced and any(one != FINALIZER for one in _list(metadata, "finalizers"))


def _owner(metadata: Json) -> Json:
    owners = _objects(metadata, "ownerReferences")
    return next((one for one in owners if one.get("controller") and one.get("kind") == QUEUE_KIND), {})


def _condition(status: Json, kind: str) -> Json:
    return next((one for one in _objects(status, "conditions") if one.get("type") == kind), {})


def _phase(status: Json) -> Phase:
    phase = _text(status, "phase")
    return cast("Phase", phase) if phase in _PHASES else "Unknown"


def _attempt(annotations: Json) -> int:
    return min(max(1, _integer(annotations.get(ATTEMPT_ANNOTATION), 1)), _MOST_ATTEMPTS)


def _integer(value: object, default: int) -> int:
    try:
        return int(str(value))
    except ValueError:
        return default


def _time(parent: Json, name: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(parent, name)).astimezone(UTC)
    except ValueError:
        return None
    return (
        time if time > _BEGINNING else None
    )  # containerd's word for "never", of a container that cannot start


def _text(parent: Json, name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _object(parent: Json, name: str) -> Json:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _objects(parent: Json, name: str) -> list[Json]:
    return [one for one in _list(parent, name) if isinstance(one, Mapping)]


def _list(parent: Json, name: str) -> list[Any]:
    value = parent.get(name)
    return value if isinstance(value, list) else []
