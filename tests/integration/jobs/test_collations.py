"""Schemas, parents and queues of unlike collations and character sets.

- the default collation of the schema changed after the target was declared: the queue's differs
- parents in a schema of another collation
- a key source whose expressions have the connection's collation
- a schema whose text cannot hold every message
"""

from __future__ import annotations

from collections.abc import Callable

import datajoint as dj
import pytest

from populate_operator.jobs import Complete, Error
from tests.integration.jobs.arena import declare
from tests.integration.jobs.pipelines import Pipeline, build_imaging

COLLATIONS = {
    "general": "utf8mb4 COLLATE utf8mb4_general_ci",
    "unicode": "utf8mb4 COLLATE utf8mb4_unicode_ci",
    "binary": "utf8mb4 COLLATE utf8mb4_bin",
    "three bytes": "utf8mb3 COLLATE utf8mb3_general_ci",
}


def declare_in(pipeline: Pipeline, collation: str) -> None:
    """The target's columns have their own collation, the jobs table that of the schema."""
    pipeline.query(f"ALTER DATABASE `{pipeline.name}` CHARACTER SET {collation}")


@pytest.mark.parametrize("first", ["general", "binary"])
@pytest.mark.parametrize("second", ["unicode", "three bytes"])
def test_a_queue_of_another_collation_than_its_target(pipeline: Pipeline, first: str, second: str) -> None:
    declare_in(pipeline, COLLATIONS[first])
    segmentation = build_imaging(pipeline, methods=["otsu", "wätershed", "felzenszwalb"])
    declare_in(pipeline, COLLATIONS[second])
    jobs = pipeline.jobs("Segmentation", keep_completed=True)
    segmentation.insert1({"subject": 0, "method": "otsu"}, allow_direct_insert=True)
    assert jobs.refresh()["added"] == 11
    assert jobs.refresh()["added"] == 0
    claimed = jobs.reserve_many(3, owner="o", hosts=["a", "b", "c"])
    assert jobs.settle([Complete(job.key, job.fence) for job in claimed]) == [True] * 3
    assert jobs.refresh() == {"added": 0, "removed": 0, "orphaned": 0, "re_pended": 3}
    segmentation.insert([dict(job.key) for job in claimed], allow_direct_insert=True)
    assert len(jobs.in_target([job.key for job in claimed])) == 3
    assert jobs.refresh()["removed"] == 3
    assert jobs.target_progress() == (12, 4)
    pipeline.query(f"DELETE FROM `{pipeline.name}`.__segmentation")
    pipeline.query(f"DELETE FROM `{pipeline.name}`.`#method` WHERE method = 'wätershed'")
    pipeline.age("~~segmentation", 9999)
    stale = [job for job in jobs.pending if job.key["method"] == "wätershed"]
    assert stale
    assert jobs.refresh()["removed"] == len(stale)
    scoped = pipeline.jobs("Segmentation", restrictions=["method LIKE 'o%'", "age >= 0"])
    assert {job.key["method"] for job in scoped.reserve_many(2, owner="o", hosts=["a", "b"])} == {"otsu"}


def test_a_key_source_of_the_connections_collation(pipeline: Pipeline) -> None:
    declare_in(pipeline, COLLATIONS["unicode"])
    build_imaging(pipeline, methods=["otsu"])
    select = "SELECT subject, CONCAT('ot', 'su') AS method FROM subject"
    jobs = pipeline.jobs("Segmentation", key_source=select, keep_completed=True)
    assert jobs.refresh()["added"] == 4
    assert jobs.refresh()["added"] == 0
    jobs.complete({"subject": 0, "method": "otsu"})
    assert jobs.refresh()["re_pended"] == 1
    pipeline.age("~~segmentation", 9999)
    assert jobs.refresh()["removed"] == 0
    assert jobs.target_progress() == (4, 0)


def test_parents_in_a_schema_of_another_collation(
    pipeline: Pipeline, create_pipeline: Callable[..., Pipeline]
) -> None:
    """The child takes its schema's collation, which a foreign key forbids unless it is the parent's."""
    elsewhere = create_pipeline()
    for where in (pipeline, elsewhere):
        declare_in(where, COLLATIONS["general"])
    method = elsewhere.declare(dj.Manual, "Method", "method: varchar(20)")
    method.insert1({"method": "otsu"})
    schema = elsewhere.instance.Schema(pipeline.name)
    tables = {"Method": method}
    declare(schema, tables, dj.Computed, "Derived", "-> Method")
    declare_in(pipeline, COLLATIONS["unicode"])
    jobs = pipeline.jobs("Derived")
    assert jobs.refresh()["added"] == 1
    pipeline.age("~~derived", 9999)
    assert jobs.refresh() == {"added": 0, "removed": 0, "orphaned": 0, "re_pended": 0}
    pipeline.query(f"DROP TABLE `{pipeline.name}`.__derived")  # so that the parent's schema can be dropped


def test_a_message_that_the_column_cannot_hold(pipeline: Pipeline) -> None:
    """What its character set lacks becomes `?`: an error is written in any case."""
    declare_in(pipeline, "latin1")
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    [job] = jobs.reserve_many(1, owner="o", hosts=["a"])
    assert jobs.settle([Error(job.key, job.fence, "größer → 失敗", "größer → 失敗")]) == [True]
    [error] = jobs.errors
    assert error.error_message == "größer ? ??"
    assert error.error_stack == "größer → 失敗"
    assert jobs.error({"subject": 1, "method": "otsu"}, "→")
    messages = pipeline.tables["Segmentation"]().jobs.errors.to_arrays("error_message")
    assert messages.tolist() == ["größer ? ??", "?"]
