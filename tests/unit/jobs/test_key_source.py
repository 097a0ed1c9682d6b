"""The SQL of key sources, and what restrictions see of them."""

from __future__ import annotations

import pytest

from populate_operator.jobs import BadKey, BadKeySource
from populate_operator.jobs.key_source import build_key_source, read_restrictions
from populate_operator.jobs.target import Column, ForeignKey
from tests.unit.jobs.builders import INT, TEXT, build_target


def restricted(target_parents: tuple[ForeignKey, ...], *texts: str) -> str:
    target = build_target(INT, TEXT, parents=target_parents)
    return build_key_source(target).restrict(read_restrictions(target.keys, texts)).sql


SUBJECT = ForeignKey("lab", "subject", (("subject", "subject"),))
METHOD = ForeignKey("lab", "#method", (("method", "method"),))
BOTH = ForeignKey("other", "pair", (("subject", "subject"), ("method", "method")))
RENAMED = ForeignKey("lab", "#method", (("method", "name"),))


@pytest.mark.parametrize(
    ("parents", "source"),
    [
        ((SUBJECT, METHOD), "`lab`.`subject` AS `parent0` JOIN `lab`.`#method` AS `parent1` ON TRUE"),
        (
            (SUBJECT, BOTH),
            "`lab`.`subject` AS `parent0` JOIN `other`.`pair` AS `parent1` "
            "ON `parent0`.`subject` = `parent1`.`subject`",
        ),
        (
            (SUBJECT, RENAMED, BOTH),
            "`lab`.`subject` AS `parent0` JOIN `lab`.`#method` AS `parent1` ON TRUE "
            "JOIN `other`.`pair` AS `parent2` "
            "ON `parent0`.`subject` = `parent2`.`subject` AND `parent1`.`name` = `parent2`.`method`",
        ),
    ],
)
def test_parents_are_joined_on_what_they_share_of_the_key(
    parents: tuple[ForeignKey, ...], source: str
) -> None:
    assert f"FROM {source})" in restricted(parents)


def test_a_renamed_parent_yields_its_key_under_the_names_of_the_child() -> None:
    assert restricted((SUBJECT, RENAMED)) == (
        "(SELECT `parent0`.`subject` AS `subject`, `parent1`.`name` AS `method` "
        "FROM `lab`.`subject` AS `parent0` JOIN `lab`.`#method` AS `parent1` ON TRUE)"
    )


@pytest.mark.parametrize(
    ("parents", "source"),
    [
        ((SUBJECT, METHOD), "`lab`.`subject` JOIN `lab`.`#method`"),
        ((SUBJECT, BOTH), "`lab`.`subject` JOIN `other`.`pair` USING (`subject`)"),
        ((BOTH, SUBJECT), "`other`.`pair` JOIN `lab`.`subject` USING (`subject`)"),
        (
            (SUBJECT, RENAMED),
            "`lab`.`subject` JOIN (SELECT `name` AS `method` FROM `lab`.`#method`) AS `parent1`",
        ),
    ],
)
def test_a_restriction_that_names_other_columns_sees_whole_parents(
    parents: tuple[ForeignKey, ...], source: str
) -> None:
    assert f"FROM {source} WHERE (age > 3))" in restricted(parents, "age > 3")


def test_a_restriction_over_the_key_stands_outside_and_any_other_inside() -> None:
    outside = restricted((SUBJECT, METHOD), "subject > 3")
    assert outside.endswith("AS `restricted` WHERE (subject > 3))")
    inside = restricted((SUBJECT, METHOD), "age > 3", "subject LIKE 'a%'")
    assert "JOIN `lab`.`#method` WHERE (age > 3)) AS `restricted` WHERE (subject LIKE 'a%%'))" in inside


def test_a_mapping_becomes_parameters() -> None:
    target = build_target()
    relation = build_key_source(target).restrict(read_restrictions(target.keys, [{"method": "it's"}]))
    assert relation.sql.endswith("WHERE `method` = %s)")
    assert relation.parameters == ("it's",)
    with pytest.raises(BadKey, match="'age' is not an attribute of the key"):
        read_restrictions(target.keys, [{"age": 3}])


def test_a_select_takes_the_place_of_the_parents() -> None:
    target = build_target(Column("subject", "int", "", None, None))
    source = build_key_source(target, "SELECT subject, age FROM t WHERE note LIKE '5%'")
    assert source.restrict(read_restrictions(target.keys, ["age > 3"])).sql == (
        "(SELECT `key_source`.`subject` AS `subject` FROM "
        "(SELECT subject, age FROM t WHERE note LIKE '5%%') AS `key_source` WHERE (age > 3))"
    )
    with pytest.raises(BadKeySource, match="does not yield the key attribute 'subject'"):
        build_key_source(target, "SELECT age FROM t")
