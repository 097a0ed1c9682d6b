"""`kubectl populate unblock`: take the operator's finalizers away when no operator is left to do it.

An operator that runs lets queues and pods go by itself, once their jobs are settled. This is for one that is
gone for good: nothing is settled, and what pods had reserved stays reserved in the database until an operator
of the same installation, or DataJoint's own orphan timeout, gives it back.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from populate_operator.pods.names import FINALIZER, JOB_PODS, LEASE, QUEUE_FINALIZER

QUEUES = "populatequeues.populate.datajoint.io"

Object = Mapping[str, Any]


class UnblockError(Exception):
    """Nothing more can be done; a sentence that says why, with the remedy."""


def unblock(scope: Sequence[str], *, force: bool, now: datetime, kubectl: Sequence[str]) -> list[str]:
    """Release every queue and pod in `scope`, which is kubectl's own flags for that; their names.

    Raises UnblockError while an operator's Lease is in force at `now` (UTC), unless `force`, and when kubectl
    fails, with its message.
    """
    if not force:
        leases = _get(kubectl, "leases.coordination.k8s.io", "-A", f"--field-selector=metadata.name={LEASE}")
        if operators := living_operators(leases, now):
            raise UnblockError(
                f"an operator runs ({', '.join(operators)}) and lets queues go by itself when their pods "
                "have ended: delete the queues and wait, or remove the operator first; "
                "--force if it serves other namespaces"
            )
    found = [*_get(kubectl, "pods", "-l", JOB_PODS, *scope), *_get(kubectl, QUEUES, *scope)]
    released = []
    for one in found:
        patch = build_patch(one)
        if patch and _applied(kubectl, patch):
            released.append("{kind}/{metadata[name]} in {metadata[namespace]}".format_map(one))
    return released


def _applied(kubectl: Sequence[str], patch: Sequence[str]) -> bool:
    """Apply the patch; False when the object has gone meanwhile."""
    try:
        _run(kubectl, *patch)
    except UnblockError as error:
        if "(NotFound)" in str(error):
            return False
        raise
    return True


def living_operators(leases: Iterable[Object], now: datetime) -> list[str]:
    """`NAMESPACE/HOLDER` of each operator whose Lease is in force at `now`, which is in UTC."""
    return [
        f"{lease['metadata']['namespace']}/{lease['spec']['holderIdentity']}"
        for lease in leases
        if lease["spec"].get("holderIdentity") and _in_force_until(lease["spec"]) > now
    ]


def _in_force_until(spec: Object) -> datetime:
    return datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])


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
