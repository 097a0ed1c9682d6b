"""One short pod of the user's image that reports the key source of the class (design section 7).

The finished pod is the cache: its name tells image, class and script, so that a restarted operator reads
the report again instead of running it anew, and a changed image gets a pod of its own.
"""

from __future__ import annotations

import hashlib
import json

import aiohttp

from populate_operator.pods.build import PodRequest, build_pod
from populate_operator.pods.client import PodApi
from populate_operator.pods.errors import ApiError, Conflict
from populate_operator.pods.names import FINALIZER, KEY_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL
from populate_operator.pods.parse import main_container, view_of
from populate_operator.pods.report import parse_key_source, parse_termination_message
from populate_operator.pods.session import ApiSession, JsonObject
from populate_operator.pods.view import PodView

MODE = "key-source"
LONGEST_REPORT = 1 << 20  # characters of the log: a SELECT that does not fit into the termination message


class ProbeFailed(Exception):
    """The class did not report its key source; the message is the runner's, or says how the pod ended."""


def build_probe(request: PodRequest) -> JsonObject:
    """The probe pod for the queue, template and class of `request`, whose name and key do not matter.

    It is no job: no finalizer holds it, and the watch of job pods does not see it.
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
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]
    metadata["name"] = f"{request.queue.name[:45].rstrip('-.')}-keys-{digest}"
    return pod


async def run_probe(session: ApiSession, api: PodApi, pod: JsonObject) -> str:
    """Run the probe, or read the report of an earlier run; the SELECT, each `%` in it doubled.

    A failed probe pod is deleted, so that the next call tries again. Raises ProbeFailed and ApiError.
    """
    try:
        await api.create(pod)
    except Conflict as error:
        if not error.already_exists:
            raise
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    ended = await wait_for_end(session, namespace, name)
    if ended is None:
        raise ProbeFailed(f"pod {name}, which asks the class for its key source, was deleted")
    message, log = "", ""
    if ended.termination:
        message, container = ended.termination.message, ended.termination.container
        log = await api.log_tail(namespace, name, container, characters=LONGEST_REPORT)
    key_source = parse_key_source(message, log) if ended.phase == "Succeeded" else None
    if key_source is None:
        await api.delete(ended)
        raise ProbeFailed(_complaint(ended, message, log))
    return key_source


async def wait_for_end(session: ApiSession, namespace: str, name: str) -> PodView | None:
    """Follow one pod until it has finished; None when it was deleted. Raises ApiError."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    query: dict[str, str | int] = {
        "fieldSelector": f"metadata.name={name}",
        "watch": "1",
        "timeoutSeconds": 600,
    }
    limit = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=610.0)
    async with session.stream(path, query=query, limit=limit) as body:
        async for line in body:
            event = json.loads(line)
            if event["type"] == "DELETED":
                return None
            if event["type"] in ("ADDED", "MODIFIED"):
                pod = view_of(event["object"])
                if pod.is_finished:
                    return pod
    raise ApiError(
        f"pod {name}, which asks the class for its key source, has not ended yet", reason="NotEnded"
    )


def _complaint(pod: PodView, message: str, log: str) -> str:
    report = parse_termination_message(message)
    if report:
        return report.message
    last = (message or log).strip().splitlines()[-1:] or [pod.message]
    return (
        f"pod {pod.name}, which asks the class for its key source, ended {pod.reason or pod.phase}: {last[0]}"
    )
