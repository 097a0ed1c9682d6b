"""Keys compare by index, whatever their collations."""

from __future__ import annotations

from populate_operator.jobs.relations import Queue, Relation, build_key_condition

GENERAL, AI = ("utf8mb4", "utf8mb4_general_ci"), ("utf8mb4", "utf8mb4_0900_ai_ci")


def test_equal_collations_compare_as_they_are() -> None:
    jobs, target = Relation("j", (), {"b": AI}), Relation("t", (), {"b": AI})
    assert Queue(jobs, target, ("a", "b")).match(jobs, "j", target, "t") == "t.`a` = j.`a` AND t.`b` = j.`b`"


def test_the_probing_side_is_converted_so_that_the_other_is_found_by_index() -> None:
    jobs, target = Relation("j", (), {"b": AI}), Relation("t", (), {"b": GENERAL})
    queue = Queue(jobs, target, ("b",))
    assert queue.match(jobs, "j", target, "t") == (
        "t.`b` = CONVERT(j.`b` USING utf8mb4) COLLATE utf8mb4_general_ci"
    )
    assert queue.match(target, "t", jobs, "j") == (
        "j.`b` = CONVERT(t.`b` USING utf8mb4) COLLATE utf8mb4_0900_ai_ci"
    )


def test_conditions_for_keys() -> None:
    assert build_key_condition(["a"], [(1,), (2,)]) == ("`a` IN (%s, %s)", (1, 2))
    assert build_key_condition(["a", "b"], [(1, "x"), (2, "y")], "t") == (
        "((t.`a` = %s AND t.`b` = %s) OR (t.`a` = %s AND t.`b` = %s))",
        (1, "x", 2, "y"),
    )
