"""The jobs table that we declare is the one that DataJoint declares, and theirs is used as it is.

- SHOW CREATE TABLE is equal, comments and marks included, for every type of key
- it is created at the first refresh, ignore or take_back, and not before
- one that DataJoint made is left as it is
- another layout is refused naming the difference, and is not altered
"""

from __future__ import annotations

from collections.abc import Callable

import datajoint as dj
import pytest

from populate_operator.jobs import Fence, IncompatibleJobsTable, JobTable
from tests.integration.jobs.pipelines import Pipeline, build_imaging

# A primary key can have at most 16 columns, so the types come in two tables.
TYPES = {
    "datajoint": [
        "int8", "int16", "int32", "int64", "bool", "float64", "uuid", "date", "datetime", "datetime(3)",
        "decimal(9,4)", "char(8)", "varchar(50)", "enum('left','right','it''s')",
    ],
    "native": [
        "int unsigned", "bigint unsigned", "mediumint", "time", "time(6)", "timestamp", "year", "double",
        "decimal(9,4) unsigned",
    ],
}  # fmt: skip


def show(pipeline: Pipeline, table: str = "~~derived") -> str:
    return str(pipeline.query(f"SHOW CREATE TABLE `{pipeline.name}`.`{table}`")[0][1])


@pytest.mark.parametrize("types", TYPES.values(), ids=TYPES)
def test_the_declaration_is_datajoints_own(pipeline: Pipeline, types: list[str]) -> None:
    for number, column_type in enumerate(types):
        definition = f"attr{number}: {column_type}  # what it's called"
        pipeline.declare(dj.Manual, f"Origin{number}", definition)
    parents = "\n".join(f"-> Origin{number}" for number in range(len(types)))
    derived = pipeline.declare(dj.Computed, "Derived", parents)
    pipeline.jobs("Derived").refresh()
    ours = show(pipeline)
    pipeline.query(f"DROP TABLE `{pipeline.name}`.`~~derived`")
    derived().jobs  # noqa: B018 - declares it
    assert ours == show(pipeline)


def test_composite_renamed_and_further_attributes(create_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = create_pipeline(jobs__allow_new_pk_fields_in_computed_tables=True)
    pipeline.declare(dj.Manual, "Subject", "subject: int32\nside: enum('l','r')")
    pipeline.declare(dj.Manual, "Param", "param: varchar(20)")
    derived = pipeline.declare(
        dj.Imported, "Derived", "-> Param.proj(second='param')\n-> Subject\ntrial: int16\n-> Param"
    )
    jobs = pipeline.jobs("Derived")
    jobs.refresh()
    assert jobs.keys.names == ("second", "subject", "side", "param")
    assert jobs.target.ignored_attributes == ("trial",)
    ours = show(pipeline)
    pipeline.query(f"DROP TABLE `{pipeline.name}`.`~~derived`")
    derived().jobs  # noqa: B018
    assert ours == show(pipeline)


def exists(pipeline: Pipeline) -> bool:
    return bool(pipeline.query(f"SHOW TABLES IN `{pipeline.name}` LIKE '~~%%segmentation'"))


def test_reading_declares_nothing(pipeline: Pipeline) -> None:
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    key = jobs.key({"subject": 0, "method": "otsu"})
    assert jobs.progress() == dict.fromkeys(["pending", "reserved", "success", "error", "ignore", "total"], 0)
    assert list(jobs.pending) == jobs.errors.keys() == []
    assert jobs.completed.count() == 0
    assert jobs.next_due() is None
    assert jobs.owners("") == {}
    assert jobs.reserve_many(3, owner="o", hosts=["a", "b", "c"]) == []
    assert not jobs.reserve(key)
    assert not jobs.complete(key)
    assert not jobs.error(key, "no such job")
    assert jobs.release_owner("o") == 0
    assert not exists(pipeline)


WRITES: dict[str, Callable[[JobTable], object]] = {
    "refresh": lambda jobs: jobs.refresh(),
    "ignore": lambda jobs: jobs.ignore({"subject": 0, "method": "otsu"}),
    "take_back": lambda jobs: jobs.take_back(
        {"subject": 0, "method": "otsu"}, fence=Fence("o", "h"), attempt=1
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_first_job_declares_it(pipeline: Pipeline, write: str) -> None:
    build_imaging(pipeline)
    WRITES[write](pipeline.jobs("Segmentation"))
    assert exists(pipeline)


def test_a_queue_that_is_dropped_while_in_use_is_declared_again(pipeline: Pipeline) -> None:
    segmentation = build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    segmentation().jobs.drop()
    assert jobs.progress()["total"] == 0
    jobs.ignore({"subject": 0, "method": "otsu"})
    assert jobs.refresh()["added"] == 3


def test_datajoints_own_table_is_used_as_it_is(pipeline: Pipeline) -> None:
    segmentation = build_imaging(pipeline)
    segmentation.jobs.refresh()
    before = show(pipeline, "~~segmentation")
    jobs = pipeline.jobs("Segmentation")
    assert jobs.refresh()["added"] == 0
    assert jobs.pending.count() == 4
    assert show(pipeline, "~~segmentation") == before


@pytest.mark.parametrize(
    ("alteration", "difference"),
    [
        ("DROP COLUMN version", "it has no column 'version'"),
        ("ADD COLUMN key_hash char(32)", "it has a column 'key_hash' that DataJoint 2 does not declare"),
        ("MODIFY pid bigint NOT NULL", "its column 'pid' is bigint"),
        ("DROP INDEX `status`", r"it has no index on \(status, priority, scheduled_time\)"),
        (
            "DROP PRIMARY KEY, ADD PRIMARY KEY (subject)",
            r"its primary key is \(subject\), not \(subject, method\)",
        ),
    ],
)
def test_another_layout_is_refused_and_not_altered(
    pipeline: Pipeline, alteration: str, difference: str
) -> None:
    segmentation = build_imaging(pipeline)
    segmentation().jobs  # noqa: B018
    pipeline.query(f"ALTER TABLE `{pipeline.name}`.`~~segmentation` {alteration}")
    before = show(pipeline, "~~segmentation")
    for use in (JobTable.refresh, JobTable.progress):
        with pytest.raises(IncompatibleJobsTable, match=f"~~segmentation is not the one.*{difference}"):
            use(pipeline.jobs("Segmentation"))
    assert show(pipeline, "~~segmentation") == before


def test_an_operator_that_runs_meets_a_changed_layout_at_the_next_refresh(pipeline: Pipeline) -> None:
    build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    pipeline.query(f"ALTER TABLE `{pipeline.name}`.`~~segmentation` DROP COLUMN version")
    with pytest.raises(IncompatibleJobsTable, match="no column 'version'"):
        jobs.refresh()
