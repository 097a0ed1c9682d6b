"""In which namespaces this installation has queues, noted on its Lease.

An operator that is started for fewer namespaces than the one before cannot look into the others: whether a
queue whose reservations it finds in the database is still there, with pods at work, it must not guess.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

HOMES_ANNOTATION = "populate.datajoint.io/namespaces"
EVERYWHERE = "*"
_LONGEST = 100_000  # characters; the API server takes 256 KiB in all annotations of an object


def read_note(annotations: Mapping[str, str]) -> frozenset[str]:
    """The namespaces in the Lease's annotation."""
    return frozenset(one for one in annotations.get(HOMES_ANNOTATION, "").split(",") if one)


def write_note(homes: Set[str]) -> str:
    """The annotation for these namespaces; of too many it says that they are everywhere."""
    text = ",".join(sorted(homes))
    return text if len(text) <= _LONGEST else EVERYWHERE


def plan_note(
    noted: Set[str], found: Set[str], listed: Collection[str], *, is_complete: bool
) -> frozenset[str]:
    """What to note now: where queues were `found`, and what nobody can look into any more.

    `listed` are the namespaces that are served, none of them for the whole cluster; `is_complete`: all of
    their queues were found.
    """
    out_of_sight = {one for one in noted if listed and one not in listed}
    return frozenset(found | out_of_sight if is_complete else found | noted)


def plan_homes(noted: Set[str], listed: Collection[str]) -> tuple[str, ...]:
    """Where queues of this installation may be; empty for the whole cluster."""
    if not listed or EVERYWHERE in noted:
        return ()
    return (*listed, *sorted(noted - set(listed)))
