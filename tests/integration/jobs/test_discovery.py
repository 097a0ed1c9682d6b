"""What a table is, read from the information schema; what is no target is refused by name.

- by class and by SQL name, Computed and Imported
- Manual, Lookup, Part, absent tables, absent schemas, no foreign key, keys of no use
- a table that is declared later, or dropped, and declared anew with another key
"""

from __future__ import annotations

from collections.abc import Callable

import datajoint as dj
import pytest

from populate_operator.jobs import (
    JobsError,
    JobTable,
    NoSuchSchema,
    NoSuchTable,
    NotAutoPopulated,
)
from tests.integration.jobs.arena import account
from tests.integration.jobs.pipelines import Pipeline, build_imaging


@pytest.mark.parametrize("name", ["SpikeSorting2D", "__spike_sorting2_d"])
def test_by_class_and_by_sql_name(pipeline: Pipeline, name: str) -> None:
    pipeline.declare(dj.Manual, "Session", "session: int32")
    pipeline.declare(dj.Computed, "SpikeSorting2D", "-> Session")
    target = pipeline.jobs(name).target
    assert (target.table, target.jobs_table) == ("__spike_sorting2_d", "~~spike_sorting2_d")
    assert [(parent.schema, parent.table) for parent in target.parents] == [(pipeline.name, "session")]


def test_an_imported_table(pipeline: Pipeline) -> None:
    pipeline.declare(dj.Manual, "Session", "session: int32")
    pipeline.declare(dj.Imported, "Recording", "-> Session")
    assert pipeline.jobs("Recording").target.table == "_recording"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Subject", NotAutoPopulated, "'subject' is a Manual table"),
        ("subject", NotAutoPopulated, "'subject' is a Manual table"),
        ("Method", NotAutoPopulated, "'#method' is a Lookup table"),
        ("#method", NotAutoPopulated, "'#method' is a Lookup table"),
        ("__segmentation__region", NotAutoPopulated, "'__segmentation__region' is a Part table"),
        ("Segmentation.Region", NotAutoPopulated, "is a Part table"),
        ("~lineage", NotAutoPopulated, "a table of DataJoint's own"),
        ("Absent", NoSuchTable, "no table 'Absent' .looked for __absent, _absent, absent, #absent"),
        ("__absent", NoSuchTable, "no table '__absent'"),
        ("x' OR '1'='1", NotAutoPopulated, "no DataJoint table by its name"),
    ],
)
def test_what_is_no_target_is_refused_by_name(
    pipeline: Pipeline, name: str, error: type[JobsError], message: str
) -> None:
    region = type("Region", (dj.Part,), {"definition": "-> master\nregion: int32"})
    pipeline.declare(dj.Manual, "Subject", "subject: int32")
    pipeline.declare(dj.Lookup, "Method", "method: varchar(20)")
    pipeline.declare(dj.Computed, "Segmentation", "-> Subject\n-> Method", Region=region)
    with pytest.raises(error, match=message):
        pipeline.jobs(name).refresh()


def test_an_absent_schema(pipeline: Pipeline) -> None:
    jobs = JobTable(account(pipeline.server), schema="populate_test_absent", table="Segmentation")
    with pytest.raises(NoSuchSchema, match=r"no schema 'populate_test_absent'.*create it, correct the name"):
        jobs.refresh()


def test_a_table_without_a_foreign_key_in_its_primary_key(pipeline: Pipeline) -> None:
    pipeline.declare(dj.Manual, "Subject", "subject: int32")
    pipeline.query(
        f"CREATE TABLE `{pipeline.name}`.`__alone` (a INT PRIMARY KEY, subject INT NOT NULL, "
        f"FOREIGN KEY (subject) REFERENCES `{pipeline.name}`.subject (subject))"
    )
    with pytest.raises(NotAutoPopulated, match="no attribute of its primary key comes from a foreign key"):
        pipeline.jobs("Alone").refresh()


def test_a_key_of_floats(pipeline: Pipeline) -> None:
    pipeline.declare(dj.Manual, "Weight", "weight: float32")
    pipeline.declare(dj.Computed, "Derived", "-> Weight")
    with pytest.raises(NotAutoPopulated, match=r"'weight' is a float.*use another type"):
        pipeline.jobs("Derived").refresh()


def test_a_key_that_is_named_as_a_column_of_the_queue(pipeline: Pipeline) -> None:
    pipeline.declare(dj.Manual, "Machine", "host: varchar(20)")
    pipeline.declare(dj.Computed, "Derived", "-> Machine")
    with pytest.raises(NotAutoPopulated, match="'host' has the name of a column of the jobs table"):
        pipeline.jobs("Derived").refresh()


def test_a_table_that_comes_later(pipeline: Pipeline) -> None:
    jobs = pipeline.jobs("Segmentation")
    with pytest.raises(NoSuchTable):
        jobs.refresh()
    build_imaging(pipeline)
    assert jobs.refresh()["added"] == 4


def test_a_table_that_is_declared_anew_with_another_key(pipeline: Pipeline) -> None:
    segmentation = build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    for table in ("~~segmentation", "__segmentation"):
        pipeline.query(f"DROP TABLE `{pipeline.name}`.`{table}`")
    del segmentation
    pipeline.declare(dj.Computed, "Segmentation", "-> Method")
    assert jobs.refresh()["added"] == 1
    assert [dict(job.key) for job in jobs.pending] == [{"method": "otsu"}]


def test_a_target_that_is_dropped_without_its_queue_is_missed_from_then_on(pipeline: Pipeline) -> None:
    """DataJoint's own `Table.drop()` leaves the queue, from which alone nobody can tell."""
    segmentation = build_imaging(pipeline)
    jobs = pipeline.jobs("Segmentation")
    jobs.refresh()
    [job] = jobs.reserve_many(1, owner="o", hosts=["pod"])
    segmentation().drop()
    assert pipeline.query(f"SHOW TABLES IN `{pipeline.name}` LIKE '~~%%'") == [("~~segmentation",)]
    uses: list[Callable[[], object]] = [
        lambda: jobs.in_target([job.key]),
        lambda: list(jobs.owned("o")),
        jobs.next_due,
        lambda: jobs.target,
    ]
    for use in uses:
        with pytest.raises(NoSuchTable, match="segmentation"):
            use()
    pipeline.declare(dj.Computed, "Segmentation", "-> Subject\n-> Method")
    assert [one.key for one in jobs.owned("o")] == [job.key]


def test_secondary_foreign_keys_and_those_half_in_the_key_are_no_parents(pipeline: Pipeline) -> None:
    pipeline.declare(dj.Manual, "Subject", "subject: int32")
    pipeline.declare(dj.Manual, "Session", "-> Subject\nsession: int32")
    pipeline.declare(dj.Manual, "Probe", "probe: int32")
    derived = pipeline.declare(dj.Computed, "Derived", "-> Subject\n---\n-> Probe\nsession: int32")
    pipeline.query(
        f"ALTER TABLE `{pipeline.name}`.`__derived` ADD FOREIGN KEY (subject, session) "
        f"REFERENCES `{pipeline.name}`.session (subject, session)"
    )
    assert [parent.table for parent in pipeline.jobs("Derived").target.parents] == ["subject"]
    assert derived().key_source.primary_key == ["subject"]
