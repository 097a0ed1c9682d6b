"""A pipeline of the test's own, once on each kind of server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.databases import Database
from tests.integration.jobs.pipelines import Pipeline


@pytest.fixture
def create_pipeline(create_database: Callable[[], Database]) -> Iterator[Callable[..., Pipeline]]:
    """Makes as many as asked for; keyword arguments are DataJoint settings."""
    made: list[Pipeline] = []

    def create(**settings: Any) -> Pipeline:
        made.append(Pipeline(create_database(), **settings))
        return made[-1]

    yield create
    for pipeline in made:
        pipeline.close()


@pytest.fixture
def pipeline(create_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """One with DataJoint's own defaults."""
    return create_pipeline()
