"""PopulateQueue's status as the operator reports it: the models, from which the CRD's status schema comes.

Per-job state is not here: it lives in the jobs table. Times are UTC, to the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from populate_operator.queue.model import Model

ConditionType = Literal["Ready", "DatabaseReachable", "Progressing", "Degraded", "Suspended"]
ConditionStatus = Literal["True", "False", "Unknown"]
MAX_RECENT_ERRORS = 5


class JobCounts(Model):
    """Jobs by state, as counted in the jobs table: those within spec.restrictions, as claims are."""

    pending: int = Field(0, description="Due now.")
    scheduled: int = Field(0, description="Pending, and due later: delayed, or waiting to be retried.")
    reserved: int = Field(0, description="With a pod of this queue or with a worker elsewhere.")
    success: int = Field(0, description="Completed rows that are kept.")
    error: int = Field(0, description="Failed for good; Table.jobs.errors shows them.")
    ignore: int = Field(0, description="Ignored.")
    total: int = Field(0, description="All of these.")


class TargetProgress(Model):
    """How much of the key source the table holds."""

    total: int = Field(description="Keys in the key source, within spec.restrictions.")
    populated: int = Field(description="Of these, keys in the table.")
    percent: int = Field(description="populated / total, rounded down; 100 where there is nothing to do.")
    done: str = Field(description="populated/total, such as 1234/5000.")


class PodCounts(Model):
    """Pods of this queue that have not finished."""

    pending: int = Field(0, description="Not started yet.")
    running: int = Field(0, description="Started.")
    active: int = Field(0, description="Both; what `kubectl scale` and autoscalers compare with parallelism.")


class LastRefresh(Model):
    """What the last refresh did."""

    time: datetime = Field(description="When it ended.")
    seconds: float = Field(description="How long it took.")
    added: int = Field(description="New jobs.")
    removed: int = Field(description="Stale jobs removed.")
    orphaned: int = Field(description="Reservations of others that became pending again.")
    re_pended: int = Field(description="Completed jobs whose row left the table.")


class RecentError(Model):
    """A job that failed lately."""

    key: str = Field(description="The job's key as JSON.")
    message: str = Field(description="The first line of its error message.")
    pod: str = Field(description="The pod that failed; its log is there as long as the pod is kept.")
    time: datetime = Field(description="When it was recorded.")


class Condition(Model):
    """One condition, as Kubernetes' metav1.Condition."""

    type: ConditionType = Field(description="Which condition.")
    status: ConditionStatus = Field(description="Whether it holds.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: str = Field(description="Why, as a sentence that says what to do where something is wrong.")
    observed_generation: int = Field(description="The generation of the spec that it speaks of.")
    last_transition_time: datetime = Field(description="When status last changed.")


class QueueStatus(Model):
    """What the operator last saw."""

    # Read back leniently: an older or newer operator may have written it, and the next write replaces it.
    model_config = ConfigDict(extra="ignore")

    observed_generation: int = Field(0, description="The generation of the spec that this status speaks of.")
    jobs: JobCounts | None = Field(None, description="Jobs by state, of those within spec.restrictions.")
    target: TargetProgress | None = Field(None, description="Progress of the table.")
    pods: PodCounts = Field(default_factory=PodCounts, description="Pods that have not finished.")
    last_refresh: LastRefresh | None = Field(None, description="The last refresh.")
    rate: str | None = Field(None, description="Jobs settled lately, such as 120/min.")
    eta: str | None = Field(None, description="When the jobs at hand will be done at that rate, such as 12m.")
    recent_errors: tuple[RecentError, ...] = Field(
        (),
        description="The newest errors within spec.restrictions.",
        max_length=MAX_RECENT_ERRORS,
    )
    selector: str = Field("", description="Label selector of this queue's pods, for the scale subresource.")
    conditions: tuple[Condition, ...] = Field(
        (),
        description="Ready, DatabaseReachable, Progressing, Degraded, Suspended.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if it was ever reported."""
        return next((each for each in self.conditions if each.type == kind), None)


def parse_status(status: Mapping[str, Any] | None) -> QueueStatus:
    """Read `.status` of a PopulateQueue; one that cannot be read is as good as none."""
    try:
        return QueueStatus.model_validate(status or {})
    except ValidationError:
        return QueueStatus()


def dump_status(status: QueueStatus) -> dict[str, Any]:
    """`.status` as plain JSON. Unset fields are null, so that a merge patch clears them."""
    return status.model_dump(mode="json", by_alias=True)
