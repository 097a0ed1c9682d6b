"""One short pod of the user's image that reports the key source of the class (design section 7).

The finished pod is the cache: its name tells image, class and script, so that a restarted operator reads
the report again instead of running it anew, and a changed image gets a pod of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

from populate_operator.pods.build import PodRequest, build_pod
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import Conflict
from populate_operator.pods.names import FINALIZER, KEY_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL
from populate_operator.pods.parse import main_container
from populate_operator.pods.report import parse_key_source, parse_termination_message
from populate_operator.pods.session import JsonObject
from populate_operator.pods.view import PodView

MODE = "key-source"
LONGEST_REPORT = 1 << 20  # characters of the log: a SELECT that does not fit into the termination message
LONGEST_SECONDS = 540  # that the pod may take, whoever waits for it: it holds its node's resources
Look = Callable[[PodView], str | None]

_ERRAND = "which asks the class for its key source"
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.5, 5.0, 1.25  # seconds between two looks at the pod


class ProbeFailed(Exception):
    """The class did not report its key source; the message is the runner's, or says how the pod ended."""


def build_probe(request: PodRequest) -> JsonObject:
    """The probe pod for the queue, template and class of `request`, whose name and key do not matter.

    It is no job: no finalizer holds it, the watch of job pods does not see it, and its deadline is its own.
    """
    pod = build_pod(request)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"] = {
        **(request.template.get("metadata") or {}).get("labels", {}),
        MANAGED_BY_LABEL: MANAGED_BY,
    }
    metadata["finalizers"] = [one for one in metadata["finalizers"] if one != FINALIZER]
    del metadata["annotations"][KEY_ANNOTATION]
    main = main_container(spec["containers"])
    if main is None:  # build_pod refuses such a template
        raise ValueError("template.spec.containers is empty")
    main["command"] = [*main["command"], MODE]
    main["env"] = [one for one in main["env"] if one["name"] not in ("POPULATE_KEY", "POPULATE_POD")]
    own = spec.get("activeDeadlineSeconds")  # whatever the template has
    spec["activeDeadlineSeconds"] = min(own, LONGEST_SECONDS) if isinstance(own, int) else LONGEST_SECONDS
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
    metadata["name"] = f"{request.queue.name[:45].rstrip('-.')}-keys-{digest}"
    return pod


async def run_probe(api: PodApi, pod: JsonObject, look: Look) -> str:
    """Run the probe, or read the report of an earlier run; the SELECT, each `%` in it doubled.

    `look` sees the pod now and then until it has ended, and tells why to wait no longer, if so. A pod that
    failed or is given up on is deleted, so that the next call tries again. Raises ProbeFailed and ApiError.
    """
    for _ in range(2):  # where the first is on its way out, given up on before, it makes room for another
        await _ensure(api, pod)
        ended = await _wait_for_end(api, pod, look)
        if ended:
            return await _read_report(api, ended)
    raise ProbeFailed(f"pod {pod['metadata']['name']}, {_ERRAND}, was deleted")


async def find_report(api: PodApi, pod: JsonObject) -> str | None:
    """What an earlier run of the probe told, as `run_probe`; None where none has. Starts nothing."""
    found = await api.get(pod["metadata"]["namespace"], pod["metadata"]["name"])
    return await _read_report(api, found) if found and found.phase == "Succeeded" else None


async def _ensure(api: PodApi, pod: JsonObject) -> None:
    # Looked for first: where a quota is used up, the server refuses even the name of a pod that is there.
    if await api.get(pod["metadata"]["namespace"], pod["metadata"]["name"]) is None:
        try:
            await api.create(pod)
        except Conflict as error:
            if not error.already_exists:
                raise


async def _wait_for_end(api: PodApi, pod: JsonObject, look: Look) -> PodView | None:
    """The pod once it has ended by itself; None when it was deleted. Raises ProbeFailed and ApiError.

    It is looked at, not watched: the waiting may also end by a deadline or a changed class, which no event
    of the pod tells.
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    pause = _FIRST_PAUSE
    while found := await api.get(namespace, name):
        if found.phase == "Succeeded" or (found.is_finished and found.deleting_since is None):
            return found
        why = look(found)
        if why:
            await api.delete(found)
            raise ProbeFailed(f"pod {name}, {_ERRAND}, is given up on: {why}")
        await asyncio.sleep(pause)
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    return None


async def _read_report(api: PodApi, ended: PodView) -> str:
    message, log = "", ""
    if ended.termination:
        message, container = ended.termination.message, ended.termination.container
        log = await api.log_tail(ended.namespace, ended.name, container, characters=LONGEST_REPORT)
    key_source = parse_key_source(message, log) if ended.phase == "Succeeded" else None
    if key_source is None:
        await api.delete(ended)
        raise ProbeFailed(_complaint(ended, message, log))
    return key_source


def _complaint(pod: PodView, message: str, log: str) -> str:
    report = parse_termination_message(message)
    if report:
        return report.message
    last = (message or log).strip().splitlines()[-1:] or [pod.message]
    return f"pod {pod.name}, {_ERRAND}, ended {pod.reason or pod.phase}: {last[0]}"
