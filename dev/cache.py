"""Where set-up keeps what it downloads and builds: one folder outside the checkout, safe to delete."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def cache_dir(*parts: str) -> Path:
    """A folder below POPULATE_CACHE (default ~/.cache/populate-operator), made when absent."""
    base = os.environ.get("POPULATE_CACHE") or Path.home() / ".cache" / "populate-operator"
    path = Path(base, *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def checksum(*files: Path) -> str:
    """Twelve hex digits over the contents of `files`: the key of what is built from them."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a machine-wide lock, so that two checkouts never build the same thing at once."""
    with (cache_dir("locks") / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
