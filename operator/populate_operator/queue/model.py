"""What every part of the resource shares: the frozen base model, bounded types and CEL rules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

YEAR = 366 * 24 * 3600


def cel_rules(*rules: dict[str, str]) -> dict[str, Any]:
    """`json_schema_extra` with these rules."""
    return {"x-kubernetes-validations": list(rules)}


def cel(rule: str, message: str, **extra: str) -> dict[str, str]:
    """A CEL rule and the message of its violation; `fieldPath` tells the field where that is another."""
    return {"rule": rule, "message": message, **extra}


class Model(BaseModel):
    """A frozen part of the resource, read by its camelCase names; unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Seconds = Annotated[int, Field(ge=0, le=YEAR)]
PositiveSeconds = Annotated[int, Field(ge=1, le=YEAR)]
