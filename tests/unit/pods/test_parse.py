"""From plain JSON to a PodView.

Cases: a running pod whole; phases; why a pod waits; which container decides the end; disruption;
identity where users edited what we wrote; garbage of every shape.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.pods.parse import view_of
from populate_operator.pods.view import PodView, Termination, Waiting

Json = dict[str, Any]

START, END = "2026-01-02T03:04:05Z", "2026-01-02T03:05:06Z"
STARTED, ENDED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 5, 6, tzinfo=UTC)

RUNNING = {"running": {"startedAt": START}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "", message: str = "") -> Json:
    reason = reason or ("Error" if code else "Completed")
    times = {"startedAt": START, "finishedAt": END}
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **times}}


def container(name: str, state: Json, **fields: Any) -> Json:
    return {"name": name, "state": state, **fields}


def build_raw(*containers: Json, init: tuple[Json, ...] = (), **status: Any) -> Json:
    """A pod of our queue with the container statuses given, the first being the main container's."""
    names = [one["name"] for one in containers] or ["main"]
    return {
        "metadata": {
            "name": "q-1",
            "namespace": "lab",
            "uid": "pod-uid",
            "resourceVersion": "42",
            "creationTimestamp": START,
            "labels": {
                "app.kubernetes.io/managed-by": "populate-operator",
                "populate.datajoint.io/queue": "q",
                "populate.datajoint.io/queue-uid": "queue-uid",
            },
            "annotations": {
                "populate.datajoint.io/key": '{"a": 1}',
                "populate.datajoint.io/attempt": "3",
            },
            "finalizers": ["example.com/other", "populate.datajoint.io/outcome"],
            "ownerReferences": [
                {"kind": "PopulateQueue", "name": "q", "uid": "queue-uid", "controller": True}
            ],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": name, "image": "x"} for name in names],
        },
        "status": {
            "phase": "Pending",
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def test_a_running_pod_whole() -> None:
    raw = build_raw(container("main", RUNNING), phase="Running")
    raw["spec"]["containers"][0]["resources"] = {"limits": {"memory": "512Mi"}}
    assert view_of(raw) == PodView(
        namespace="lab",
        name="q-1",
        uid="pod-uid",
        resource_version="42",
        queue="q",
        queue_uid="queue-uid",
        key='{"a": 1}',
        attempt=3,
        phase="Running",
        reason="",
        message="",
        node="node-1",
        created_at=STARTED,
        scheduled=True,
        started_at=STARTED,
        deleting_since=None,
        has_finalizer=True,
        disruption=None,
        waiting=None,
        termination=None,
        memory_limit="512Mi",
    )


def end(code: int, reason: str, container: str = "main", message: str = "") -> Termination:
    return Termination(container, code, reason, message, STARTED, ENDED)


TERMINATIONS: dict[str, tuple[Json, Termination | None]] = {
    "succeeded": (build_raw(container("main", ended(0)), phase="Succeeded"), end(0, "Completed")),
    "exit code": (build_raw(container("main", ended(3)), phase="Failed"), end(3, "Error")),
    "message": (
        build_raw(container("main", ended(1, message="ValueError: x")), phase="Failed"),
        end(1, "Error", message="ValueError: x"),
    ),
    "out of memory": (
        build_raw(container("main", ended(137, "OOMKilled")), phase="Failed"),
        end(137, "OOMKilled"),
    ),
    "an init container failed": (
        build_raw(
            container("main", waiting("PodInitializing")),
            init=(container("ok", ended(0)), container("fetch", ended(2))),
            phase="Failed",
        ),
        end(2, "Error", "fetch"),
    ),
    "the main container's failure comes first": (
        build_raw(container("main", ended(1)), container("log", ended(9)), phase="Failed"),
        end(1, "Error"),
    ),
    "another container failed": (
        build_raw(container("main", ended(0)), container("log", ended(9)), phase="Failed"),
        end(9, "Error", "log"),
    ),
    "a sidecar's failure after success does not count": (
        build_raw(container("main", ended(0)), init=(container("proxy", ended(143)),), phase="Succeeded"),
        end(0, "Completed"),
    ),
    "main ended while another goes on": (
        build_raw(container("main", ended(0)), container("log", RUNNING), phase="Running"),
        end(0, "Completed"),
    ),
    "another ended while main goes on": (
        build_raw(container("main", RUNNING), container("log", ended(1)), phase="Running"),
        None,
    ),
    "restarted and running": (
        build_raw(container("main", RUNNING, lastState=ended(1)), phase="Running"),
        None,
    ),
    "restarted and waiting": (
        build_raw(container("main", waiting("CrashLoopBackOff"), lastState=ended(1)), phase="Running"),
        end(1, "Error"),
    ),
    "only the last state is known": (
        build_raw(container("main", {}, lastState=ended(137, "ContainerStatusUnknown")), phase="Failed"),
        end(137, "ContainerStatusUnknown"),
    ),
    "evicted before it started": (build_raw(phase="Failed", reason="Evicted"), None),
    "status order is not the spec's": (
        build_raw(container("main", ended(4)), phase="Failed")
        | {"spec": {"containers": [{"name": "main"}, {"name": "log"}]}},
        end(4, "Error"),
    ),
}


@pytest.mark.parametrize(("raw", "expected"), TERMINATIONS.values(), ids=list(TERMINATIONS))
def test_how_it_ended(raw: Json, expected: Termination | None) -> None:
    assert view_of(raw).termination == expected


def unscheduled(reason: str, message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    raw = build_raw(conditions=[condition])
    del raw["spec"]["nodeName"]
    return raw


WAITS: dict[str, tuple[Json, Waiting | None]] = {
    "image": (
        build_raw(container("main", waiting("ImagePullBackOff", "Back-off"))),
        Waiting("main", "ImagePullBackOff", "Back-off"),
    ),
    "starting": (
        build_raw(container("main", waiting("ContainerCreating"))),
        Waiting("main", "ContainerCreating", ""),
    ),
    "an init container's image": (
        build_raw(
            container("main", waiting("PodInitializing")),
            init=(container("fetch", waiting("ErrImagePull", "no such image")),),
        ),
        Waiting("fetch", "ErrImagePull", "no such image"),
    ),
    "an init container runs": (
        build_raw(container("main", waiting("PodInitializing")), init=(container("fetch", RUNNING),)),
        Waiting("main", "PodInitializing", ""),
    ),
    "a sidecar's configuration": (
        build_raw(
            container("main", waiting("PodInitializing")),
            init=(container("proxy", waiting("CreateContainerConfigError", "secret not found")),),
        ),
        Waiting("proxy", "CreateContainerConfigError", "secret not found"),
    ),
    "unschedulable": (
        unscheduled("Unschedulable", "0/3 nodes are available"),
        Waiting("", "Unschedulable", "0/3 nodes are available"),
    ),
    "gated": (unscheduled("SchedulingGated", "gates"), Waiting("", "SchedulingGated", "gates")),
    "running": (build_raw(container("main", RUNNING), phase="Running"), None),
    "nothing known yet": (build_raw(), None),
}


@pytest.mark.parametrize(("raw", "expected"), WAITS.values(), ids=list(WAITS))
def test_why_it_waits(raw: Json, expected: Waiting | None) -> None:
    assert view_of(raw).waiting == expected


def test_scheduled_is_a_node_or_the_condition() -> None:
    assert view_of(build_raw()).scheduled
    assert not view_of(unscheduled("Unschedulable", "")).scheduled


@pytest.mark.parametrize(("status", "expected"), [("True", "EvictionByEvictionAPI"), ("False", None)])
def test_disruption_is_a_true_condition(status: str, expected: str | None) -> None:
    condition = {"type": "DisruptionTarget", "status": status, "reason": "EvictionByEvictionAPI"}
    assert view_of(build_raw(conditions=[condition], phase="Failed")).disruption == expected


def test_a_disruption_tells_why_where_the_pod_does_not() -> None:
    why = "default-scheduler: preempting to accommodate a higher priority pod"
    condition = {"type": "DisruptionTarget", "status": "True", "message": why}
    assert view_of(build_raw(conditions=[condition])).message == why
    assert view_of(build_raw(conditions=[condition], message="low on memory")).message == "low on memory"


def test_the_owner_reference_outranks_edited_labels() -> None:
    raw = build_raw()
    raw["metadata"]["labels"] = {"populate.datajoint.io/queue": "x", "populate.datajoint.io/queue-uid": "x"}
    assert (view_of(raw).queue, view_of(raw).queue_uid) == ("q", "queue-uid")


def test_labels_serve_where_the_owner_reference_is_gone() -> None:
    raw = build_raw()
    raw["metadata"]["ownerReferences"] = [{"kind": "Other", "name": "x", "uid": "x", "controller": True}]
    assert (view_of(raw).queue, view_of(raw).queue_uid) == ("q", "queue-uid")


@pytest.mark.parametrize("attempt", [None, "", "many", "-4", "1.5"])
def test_a_broken_attempt_is_the_first(attempt: str | None) -> None:
    raw = build_raw()
    raw["metadata"]["annotations"] = {"populate.datajoint.io/attempt": attempt}
    assert view_of(raw).attempt == 1


def test_the_container_named_populate_decides() -> None:
    raw = build_raw(container("log", ended(9)), container("populate", ended(1)), phase="Failed")
    assert view_of(raw).termination == end(1, "Error", "populate")


FIELDS = [
    *("metadata", "spec", "status", "labels", "annotations", "ownerReferences", "finalizers", "controller"),
    *("containers", "containerStatuses", "initContainerStatuses", "conditions", "resources", "limits"),
    *("state", "lastState", "waiting", "running", "terminated", "exitCode", "startedAt", "memory"),
    *("name", "kind", "type", "phase", "creationTimestamp", "deletionGracePeriodSeconds"),
]

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), anything))
def test_garbage_makes_a_view_of_a_pod_of_nobody(raw: Json) -> None:
    view = view_of(raw)
    assert isinstance(view, PodView)
    assert view.attempt >= 1
