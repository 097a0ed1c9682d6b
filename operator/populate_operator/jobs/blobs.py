"""DataJoint's encoding of a string as a blob, so that `Table.jobs.errors` shows our tracebacks.

Source: `datajoint/blob.py` (`Blob.pack`, `pack_string`, `pack(compress=True)`).
"""

from __future__ import annotations

import zlib

_PROTOCOL = b"dj0\0"
_STRING = b"\x05"
_COMPRESSED = b"ZL123\0"
_COMPRESS_ABOVE = 1000


def pack_text(text: str) -> bytes:
    """Encode `text` as a `<blob>` column holds it: compressed above 1,000 bytes if that is shorter."""
    encoded = text.encode(errors="replace")
    blob = _PROTOCOL + _STRING + _length(encoded) + encoded
    if len(blob) <= _COMPRESS_ABOVE:
        return blob
    compressed = _COMPRESSED + _length(blob) + zlib.compress(blob)
    return compressed if len(compressed) < len(blob) else blob


def unpack_text(blob: bytes) -> str:
    """Decode a blob that holds a string.

    Raises ValueError for any other content (DataJoint stores nothing else as an error stack).
    """
    if blob.startswith(_COMPRESSED):
        try:
            blob = zlib.decompress(blob[len(_COMPRESSED) + 8 :])
        except zlib.error as error:  # as from a dump that took it for text
            raise ValueError(f"a damaged blob: {error}") from error
    prefix = _PROTOCOL + _STRING
    if not blob.startswith(prefix):
        raise ValueError(f"not a DataJoint blob of a string: it starts with {blob[:8]!r}")
    start = len(prefix) + 8
    return blob[start : start + int.from_bytes(blob[len(prefix) : start], "little")].decode()


def _length(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little")
