"""PopulateQueue as a user writes it: the spec's models, from which the CRD and its reference are generated.

A rule that one field can state is a bound on that field; a rule across fields, or one whose message a
pattern could not explain, is a CEL rule (`cel`). Both are enforced by the API server. The models here
are what the operator reads back, so they repeat the bounds but not the CEL.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, WithJsonSchema

from populate_operator.queue.connection import Database
from populate_operator.queue.model import Model, PositiveSeconds, Seconds, cel, cel_rules
from populate_operator.queue.template_schema import TEMPLATE_SCHEMA

GROUP = "populate.datajoint.io"
VERSION = "v1alpha1"
KIND = "PopulateQueue"
PLURAL = "populatequeues"

MAX_NAME_LENGTH = 63  # it is the value of the pods' queue label


class InvalidQueueError(ValueError):
    """A PopulateQueue cannot be read; the message names each field and what is wrong with it."""


class KeySource(Model):
    """Where the keys come from. By default the join of the table's foreign-key parents."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "!(has(self.query) && self.fromClass)",
                "query and fromClass exclude each other: set one, or neither for the foreign-key parents",
            )
        )
    )

    query: str | None = Field(
        None,
        description="One SELECT that yields the table's primary key.",
        min_length=1,
        max_length=16384,
        json_schema_extra=cel_rules(
            cel(r"self.matches('(?i)\\bselect\\b')", "must be one SELECT that yields the primary key")
        ),
    )
    from_class: bool = Field(
        False, description="Ask the class of spec.runner.class for its key_source, once per image and class."
    )


class Refresh(Model):
    """When and how the queue is brought up to date with the key source."""

    interval_seconds: PositiveSeconds = Field(60, description="Seconds between refreshes.")
    delay_seconds: Seconds = Field(0, description="Seconds before a newly added job may start.")
    stale_timeout_seconds: Seconds = Field(
        3600,
        description="Jobs older than this whose key left the key source are removed. 0 keeps them.",
    )
    orphan_timeout_seconds: PositiveSeconds | None = Field(
        None,
        description="Reservations of others (DataJoint workers) older than this become pending again. "
        "Unset: never. The operator's own follow their pods.",
    )


class Retry(Model):
    """What happens to a job whose pod failed."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "self.backoffSeconds <= self.maxBackoffSeconds",
                "backoffSeconds must not exceed maxBackoffSeconds",
                fieldPath=".backoffSeconds",
            )
        )
    )

    limit: int = Field(0, description="How many times a failed job is tried again.", ge=0, le=100)
    backoff_seconds: Seconds = Field(10, description="Pause before the first retry; it doubles with each.")
    max_backoff_seconds: Seconds = Field(360, description="Longest pause between retries.")
    memory_factor: float | None = Field(
        None,
        description="Multiplies the memory request and limit after each OOM kill. Unset: unchanged.",
        gt=1,
        le=10,
    )


class FailureRule(Model):
    """One rule for failed pods; the first that matches decides."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "has(self.exitCodes) != has(self.reasons)",
                "a failure rule has exactly one of exitCodes and reasons",
            )
        )
    )

    exit_codes: tuple[Annotated[int, Field(ge=1, le=255)], ...] | None = Field(
        None, description="Exit codes that the rule is for.", min_length=1, max_length=64
    )
    reasons: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] | None = Field(
        None,
        description="Reasons that the rule is for, as the pod reports them, such as OOMKilled or Error.",
        min_length=1,
        max_length=64,
    )
    action: Literal["Retry", "Error", "Ignore"] = Field(
        description="Retry: pending again with backoff, whatever retry.limit says. Error: an error at once. "
        "Ignore: the job is ignored from now on."
    )


class PodRetention(Model):
    """Which finished pods are kept for their logs."""

    succeeded: int = Field(3, description="How many of the newest succeeded pods.", ge=0, le=1000)
    failed: int = Field(20, description="How many of the newest failed pods.", ge=0, le=1000)
    ttl_seconds: Seconds = Field(86400, description="How long at most.")


class Runner(Model):
    """The operator's runner, which populates one key with a class of the user's image."""

    class_path: str = Field(
        alias="class",
        description="package.module:Class of the table, importable in the image.",
        min_length=3,
        max_length=512,
        json_schema_extra=cel_rules(
            cel(
                r"self.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$')",
                "must have the form package.module:Class, such as pipeline.ephys:SpikeSorting",
            )
        ),
    )


def _immutable(what: str) -> dict[str, str]:
    return cel("self == oldSelf", f"{what} is immutable: make another PopulateQueue for another table")


class PopulateQueueSpec(Model):
    """What a PopulateQueue asks for."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel(
                "!(has(self.keySource) && self.keySource.fromClass) || has(self.runner)",
                "keySource.fromClass asks the class of spec.runner.class: set runner.class too",
                fieldPath=".keySource.fromClass",
            )
        )
    )

    database: Database = Field(description="The database server and the account on it.")
    schema_name: str = Field(
        alias="schema",
        description="Schema (MySQL database) of the table. Immutable.",
        min_length=1,
        max_length=64,
        json_schema_extra=cel_rules(
            _immutable("schema"),
            cel(
                "self.matches('^[0-9A-Za-z_$-]+$')",
                "must be the name of a MySQL database: letters, digits, _, $ and -",
            ),
        ),
    )
    table: str = Field(
        description="The auto-populated table, by class name (SpikeSorting) or SQL name (__spike_sorting). "
        "Immutable.",
        min_length=1,
        max_length=64,
        json_schema_extra=cel_rules(
            _immutable("table"),
            cel(
                "self.matches('^([A-Z][A-Za-z0-9]*|_{1,2}[a-z][a-z0-9_]*)$')",
                "must be the class name of a Computed or Imported table (SpikeSorting) "
                "or its SQL name (__spike_sorting, _recording)",
            ),
        ),
    )
    key_source: KeySource = Field(default_factory=KeySource, description="Where the keys come from.")
    restrictions: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = Field(
        (),
        description="SQL conditions AND-ed on the key source, such as subject_id < 10.",
        max_length=32,
    )
    refresh: Refresh = Field(default_factory=Refresh, description="Keeping the queue up to date.")
    priority: int = Field(
        5, description="Priority of new jobs; lower is more urgent (a MySQL tinyint).", ge=-128, le=127
    )
    keep_completed: bool = Field(False, description="Keep completed jobs as success rows.")
    parallelism: int = Field(
        10,
        description="How many pods run at once, pending ones included. Lowering it stops no running pod. "
        "`kubectl scale` sets it.",
        ge=0,
        le=10000,
    )
    suspend: bool = Field(False, description="Start nothing new; running pods finish.")
    retry: Retry = Field(default_factory=Retry, description="Retries of failed jobs.")
    failure_rules: tuple[FailureRule, ...] = Field(
        (), description="Rules for failed pods, before retry; the first that matches decides.", max_length=32
    )
    active_deadline_seconds: PositiveSeconds | None = Field(
        None, description="How long a pod may run. Unset: as long as it needs."
    )
    start_deadline_seconds: PositiveSeconds = Field(
        600, description="How long a pod may take to start, scheduling and image pull included."
    )
    lost_pod_timeout_seconds: PositiveSeconds | None = Field(
        None,
        description="When to give up on a terminating pod whose node does not answer, from its deletion on. "
        "Unset: never, since the pod may still be running there.",
    )
    pod_retention: PodRetention = Field(
        default_factory=PodRetention, description="Finished pods kept for their logs."
    )
    runner: Runner | None = Field(
        None,
        description="Populate with a class of the image instead of with the template's own command.",
    )
    template: Annotated[dict[str, Any], WithJsonSchema(TEMPLATE_SCHEMA)] = Field(
        description="PodTemplateSpec of the user's image; proved by a server-side dry run on every change. "
        "restartPolicy is Never."
    )


def parse_spec(spec: object) -> PopulateQueueSpec:
    """Read `.spec` of a PopulateQueue, as a mapping.

    Raises InvalidQueueError, which names every field that is wrong.
    """
    try:
        return PopulateQueueSpec.model_validate(spec)
    except ValidationError as invalid:
        raise InvalidQueueError(_explain(invalid)) from invalid


def _explain(invalid: ValidationError) -> str:
    return "; ".join(f"{_path(error['loc'])}: {error['msg']}" for error in invalid.errors(include_url=False))


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "spec" + "".join(steps)
