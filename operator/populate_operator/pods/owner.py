"""The PopulateQueue as the owner of pods and other objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUEUE_KIND = "PopulateQueue"


@dataclass(frozen=True, slots=True)
class QueueRef:
    """The PopulateQueue that owns an object."""

    api_version: str  # "populate.datajoint.io/v1alpha1"
    namespace: str
    name: str
    uid: str

    def owner_reference(self) -> dict[str, Any]:
        """For metadata.ownerReferences. It never blocks the queue's deletion: finalizers do that."""
        return {
            "apiVersion": self.api_version,
            "kind": QUEUE_KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
