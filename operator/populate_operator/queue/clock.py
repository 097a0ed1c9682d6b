"""The operator's clock, for what it compares with the API server's times; jobs go by the database's."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, with its zone."""
    return datetime.now(UTC)
