"""Which of the listed namespaces an operator can serve at present.

Its rights in a namespace are a Role of that namespace: they go when it is deleted, and come back when both
are made anew. One without them must not hold up the others: Kopf ends for all when it may not watch one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from populate_operator.pods.errors import NotFound, Refused
from populate_operator.pods.queues import QueueApi

NO_CRD = "the PopulateQueue CRD is not installed: kubectl apply -f crds/"
NO_RIGHTS = (
    "the operator has no rights there: make the namespace, then its Role by helm upgrade, "
    "or take it out of watchNamespaces"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What can be served, unless something is `missing`."""

    namespaces: tuple[str, ...] = ()  # empty for the whole cluster
    left_out: tuple[str, ...] = ()  # listed too, but without rights
    missing: str | None = None  # why nothing can be served


def plan_scope(refusals: Mapping[str, Refused | None]) -> Scope:
    """What to serve, from the answers of all listed namespaces: None where queues could be listed."""
    served = tuple(one for one, refusal in refusals.items() if refusal is None)
    left_out = tuple(one for one, refusal in refusals.items() if refusal is not None)
    # An empty scope would be the whole cluster.
    missing = f"{', '.join(left_out)}: {NO_RIGHTS}" if left_out and not served else None
    return Scope(served, left_out, missing)


async def survey(queues: QueueApi, namespaces: Sequence[str]) -> Scope:
    """Ask in each of `namespaces`, or for the whole cluster when there are none.

    Raises Unreachable; and Refused for the whole cluster only.
    """
    try:
        if not namespaces:
            await queues.list_uids(())
        return plan_scope({one: await _refusal(queues, one) for one in namespaces})
    except NotFound:
        return Scope(missing=NO_CRD)


async def _refusal(queues: QueueApi, namespace: str) -> Refused | None:
    try:
        await queues.list_uids((namespace,))
    except Refused as error:
        return error
    return None
