"""Names of tables: classes to SQL, tiers, job queues; and which part of a primary key is a job's."""

from __future__ import annotations

import pytest
from datajoint.utils import from_camel_case

from populate_operator.jobs import NotAutoPopulated
from populate_operator.jobs.target import (
    Column,
    ForeignKey,
    candidate_tables,
    jobs_table_name,
    tier_of,
)
from tests.unit.jobs.builders import INT, TEXT, build_target


@pytest.mark.parametrize("name", ["A", "SpikeSorting", "LFP", "Lfp2D", "A1B2C", "ROIExtraction"])
def test_class_names_become_what_datajoint_makes_of_them(name: str) -> None:
    base = from_camel_case(name)
    assert candidate_tables(name) == (f"__{base}", f"_{base}", base, f"#{base}")


def test_an_sql_name_is_itself() -> None:
    assert candidate_tables("__spike_sorting") == ("__spike_sorting",)


@pytest.mark.parametrize(("table", "tier"), [("__spike_sorting", "Computed"), ("_session2", "Imported")])
def test_tiers_that_are_populated(table: str, tier: str) -> None:
    assert tier_of(table) == tier


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("subject", "a Manual table"),
        ("#method", "a Lookup table"),
        ("__segmentation__region", "a Part table"),
        ("_import__part", "a Part table"),
        ("subject__alias", "a Part table"),
        ("~lineage", "a table of DataJoint's own"),
        ("~~segmentation", "a table of DataJoint's own"),
        ("___x", "no DataJoint table"),
        ("__Segmentation", "no DataJoint table"),
    ],
)
def test_other_tables_are_refused_by_name(table: str, kind: str) -> None:
    with pytest.raises(NotAutoPopulated, match=f"'{table}' is {kind}.*only Computed and Imported"):
        tier_of(table)


def test_a_part_class_is_refused_by_name() -> None:
    with pytest.raises(NotAutoPopulated, match=r"'Segmentation\.Region' is a Part table.*name the master"):
        candidate_tables("Segmentation.Region")


@pytest.mark.parametrize("table", ["__spike_sorting", "_spike_sorting"])
def test_the_job_queue_is_named_without_the_prefix(table: str) -> None:
    assert jobs_table_name(table) == "~~spike_sorting"


def test_the_key_is_what_comes_from_foreign_keys_in_the_order_of_the_primary_key() -> None:
    own = Column("trial", "int", "", None, None)
    parents = (
        ForeignKey("lab", "method", (("method", "method"),)),
        ForeignKey("lab", "s", (("subject", "id"),)),
    )
    target = build_target(INT, own, TEXT, parents=parents)
    assert target.keys.names == ("subject", "method")
    assert target.ignored_attributes == ("trial",)
    assert [parent.is_renamed for parent in target.parents] == [False, True]


def test_a_key_that_cannot_be_found_by_its_value_is_refused() -> None:
    target = build_target(Column("weight", "float", "", None, None))
    with pytest.raises(NotAutoPopulated, match="'weight' is a float"):
        _ = target.keys


@pytest.mark.parametrize(
    ("comment", "marker"),
    [
        ("", None),
        ("the subject", None),
        (":uuid:", "uuid"),
        (":uuid:of the session", "uuid"),
        ("a :b: c", None),
    ],
)
def test_markers_in_comments(comment: str, marker: str | None) -> None:
    assert Column("a", "binary(16)", comment, None, None).marker == marker
