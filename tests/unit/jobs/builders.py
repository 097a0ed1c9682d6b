"""Builders of the values that tests need many of."""

from __future__ import annotations

from populate_operator.jobs.target import Column, ForeignKey, Target

INT = Column("subject", "int", "", None, None)
TEXT = Column("method", "varchar(20)", "", "utf8mb4", "utf8mb4_0900_ai_ci")


def build_target(
    *columns: Column, parents: tuple[ForeignKey, ...] | None = None, table: str = "__segmentation"
) -> Target:
    """A target in schema `lab` whose attributes each come from a parent of their own unless told."""
    columns = columns or (INT, TEXT)
    if parents is None:
        parents = tuple(ForeignKey("lab", f"parent_{c.name}", ((c.name, c.name),)) for c in columns)
    return Target("lab", table, columns, parents)
