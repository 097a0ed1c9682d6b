"""The PopulateQueue as the owner of pods and other objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from populate_operator.pods.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    QUEUE_LABEL,
    QUEUE_UID_LABEL,
    is_pod_name,
    label_value,
)
from populate_operator.pods.view import PodView

QUEUE_KIND = "PopulateQueue"


@dataclass(frozen=True, slots=True)
class QueueRef:
    """The PopulateQueue that owns an object."""

    api_version: str  # "populate.datajoint.io/v1alpha1"
    namespace: str
    name: str
    uid: str

    def may_own(self, pod: PodView) -> bool:
        """Whether the pod's namespace and name, which nobody can edit, are those of a pod of this queue.

        Labels alone prove nothing: whoever may create pods in any namespace could write them.
        """
        return pod.namespace == self.namespace and is_pod_name(pod.name, self.name)

    def labels(self) -> dict[str, str]:
        """What the watch selects its pods by."""
        return {
            MANAGED_BY_LABEL: MANAGED_BY,
            QUEUE_LABEL: label_value(self.name),
            QUEUE_UID_LABEL: self.uid,
        }

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
