"""Names of pods and label values.

Cases: shape and length of pod names for queue names of every sort; purity; too little entropy; long labels.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.pods.names import ENTROPY_BYTES, label_value, pod_name

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
SOME = bytes(range(ENTROPY_BYTES))


@pytest.mark.parametrize(
    ("queue", "stem"),
    [
        ("spikes", "spikes"),
        ("lab.spike.sorting", "lab-spike-sorting"),
        ("q" * 253, "q" * 50),
        ("a" * 49 + "-b", "a" * 49),  # the cut never leaves a hyphen before the suffix
    ],
)
def test_pod_name_keeps_what_fits_of_the_queue(queue: str, stem: str) -> None:
    assert pod_name(queue, SOME) == f"{stem}-aaaqeayeauda"


@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True), st.binary(min_size=8, max_size=16)
)
def test_every_pod_name_is_a_dns_label(queue: str, entropy: bytes) -> None:
    name = pod_name(queue, entropy)
    assert DNS_LABEL.fullmatch(name)
    assert name == pod_name(queue, entropy)


def test_other_entropy_makes_another_name() -> None:
    names = {pod_name("q", n.to_bytes(2, "big") + bytes(6)) for n in range(2000)}
    assert len(names) == 2000


def test_too_little_entropy_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 bytes, not 7"):
        pod_name("q", bytes(7))


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_every_object_name_has_a_label_value(name: str) -> None:
    value = label_value(name)
    assert LABEL_VALUE.fullmatch(value)
    assert len(name) > 63 or value == name


def test_long_names_stay_apart_as_label_values() -> None:
    assert label_value("q" * 100) != label_value("q" * 101)
