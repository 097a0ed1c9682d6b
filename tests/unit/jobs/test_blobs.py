"""Our encoding of error stacks is DataJoint's, byte for byte."""

from __future__ import annotations

import pytest
from datajoint.blob import pack, unpack
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.jobs.blobs import pack_text, unpack_text

TEXTS = ["", "x", "é" * 10, "a" * 986, "a" * 987, "a" * 988, "Traceback\n" * 500, "naïve 🐍 " * 999]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_bytes_as_datajoint(text: str) -> None:
    assert pack_text(text) == pack(text)


@given(st.text(max_size=3000))
def test_both_read_what_either_wrote(text: str) -> None:
    clean = text.encode(errors="replace").decode()
    assert unpack(pack_text(text)) == clean == unpack_text(pack(clean))


def test_other_content_is_not_taken_for_text() -> None:
    with pytest.raises(ValueError, match="not a DataJoint blob of a string"):
        unpack_text(pack({"a": 1}))


def test_a_damaged_blob_is_not_taken_for_text() -> None:
    with pytest.raises(ValueError, match="a damaged blob"):
        unpack_text(pack("x" * 2000)[:-20])
