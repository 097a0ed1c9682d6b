"""Memory after an OOM kill.

Cases: Kubernetes' notations, rounding up, what is left alone, what is no quantity.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.pods.memory import multiplied, with_more_memory


@pytest.mark.parametrize(
    ("quantity", "factor", "expected"),
    [
        ("512Mi", 1.5, "768Mi"),
        ("1Gi", 2, "2048Mi"),
        ("1.5Gi", 2, "3072Mi"),
        ("1G", 1.5, "1431Mi"),  # 1,430.5 Mi, rounded up
        ("500M", 2, "954Mi"),
        ("1e9", 1, "954Mi"),
        (1073741824, 1, "1024Mi"),
        ("1073741824", 1.1, "1127Mi"),
        ("100Ki", 2, "204800"),
        ("1000m", 1.5, "2"),  # a legal, if odd, way to write one byte
        ("1Ti", 1.25, "1310720Mi"),
    ],
)
def test_multiplied(quantity: str | int, factor: float, expected: str) -> None:
    assert multiplied(quantity, factor) == expected


@given(st.integers(1, 1 << 20), st.floats(1, 16))
def test_never_less_than_asked_for(mebibytes: int, factor: float) -> None:
    result = multiplied(f"{mebibytes}Mi", factor)
    assert Decimal(result.removesuffix("Mi")) >= mebibytes * Decimal(str(factor))


def test_no_quantity() -> None:
    with pytest.raises(ValueError, match="lots"):
        multiplied("lots", 2)


def test_only_memory_changes() -> None:
    resources = {
        "requests": {"cpu": "1", "memory": "100Mi"},
        "limits": {"memory": "200Mi", "nvidia.com/gpu": 1},
        "claims": [{"name": "gpu"}],
    }
    assert with_more_memory(resources, 2) == {
        "requests": {"cpu": "1", "memory": "200Mi"},
        "limits": {"memory": "400Mi", "nvidia.com/gpu": 1},
        "claims": [{"name": "gpu"}],
    }


def test_no_memory_stays_no_memory() -> None:
    assert with_more_memory({"requests": {"cpu": "1"}}, 2) == {"requests": {"cpu": "1"}}
