"""Scalar expressions and three-valued predicates."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.environment import FrameEnvironment
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.scalar import NeedsQuery, evaluate, static_type
from tdsproxy.tsql.scalar import test as truth_of
from tdsproxy.tsql.state import Frame, Options, SessionState
from tdsproxy.tsql.values import Value
from tests.tsql.fake_evaluator import FakeEvaluator


def environment() -> FrameEnvironment:
    frame = Frame(SessionState(error=547, rowcount=3), Options(), nest_level=2)
    frame.declare("@n", t.INT, 7)
    frame.declare("@null", t.INT)
    frame.declare("@s", t.varchar(10), "Text")
    return FrameEnvironment(FakeEvaluator(), frame)


def expression(text: str) -> ast.Expr:
    statement = parse(f"PRINT {text}").statements[0]
    assert isinstance(statement, ast.Print)
    return statement.value


def value(text: str) -> Value:
    return evaluate(expression(text), environment()).value


def truth(text: str) -> bool | None:
    statement = parse(f"IF {text} PRINT 1").statements[0]
    assert isinstance(statement, ast.If)
    return truth_of(statement.condition, environment())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("'a' + 'b' + @s", "abText"),
        ("@N + @n", 14),
        ("@null + 1", None),
        ("'a' + NULL", None),
        ("1.0 / 3", D("0.333333")),
        ("10 / 4 * 1.0", D("2.0")),
        ("-@n", -7),
        ("~5", -6),
        ("@@ERROR + @@ROWCOUNT + @@NESTLEVEL", 552),
        ("@@SERVERNAME", "HERE"),
        ("CAST('12' AS int) + 1", 13),
        ("TRY_CAST('x' AS int)", None),
        ("TRY_CONVERT(date, '2024-02-30')", None),
        ("CONVERT(varchar(10), 0xAB, 2)", "AB"),
        ("CONVERT(varchar(30), CAST('2024-01-05' AS date), 112)", "20240105"),
        ("CONVERT(varchar(30), CAST('2024-01-05' AS date), @null)", None),
        ("CASE @n WHEN 1 THEN 'one' WHEN 7 THEN 'seven' END", "seven"),
        ("CASE WHEN @n > 10 THEN 1 WHEN @null = 1 THEN 2 ELSE 3.5 END", D("3.5")),
        ("CASE WHEN @n > 10 THEN 1 END", None),
        ("CASE @s WHEN 'TEXT' THEN 1 ELSE 0 END", 1),
        ("'x' COLLATE Latin1_General_BIN2", "x"),
    ],
)
def test_values(text: str, expected: Value) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 = 1", True),
        ("1 <> 1", False),
        ("@null = 1", None),
        ("NOT @null = 1", None),
        ("@null = 1 AND 1 = 2", False),
        ("@null = 1 OR 1 = 1", True),
        ("@null = 1 OR 1 = 2", None),
        ("@null IS NULL", True),
        ("@null IS NOT NULL", False),
        ("@n BETWEEN 1 AND 7", True),
        ("@n NOT BETWEEN 1 AND 6", True),
        ("@n BETWEEN @null AND 6", False),
        ("@n BETWEEN @null AND 8", None),
        ("@n IN (1, 7)", True),
        ("@n IN (1, @null)", None),
        ("@n NOT IN (1, 2)", True),
        ("@s = 'text  '", True),
        ("@s = 'text' COLLATE Latin1_General_CS_AS", False),
        ("@s LIKE 't_x%'", True),
        ("@s NOT LIKE '[a-c]%'", True),
        ("@null LIKE '1'", None),
        ("'5%' LIKE '5!%' ESCAPE '!'", True),
        ("'10' > 9", True),
        ("CAST('2024-01-05' AS date) < '2024-01-06'", True),
        ("@@SERVERNAME = 'here'", True),
    ],
)
def test_predicates(text: str, expected: bool | None) -> None:
    assert truth(text) is expected


_TRUTHS = st.sampled_from([("1 = 1", True), ("1 = 2", False), ("NULL = 1", None)])


@given(_TRUTHS, _TRUTHS)
def test_three_valued_logic(one: tuple[str, bool | None], two: tuple[str, bool | None]) -> None:
    """AND is the lesser, OR the greater, with UNKNOWN between FALSE and TRUE."""
    rank = {False: 0, None: 1, True: 2}
    assert rank[truth(f"{one[0]} AND {two[0]}")] == min(rank[one[1]], rank[two[1]])
    assert rank[truth(f"{one[0]} OR {two[0]}")] == max(rank[one[1]], rank[two[1]])
    assert rank[truth(f"NOT ({one[0]})")] == 2 - rank[one[1]]


@pytest.mark.parametrize(
    "text",
    ["(SELECT 1)", "COUNT(*)", "x + 1", "dbo.f(1)", "CASE WHEN EXISTS (SELECT 1) THEN 1 END", "MAX(1)"],
)
def test_what_needs_a_query(text: str) -> None:
    with pytest.raises(NeedsQuery):
        value(text)


def test_undeclared_names() -> None:
    for text in ("@nope", "@@nope"):
        with pytest.raises(SqlError) as raised:
            value(text)
        assert raised.value.number == 137


def test_static_types_do_not_evaluate() -> None:
    assert static_type(expression("CAST('x' AS int) / 0"), environment()) == t.INT
    assert static_type(expression("1.0 / 3"), environment()) == t.numeric(7, 6)


def test_long_concatenations_do_not_recurse() -> None:
    assert value(" + ".join(["'ab'"] * 400)) == "ab" * 400
