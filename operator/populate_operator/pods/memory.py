"""More memory after an OOM kill, in Kubernetes' quantities. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

_MI = 1 << 20


def with_more_memory(resources: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A container's `resources` with memory request and limit multiplied by `factor`, the rest as it is.

    Raises ValueError when one of them is no quantity.
    """
    raised = dict(resources)
    for part in ("requests", "limits"):
        amounts = resources.get(part)
        if amounts and "memory" in amounts:
            raised[part] = {**amounts, "memory": multiplied(amounts["memory"], factor)}
    return raised


def multiplied(quantity: str | int, factor: float) -> str:
    """A memory quantity times `factor`, rounded up to whole Mi (bytes below 1 Mi): `512Mi`, 1.5 -> `768Mi`.

    Raises ValueError when it is no quantity.
    """
    amount: Decimal = parse_quantity(quantity)  # type: ignore[no-untyped-call]
    amount *= Decimal(str(factor))
    unit, suffix = (_MI, "Mi") if amount >= _MI else (1, "")
    return f"{(amount / unit).to_integral_value(ROUND_CEILING):f}{suffix}"
