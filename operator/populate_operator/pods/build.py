"""The pod of one job, from the user's template. Pure: the same request always builds the same pod."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from populate_operator.pods.memory import with_more_memory
from populate_operator.pods.names import ATTEMPT_ANNOTATION, FINALIZER, KEY_ANNOTATION
from populate_operator.pods.owner import QueueRef
from populate_operator.pods.parse import main_container

Json = dict[str, Any]

RUNNER_FILE = "runner.py"
_RUNNER_VOLUME = "populate-operator-runner"
_RUNNER_FOLDER = "/populate-operator"
_MOST_RAISES = 64  # beyond any node's memory; the number comes from a row that people may write to


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """Where the job's database is and which Secret of the pod's namespace holds its account."""

    host: str
    port: int
    secret_name: str
    username_key: str
    password_key: str


@dataclass(frozen=True, slots=True)
class Runner:
    """The class to populate and the ConfigMap that holds runner.py."""

    class_path: str  # "package.module:Class"
    config_map: str


@dataclass(frozen=True, slots=True)
class PodRequest:
    """Everything that the pod of one job is made of."""

    name: str  # names.pod_name(...): also the fence in the job's row
    queue: QueueRef
    template: Mapping[str, Any]  # spec.template, a PodTemplateSpec as plain JSON
    database: DatabaseAccess
    schema: str
    table: str
    key: str  # the job's key as JSON
    attempt: int  # 1 for the first try
    runner: Runner | None = None
    active_deadline_seconds: int | None = None
    memory_factor: float | None = None  # multiplies the memory once for each of `oom_kills`
    oom_kills: int = 0


def build_pod(request: PodRequest) -> Json:
    """The pod as plain JSON, ready for `PodApi.create`.

    The template's fields stay as they are but for those that make the pod a job's: see the functions
    below. Raises ValueError when the template has no container, or an amount of memory is no quantity.
    """
    spec: Json = copy.deepcopy(dict(request.template.get("spec") or {}))
    main = main_container(spec.get("containers") or [])
    if main is None:
        raise ValueError("template.spec.containers is empty: give the container that runs the job")
    spec["restartPolicy"] = "Never"
    # The user's code gets no API token unless the template asks for one.
    spec.setdefault("automountServiceAccountToken", False)
    if request.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = request.active_deadline_seconds
    main["env"] = build_env(request, main.get("env") or [], main.get("terminationMessagePath"))
    main.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    if request.runner:
        _add_runner(spec, main, request.runner)
    if request.memory_factor and request.oom_kills:
        factor = request.memory_factor ** min(request.oom_kills, _MOST_RAISES)
        for owner in (main, spec):  # spec.resources is the pod-level budget, where it is used
            if owner.get("resources"):
                owner["resources"] = with_more_memory(owner["resources"], factor)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _build_metadata(request), "spec": spec}


def build_env(request: PodRequest, users: list[Json], message_path: str | None = None) -> list[Json]:
    """The main container's environment: the job's variables first, so that the user's can refer to them.

    POPULATE_* are the operator's alone; a DJ_* variable that the template sets itself is left to it.
    `message_path` is where the template has the kubelet look for the termination message, if it says so.
    """
    queue, database = request.queue, request.database
    ours = {
        "POPULATE_KEY": _literal(request.key),
        "POPULATE_QUEUE": _literal(queue.name),
        "POPULATE_ATTEMPT": _literal(str(request.attempt)),
        "POPULATE_POD": _literal(request.name),
        "POPULATE_SCHEMA": _literal(request.schema),
        "POPULATE_TABLE": _literal(request.table),
    }
    if request.runner:
        ours["POPULATE_CLASS"] = _literal(request.runner.class_path)
    if message_path:
        ours["POPULATE_TERMINATION_LOG"] = _literal(message_path)
    account = {
        "DJ_HOST": _literal(database.host),
        "DJ_PORT": _literal(str(database.port)),
        "DJ_USER": _from_secret(database.secret_name, database.username_key),
        "DJ_PASS": _from_secret(database.secret_name, database.password_key),
    }
    theirs = [one for one in users if one.get("name") not in ours]
    taken = {one.get("name") for one in theirs}
    added = ours | {name: source for name, source in account.items() if name not in taken}
    return [{"name": name, **source} for name, source in added.items()] + theirs


def _build_metadata(request: PodRequest) -> Json:
    template = request.template.get("metadata") or {}
    annotations = {KEY_ANNOTATION: request.key, ATTEMPT_ANNOTATION: str(request.attempt)}
    others = [one for one in template.get("finalizers") or [] if one != FINALIZER]
    return {
        "name": request.name,
        "namespace": request.queue.namespace,
        "labels": {**(template.get("labels") or {}), **request.queue.labels()},
        "annotations": {**(template.get("annotations") or {}), **annotations},
        "finalizers": [*others, FINALIZER],
        "ownerReferences": [request.queue.owner_reference()],
    }


def _add_runner(spec: Json, main: Json, runner: Runner) -> None:
    main["command"] = ["python3", f"{_RUNNER_FOLDER}/{RUNNER_FILE}"]
    main.pop("args", None)  # they were meant for the image's own command
    mount = {"name": _RUNNER_VOLUME, "mountPath": _RUNNER_FOLDER, "readOnly": True}
    main["volumeMounts"] = [*(main.get("volumeMounts") or []), mount]
    volume = {"name": _RUNNER_VOLUME, "configMap": {"name": runner.config_map, "defaultMode": 0o444}}
    spec["volumes"] = [*(spec.get("volumes") or []), volume]


def _literal(value: str) -> Json:
    return {"value": _escaped(value)}


def _escaped(value: str) -> str:
    # Kubernetes expands $(NAME) in values and commands: a key that holds "$(DJ_PASS)" stays as it is.
    return value.replace("$", "$$")


def _from_secret(name: str, key: str) -> Json:
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
