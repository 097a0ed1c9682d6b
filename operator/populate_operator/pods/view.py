"""What the operator needs to know of a pod: a small frozen value read from the API's plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclass(frozen=True, slots=True)
class Termination:
    """How the container that decides the pod's outcome ended."""

    container: str
    exit_code: int
    reason: str  # "Completed", "Error", "OOMKilled", "ContainerCannotRun", "DeadlineExceeded", ...
    message: str  # the termination message, up to 4 KiB; "" when there is none
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container has not started."""

    container: str
    reason: str  # "ImagePullBackOff", "CreateContainerConfigError", "ContainerCreating", ...
    message: str


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a queue, as last observed. Times are timezone-aware UTC."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    queue: str  # label populate.datajoint.io/queue
    queue_uid: str  # label populate.datajoint.io/queue-uid
    key: str  # annotation populate.datajoint.io/key: the job's key as JSON
    attempt: int  # annotation populate.datajoint.io/attempt: 1 for the first try
    phase: Phase
    reason: str  # status.reason: "Evicted", "NodeLost", "DeadlineExceeded", "" ...
    message: str
    node: str  # "" until scheduled
    created_at: datetime
    scheduled: bool
    started_at: datetime | None  # the main container's start
    deleting_since: datetime | None  # metadata.deletionTimestamp
    has_finalizer: bool  # populate.datajoint.io/outcome is still there
    disruption: str | None  # reason of a true DisruptionTarget condition
    waiting: Waiting | None
    termination: Termination | None
    memory_limit: str | None  # the main container's memory limit, for the OOM message
    changed_at: datetime | None = None  # the last change that was no status, such as a gate's removal
    is_kept_by_others: bool = False  # deleted without grace: it goes when others remove their finalizers
    is_labelled: bool = True  # as the watch selects; False after someone edited it

    @property
    def is_finished(self) -> bool:
        """Whether every container has ended for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def may_start_since(self) -> datetime:
        """Since when it might have started: a scheduling gate may have held it back until then."""
        return self.changed_at or self.created_at
