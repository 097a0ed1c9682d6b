"""SQL of users: what is taken as it is, what is refused and why.

The refusals are tried on real servers as well: tests/integration/jobs/test_restrictions.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.jobs import BadKeySource, read_condition, read_select


@pytest.mark.parametrize(
    ("text", "columns", "has_subquery"),
    [
        ("subject = 3", {"subject"}, False),
        ("Subject > 3 AND method LIKE 'a%'", {"subject", "method"}, False),
        ("`subject` IN (1, 2) OR NOT (lab.subject.age <=> NULL)", {"subject", "age"}, False),
        ("session_date >= '2026-01-01'", {"session_date"}, False),
        ("note = 'a; b -- c /* d */ # e'", {"note"}, False),
        ('note = "it\'s"', {"note"}, False),
        (r"note = 'it\'s'", {"note"}, False),
        ("note = 'it''s'", {"note"}, False),
        ("`od;d` = 1", {"od;d"}, False),
        ("id = X'00ff'", {"id"}, False),
        ("subject MOD 2 = 0 AND subject % 2 = 0", {"subject"}, False),
        ("name REGEXP '^a' AND subject DIV 2 = 1", {"name", "subject"}, False),
        ("subject IN (SELECT subject FROM lab.good)", {"subject"}, True),
        ("EXISTS (SELECT 1 FROM lab.good)", set(), True),
        ("lab.score(subject) = 0 AND sleep = 1 AND name = 'SLEEP(1)'", {"subject", "sleep", "name"}, False),
        ("TRUE", set(), False),
        ("json_value(meta, '$.x') = 1", {"meta"}, False),
        ("scored BETWEEN 1 AND 2 AND at > NOW() - INTERVAL 1 DAY", {"scored", "at"}, False),
    ],
)
def test_conditions_that_are_taken(text: str, columns: set[str], has_subquery: bool) -> None:
    condition = read_condition(text)
    assert condition.columns == columns
    assert condition.has_subquery == has_subquery
    assert condition.sql == text.replace("%", "%%")


ESCAPES = [
    ("a = 1; DROP TABLE x", "a semicolon"),
    ("a = 1;", "a semicolon"),
    ("a = 1 -- x", "a comment"),
    ("a = 1 --", "a comment"),
    ("a = 1 # x", "a comment"),
    ("a = 1 /* x */", "a comment or hint"),
    ("a /*!50000 OR 1 */ = 1", "a comment or hint"),
    ("a = 1 */", "a comment or hint"),
    ("(@x := 5) = 5", "an assignment"),
    ("a = 'x", "an unfinished string"),
    ('a = "x', "an unfinished string"),
    ("`a = 1", "an unfinished identifier"),
    ("a = 'x\\' OR 1 = 1", "an unfinished string"),
    ("a = \\N", "a backslash"),
    ("a = 1\0", "a NUL character"),
    ("a = 1) OR (1 = 1", "unbalanced parentheses"),
    ("a = 1)", "unbalanced parentheses"),
    ("(a = 1", "unbalanced parentheses"),
]
NO_CONDITIONS = [
    ("", "is empty"),
    ("   ", "is empty"),
    ("a = 1 UNION SELECT 1", "not one boolean"),
    ("SELECT 1", "not one boolean"),
    ("a = 1 LIMIT 1", "not one boolean"),
    ("a = 1 ORDER BY a", "not one boolean"),
    ("a = 1 INTO OUTFILE '/tmp/x'", "not one boolean"),
    ("a = 1 FOR UPDATE", "not one boolean"),
    ("a = 1 AS b", "not one boolean"),
    ("a, b", "not one boolean"),
    ("a =", "not one boolean"),
    ("SLEEP(9) = 0", "SLEEP waits, locks, writes or reads files; take it out"),
    ("`sleep` (9) = 0", "sleep waits"),
    ("{fn sleep(9)} = 0", "sleep waits"),
    ("a = 1 OR BENCHMARK(1e9, SHA2(1, 512)) = 0", "BENCHMARK waits"),
    ("a IN (SELECT GET_LOCK('a', 9))", "GET_LOCK waits"),
    ("RELEASE_ALL_LOCKS() = 0", "RELEASE_ALL_LOCKS waits"),
    ("LOAD_FILE('/etc/passwd') <> ''", "LOAD_FILE waits"),
    ("SETVAL(lab.s, 9) = 9", "SETVAL waits"),
    ("(" * 1500 + "a" + ")" * 1500, "nested too deep"),
    ("NOT " * 1000 + "a", "nested too deep"),
    ("a IN (SELECT a FROM b FOR UPDATE)", "without locks"),
    ("a IN (SELECT a INTO @x FROM b)", "INTO"),
]


@pytest.mark.parametrize(("text", "reason"), ESCAPES + NO_CONDITIONS)
def test_conditions_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadKeySource, match="the restriction") as refusal:
        read_condition(text)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT subject, method FROM lab.subject JOIN lab.`#method`",
        "SELECT DISTINCT `subject`,`method` FROM `lab`.`subject` NATURAL JOIN `lab`.`#method`",
        "(SELECT subject, method FROM a) UNION (SELECT subject, method FROM b)",
        "SELECT * FROM a",
        "SELECT a.* FROM a",
        "WITH a AS (SELECT 1 AS subject, 'x' AS method) SELECT subject, method FROM a",
        "select id as SUBJECT, name as Method, extra from a where extra > 5 order by extra limit 10",
        "SELECT * FROM ((SELECT `subject`, `method` FROM a) UNION (SELECT subject, method FROM b)) as `_u1`",
    ],
)
def test_selects_that_are_taken(text: str) -> None:
    assert read_select(text, ("subject", "method")) == text


def test_the_percent_signs_of_make_sql_are_read_as_single() -> None:
    assert read_select("SELECT a FROM t WHERE b LIKE 'x%%'", ("a",)) == "SELECT a FROM t WHERE b LIKE 'x%%'"
    assert read_select("SELECT a FROM t WHERE b LIKE 'x%'", ("a",)) == "SELECT a FROM t WHERE b LIKE 'x%%'"
    assert read_select("SELECT a FROM t WHERE a %% 2 = 0", ("a",)) == "SELECT a FROM t WHERE a %% 2 = 0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("SELECT a FROM t;", "a semicolon"),
        ("SELECT a FROM t; DELETE FROM t", "a semicolon"),
        ("SELECT a FROM t -- all", "a comment"),
        ("SELECT /*+ SET_VAR(sql_mode='') */ a FROM t", "a comment or hint"),
        ("SELECT a /*!50000 INTO OUTFILE 'x' */ FROM t", "a comment or hint"),
        ("SELECT a FROM t) AS k; DROP TABLE x", "a semicolon"),
        ("SELECT a FROM t) AS k JOIN (SELECT 1", "unbalanced parentheses"),
        ("DELETE FROM t", "one SELECT"),
        ("INSERT INTO t SELECT a FROM u", "one SELECT"),
        ("DROP TABLE t", "one SELECT"),
        ("CALL p()", "one SELECT"),
        ("SHOW TABLES", "one SELECT"),
        ("VALUES ROW(1)", "one SELECT"),
        ("SET @a = 1", "one SELECT"),
        ("SELECT FROM WHERE", "cannot be read as SQL"),
        ("SELECT a FROM t INTO OUTFILE '/tmp/x'", "cannot be read as SQL"),
        ("SELECT a INTO @x FROM t", "take out INTO"),
        ("SELECT a FROM t FOR UPDATE", "without locks"),
        ("SELECT a FROM t LOCK IN SHARE MODE", "without locks"),
        ("SELECT a FROM (SELECT a FROM t FOR SHARE) AS u", "without locks"),
        ("SELECT a FROM t WHERE SLEEP(a)", "take it out"),
        ("WITH x AS (SELECT GET_LOCK('x', 9) AS a) SELECT a FROM x", "take it out"),
        ("SELECT " + "(" * 1500 + "a" + ")" * 1500 + " FROM t", "nested too deep"),
        ("SELECT b FROM t", "does not yield the key attribute 'a'; it yields b and has to yield a"),
        ("SELECT a AS b FROM t", "does not yield the key attribute 'a'"),
    ],
)
def test_selects_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadKeySource) as refusal:
        read_select(text, ("a",))
    assert reason in str(refusal.value)


@given(st.text(st.sampled_from("a=1'\"`\\();-#/* \n%é"), max_size=12))
def test_no_text_ends_a_string_or_leaves_its_parentheses(text: str) -> None:
    """Whatever is taken is balanced once its literals are gone, read by a third reader."""
    try:
        sql = read_condition(text).sql.replace("%%", "%")
    except BadKeySource:
        return
    depth, quote, escaped = 0, "", False
    for character in sql:
        if escaped:
            escaped = False
        elif quote:
            escaped = character == "\\" and quote != "`"
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            assert character not in ";#"
        assert depth >= 0
    assert (depth, quote, escaped) == (0, "", False)
