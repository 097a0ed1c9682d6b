"""Long texts in the one line that kubectl shows of them. Pure."""

from __future__ import annotations

MAX_LENGTH = 200
_GAP = " ... "
_HEAD = 80  # what happened to whom; the rest is for the end, where a traceback says why


def one_line(text: str) -> str:
    """`text` on one line of at most 200 characters; of a longer one the middle is left out."""
    line = " ".join(text.split())
    if len(line) <= MAX_LENGTH:
        return line
    return line[:_HEAD] + _GAP + line[_HEAD + len(_GAP) - MAX_LENGTH :]
