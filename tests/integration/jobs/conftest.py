"""Pipelines, once on each kind of server: of the test's own, or shared where declaring one takes longer."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.databases import Database, Server
from tests.integration.jobs.pipelines import Pipeline, declare_imaging, empty_imaging


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


@pytest.fixture(scope="package")
def shared_imaging(server: Server) -> Iterator[Pipeline]:
    """The imaging pipeline, declared."""
    database = Database(server, f"populate_test_{secrets.token_hex(6)}").create()
    shared = Pipeline(database)
    declare_imaging(shared)
    yield shared
    shared.close()
    database.drop()


@pytest.fixture
def imaging(shared_imaging: Pipeline) -> Pipeline:
    """The imaging pipeline without rows and without jobs."""
    empty_imaging(shared_imaging)
    return shared_imaging
