"""`kubectl populate unblock`: take the operator's finalizers away when no operator is left to do it.

An operator that runs lets queues and pods go by itself, once their jobs are settled. This is for one that is
gone for good: nothing is settled, and what pods had reserved stays reserved in the database until an operator
of the same installation, or DataJoint's own orphan timeout, gives it back.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from populate_operator.pods.names import FINALIZER, JOB_PODS, LEASE, QUEUE_FINALIZER

QUEUES = "populatequeues.populate.datajoint.io"
# Between two looks at the Leases. A leader renews its own every 2 s: all that live are seen at once.
LOOK_SECONDS = 3.0
# kubectl's words where the CRD is gone: from discovery, and from the server while discovery is cached.
NO_SUCH_KIND = ("the server doesn't have a resource type", "the server could not find the requested resource")

Object = Mapping[str, Any]


class UnblockError(Exception):
    """Nothing more can be done; a sentence that says why, with the remedy."""


def unblock(scope: Sequence[str], *, force: bool, kubectl: Sequence[str]) -> Iterator[str]:
    """Release every queue and pod in `scope`, which is kubectl's own flags for that; their names, one by one.

    Raises UnblockError while an operator's Lease is in force, unless `force`, and when kubectl fails, with
    its message.
    """
    if not force and (operators := _living_operators(kubectl)):
        raise UnblockError(
            f"an operator runs ({', '.join(operators)}) and lets queues go by itself when their pods "
            "have ended: delete the queues and wait, or remove the operator first; "
            "--force if it serves other namespaces"
        )
    # Pods first: what becomes of the queues, and whether there still is such a kind, is nothing to them.
    yield from _released(kubectl, _get(kubectl, "pods", "-l", JOB_PODS, *scope))
    yield from _released(kubectl, _queues(kubectl, scope))


def _released(kubectl: Sequence[str], found: Iterable[Object]) -> Iterator[str]:
    for one in found:
        patch = build_patch(one)
        if patch and _applied(kubectl, patch):
            yield "{kind}/{metadata[name]} in {metadata[namespace]}".format_map(one)


def _queues(kubectl: Sequence[str], scope: Sequence[str]) -> list[Object]:
    try:
        return _get(kubectl, QUEUES, *scope)
    except UnblockError as error:
        if any(words in str(error) for words in NO_SUCH_KIND):
            return []  # they went with their CRD
        raise


def _applied(kubectl: Sequence[str], patch: Sequence[str]) -> bool:
    """Apply the patch; False when the object has gone meanwhile."""
    try:
        _run(kubectl, *patch)
    except UnblockError as error:
        if "(NotFound)" in str(error):
            return False
        raise
    return True


def _living_operators(kubectl: Sequence[str]) -> list[str]:
    """`NAMESPACE/HOLDER` of each operator that renews its Lease; waits as long as one would be in force."""

    def read() -> list[Object]:
        return _get(kubectl, "leases.coordination.k8s.io", "-A", f"--field-selector=metadata.name={LEASE}")

    first = read()
    durations = [lease["spec"].get("leaseDurationSeconds") or 0 for lease in first if _holder(lease)]
    until = time.monotonic() + max(durations, default=0)
    while time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        if living := renewed(first, read()):
            return living
    return []


def renewed(before: Iterable[Object], after: Iterable[Object]) -> list[str]:
    """`NAMESPACE/HOLDER` of each Lease that its holder took or renewed between two readings.

    As leader election has it: clocks of two machines are not compared, and a Lease is in force until it has
    not been renewed for its own duration.
    """
    known = {lease["metadata"]["namespace"]: lease["spec"].get("renewTime") for lease in before}
    return [
        f"{namespace}/{holder}"
        for lease in after
        if (holder := _holder(lease))
        and known.get(namespace := lease["metadata"]["namespace"]) != lease["spec"].get("renewTime")
    ]


def _holder(lease: Object) -> str:
    return lease["spec"].get("holderIdentity") or ""


def build_patch(found: Object) -> list[str] | None:
    """The kubectl arguments that take our finalizer from an object, and no other; None when it has none."""
    metadata = found["metadata"]
    finalizers: Sequence[str] = metadata.get("finalizers") or ()
    ours = next((one for one in finalizers if one in (FINALIZER, QUEUE_FINALIZER)), None)
    if ours is None:
        return None
    path = f"/metadata/finalizers/{finalizers.index(ours)}"
    # The API server refuses where the list has changed since.
    patch = [{"op": "test", "path": path, "value": ours}, {"op": "remove", "path": path}]
    target = ["--namespace", metadata["namespace"], found["kind"].lower(), metadata["name"]]
    return ["patch", *target, "--type=json", f"--patch={json.dumps(patch)}"]


def _get(kubectl: Sequence[str], *arguments: str) -> list[Object]:
    found: list[Object] = json.loads(_run(kubectl, "get", *arguments, "-o", "json"))["items"]
    return found


def _run(kubectl: Sequence[str], *arguments: str) -> str:
    done = subprocess.run([*kubectl, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnblockError(done.stderr.strip())
    return done.stdout
