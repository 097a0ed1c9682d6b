"""Populate operator: one pod per DataJoint job, its outcome in the table's own job queue."""

__version__ = "0.1.0"
