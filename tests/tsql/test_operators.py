"""Operators: types of results, results, comparison, collation, LIKE."""

from __future__ import annotations

import uuid
from decimal import Decimal as D

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tdsproxy.tsql import types as t
from tdsproxy.tsql.collation import key, pattern_index
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.operators import (
    binary,
    binary_type,
    collation_key,
    common_type,
    compare,
    comparison_type,
    like,
    unary,
    unary_type,
)
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Date, DateTime, Value


def number_of(function: object, *args: object) -> int:
    with pytest.raises(SqlError) as raised:
        function(*args)  # type: ignore[operator]
    return raised.value.number


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("+", t.INT, t.BIGINT, t.BIGINT),
        ("+", t.TINYINT, t.TINYINT, t.TINYINT),
        ("+", t.BIT, t.INT, t.INT),
        ("+", t.INT, t.varchar(5), t.INT),
        ("*", t.INT, t.FLOAT, t.FLOAT),
        ("*", t.REAL, t.REAL, t.REAL),
        ("+", t.MONEY, t.INT, t.MONEY),
        ("+", t.decimal(5, 2), t.decimal(7, 4), t.decimal(8, 4)),
        ("*", t.decimal(5, 2), t.decimal(7, 4), t.decimal(13, 6)),
        ("/", t.decimal(5, 2), t.decimal(7, 4), t.decimal(17, 10)),
        ("%", t.decimal(5, 2), t.decimal(7, 4), t.decimal(7, 4)),
        ("+", t.decimal(5, 2), t.INT, t.decimal(13, 2, numeric=True)),
        ("/", t.numeric(2, 1), t.numeric(1, 0), t.numeric(7, 6)),
        ("*", t.decimal(38, 10), t.decimal(38, 10), t.decimal(38, 6)),
        ("*", t.decimal(20, 10), t.decimal(20, 10), t.decimal(38, 17)),
        ("+", t.decimal(38, 10), t.decimal(38, 0), t.decimal(38, 0)),
        ("+", t.varchar(5), t.varchar(6), t.varchar(11)),
        ("+", t.varchar(5), t.nvarchar(6), t.nvarchar(11)),
        ("+", t.varchar(5), t.nvarchar(MAX), t.nvarchar(MAX)),
        ("+", t.varchar(8000), t.varchar(8000), t.varchar(8000)),
        ("+", t.binary(3), t.varbinary(2), t.varbinary(5)),
        ("+", t.DATETIME, t.INT, t.DATETIME),
        ("-", t.DATETIME, t.DATETIME, t.DATETIME),
        ("+", t.NULL, t.varchar(5), t.varchar(10)),
        ("&", t.INT, t.TINYINT, t.INT),
        ("|", t.BIT, t.BIT, t.BIT),
    ],
)
def test_types_of_results(op: str, left: SqlType, right: SqlType, expected: SqlType) -> None:
    assert binary_type(op, left, right) == expected


@pytest.mark.parametrize(
    ("op", "left", "right", "number"),
    [
        ("+", t.BIT, t.BIT, 402),
        ("-", t.varchar(5), t.varchar(5), 8117),
        ("*", t.DATETIME, t.INT, 8117),
        ("+", t.DATE, t.INT, 206),
        ("+", t.DATE, t.DATE, 402),
        ("+", t.UNIQUEIDENTIFIER, t.INT, 206),
        ("%", t.FLOAT, t.INT, 402),
        ("+", t.TEXT, t.varchar(5), 402),
        ("&", t.decimal(5, 0), t.INT, 402),
        ("+", t.varchar(5), t.varbinary(5), 402),
    ],
)
def test_operands_that_do_not_go_together(op: str, left: SqlType, right: SqlType, number: int) -> None:
    assert number_of(binary_type, op, left, right) == number


@pytest.mark.parametrize(
    ("op", "left", "ltype", "right", "rtype", "expected"),
    [
        ("/", 7, t.INT, 2, t.INT, 3),
        ("/", -7, t.INT, 2, t.INT, -3),
        ("%", -7, t.INT, 2, t.INT, -1),
        ("+", "a", t.varchar(1), "b", t.varchar(1), "ab"),
        ("+", "1", t.varchar(1), 2, t.INT, 3),
        ("/", D(2), t.numeric(2, 1), D(3), t.numeric(1, 0), D("0.666666")),
        ("*", D("1.5"), t.decimal(5, 1), D("1.5"), t.decimal(5, 1), D("2.25")),
        ("/", D("2.0000"), t.MONEY, D("3.0000"), t.MONEY, D("0.6666")),
        (
            "+",
            D("0.0000000000000000000000001"),
            t.decimal(26, 25),
            D(1),
            t.decimal(1, 0),
            D("1.0000000000000000000000001"),
        ),
        ("+", DateTime(100_000 + 693_595, 0), t.DATETIME, 1, t.INT, DateTime(100_001 + 693_595, 0)),
        (
            "-",
            DateTime(693_600, 0),
            t.DATETIME,
            D("0.5"),
            t.decimal(2, 1),
            DateTime(693_599, 432_000_000_000),
        ),
        ("+", b"\1", t.varbinary(1), b"\2", t.varbinary(1), b"\1\2"),
        ("&", 6, t.INT, 3, t.INT, 2),
        ("|", 6, t.INT, 3, t.INT, 7),
        ("^", 6, t.INT, 3, t.INT, 5),
        ("+", None, t.INT, 3, t.INT, None),
    ],
)
def test_results(op: str, left: Value, ltype: SqlType, right: Value, rtype: SqlType, expected: Value) -> None:
    assert binary(op, left, ltype, right, rtype) == expected


def test_overflow_and_division_by_zero() -> None:
    assert number_of(binary, "+", 2**31 - 1, t.INT, 1, t.INT) == 8115
    assert number_of(binary, "-", 0, t.TINYINT, 1, t.TINYINT) == 8115
    assert number_of(binary, "*", 2**62, t.BIGINT, 2, t.BIGINT) == 8115
    assert number_of(binary, "/", 1, t.INT, 0, t.INT) == 8134
    assert number_of(binary, "%", 1, t.INT, 0, t.INT) == 8134
    assert number_of(binary, "/", 1.0, t.FLOAT, 0.0, t.FLOAT) == 8134
    assert number_of(binary, "/", D(1), t.decimal(5, 0), D(0), t.decimal(5, 0)) == 8134
    assert number_of(binary, "*", 1e308, t.FLOAT, 10.0, t.FLOAT) == 8115
    big = D("9" * 38)
    assert number_of(binary, "+", big, t.decimal(38, 0), big, t.decimal(38, 0)) == 8115
    assert number_of(binary, "+", "x", t.varchar(1), 1, t.INT) == 245


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_division_and_remainder_agree(left: int, right: int) -> None:
    assume(right != 0)
    assume(not (left == -(2**31) and right == -1))
    quotient = binary("/", left, t.INT, right, t.INT)
    rest = binary("%", left, t.INT, right, t.INT)
    assert isinstance(quotient, int)
    assert isinstance(rest, int)
    assert quotient * right + rest == left
    assert abs(rest) < abs(right)


_UNITS = st.integers(-(10**12), 10**12)


@given(_UNITS, st.integers(0, 6), _UNITS, st.integers(0, 6), st.sampled_from("+-*"))
def test_decimals_are_exact(one: int, scale1: int, two: int, scale2: int, op: str) -> None:
    left, right = D(one).scaleb(-scale1), D(two).scaleb(-scale2)
    made = binary(op, left, t.decimal(15, scale1), right, t.decimal(15, scale2))
    exact = {"+": left + right, "-": left - right, "*": left * right}[op]
    assert made == exact
    type_ = binary_type(op, t.decimal(15, scale1), t.decimal(15, scale2))
    assert isinstance(made, D)
    assert -made.as_tuple().exponent == type_.scale  # type: ignore[operator]


@given(_UNITS, st.integers(1, 10**9), st.integers(0, 4))
def test_quotients_are_cut(units: int, divisor: int, scale: int) -> None:
    left = D(units).scaleb(-scale)
    made = binary("/", left, t.decimal(15, scale), D(divisor), t.decimal(10, 0))
    digits = binary_type("/", t.decimal(15, scale), t.decimal(10, 0)).scale or 0
    sign = -1 if units < 0 else 1
    assert made == D(sign * (abs(units) * 10 ** (digits - scale) // divisor)).scaleb(-digits)


def test_unary() -> None:
    assert unary("-", 5, t.INT) == -5
    assert unary("~", 0, t.INT) == -1
    assert unary("~", 1, t.BIT) == 0
    assert unary("~", 1, t.TINYINT) == 254
    assert unary("+", "x", t.varchar(1)) == "x"
    assert unary_type("-", t.TINYINT) == t.SMALLINT
    assert number_of(unary, "-", -(2**31), t.INT) == 8115
    assert number_of(unary_type, "-", t.varchar(5)) == 8117


def test_common_types() -> None:
    assert common_type([t.INT, t.NULL, t.varchar(5)]) == t.INT
    assert common_type([t.varchar(5), t.nvarchar(3)]) == t.nvarchar(5)
    assert common_type([t.char(5), t.varchar(3)]) == t.varchar(5)
    assert common_type([t.decimal(5, 2), t.INT]) == t.decimal(12, 2, numeric=True)
    assert common_type([t.decimal(5, 2), t.decimal(6, 4)]) == t.decimal(7, 4)
    assert common_type([t.DATETIME, t.varchar(20)]) == t.DATETIME
    assert common_type([t.DATE, t.DATETIME]) == t.DATETIME
    assert common_type([t.datetime2(0), t.DATETIME]) == t.datetime2(3)
    assert common_type([t.NULL, t.NULL]) == t.INT
    assert number_of(common_type, [t.INT, t.DATE]) == 206
    assert number_of(comparison_type, t.TEXT, t.varchar(3)) == 402


@pytest.mark.parametrize(
    ("left", "ltype", "right", "rtype", "expected"),
    [
        ("A", t.varchar(1), "a  ", t.varchar(3), 0),
        ("a", t.nvarchar(1), "á", t.nvarchar(1), -1),
        ("", t.varchar(1), " ", t.varchar(1), 0),
        (1, t.INT, D("1.0"), t.decimal(2, 1), 0),
        (1, t.INT, "01", t.varchar(2), 0),
        (D("1.55"), t.decimal(3, 2), 1.55, t.FLOAT, 0),
        (2**60, t.BIGINT, D(2**60) + D("0.1"), t.decimal(38, 1), -1),
        (DateTime(738_915, 0), t.DATETIME, "2024-01-31", t.varchar(10), 0),
        (Date(738_000), t.DATE, DateTime(738_000, 1_000_0), t.datetime2(7), -1),
        (b"\1", t.varbinary(1), b"\1\0", t.varbinary(2), 0),
        (b"\1", t.varbinary(1), 1, t.INT, 0),
        (
            uuid.UUID("00000000-0000-0000-0000-010000000000"),
            t.UNIQUEIDENTIFIER,
            uuid.UUID("ff000000-0000-0000-0000-000000000000"),
            t.UNIQUEIDENTIFIER,
            1,
        ),
        (None, t.INT, 1, t.INT, None),
    ],
)
def test_comparison(left: Value, ltype: SqlType, right: Value, rtype: SqlType, expected: int | None) -> None:
    assert compare(left, ltype, right, rtype) == expected
    if expected is not None:
        assert compare(right, rtype, left, ltype) == -expected


def test_the_order_of_letters() -> None:
    """As captured from SQL Server: order of accented letters, and of weights of varchar."""
    expected = ["a", "á", "à", "ä", "ā", "ab", "b", "c", "ç", "d", "e", "é", "f", "n", "ñ", "o", "ö", "z"]
    shuffled = expected[::-1]
    assert sorted(shuffled, key=collation_key) == expected
    assert sorted(["z", "ab", "á", "A", "1", "{", "_", "-a", "B"], key=collation_key) == [
        "-a",
        "_",
        "{",
        "1",
        "A",
        "á",
        "ab",
        "B",
        "z",
    ]


def test_what_collation_ignores() -> None:
    assert collation_key("a\u200db") == collation_key("ab")
    assert collation_key("🦆") == collation_key("")
    assert collation_key("Straße") == collation_key("STRASSE")
    assert collation_key("a\u0301") == collation_key("á")
    assert collation_key("a b") != collation_key("ab")


def test_other_collations() -> None:
    assert key("A", "Latin1_General_CS_AS") != key("a", "Latin1_General_CS_AS")
    assert key("A", "Latin1_General_BIN2") < key("a", "Latin1_General_BIN2")
    assert key("é", "Latin1_General_CI_AI") == key("E", "Latin1_General_CI_AI")


@given(st.text(max_size=8), st.text(max_size=8))
def test_keys_ignore_case_and_trailing_blanks(one: str, two: str) -> None:
    assert collation_key(one + "  ") == collation_key(one)
    if one.isascii() and two.isascii() and collation_key(one) == collation_key(two):
        assert one.rstrip(" ").replace("\0", "").lower() == two.rstrip(" ").replace("\0", "").lower()


@pytest.mark.parametrize(
    ("value", "pattern", "escape", "expected"),
    [
        ("Foo", "f%", None, True),
        ("Foo", "f_o", None, True),
        ("Foo", "fo", None, False),
        ("a%b", "a[%]b", None, True),
        ("axb", "a[%]b", None, False),
        ("a[b", "a[[]b", None, True),
        ("a_b", "a[_]b", None, True),
        ("B1", "[a-c][0-9]", None, True),
        ("x1", "[^a-c]_", None, True),
        ("b1", "[^a-c]_", None, False),
        ("50%", "50!%", "!", True),
        ("50x", "50!%", "!", False),
        ("C:\\x", "_:\\%", None, True),
        ("a\nb", "a%b", None, True),
        ("á", "a", None, False),
        ("abc ", "abc", None, True),
        ("abc", "abc ", None, False),
        ("a-b", "a[x-]b", None, True),
        ("a]b", "a]b", None, True),
        ("a", "a[", None, False),
        (".", "%.%", None, True),
        ("x", "%.%", None, False),
    ],
)
def test_like(value: str, pattern: str, escape: str | None, expected: bool) -> None:
    assert like(value, pattern, escape) is expected


def test_patindex() -> None:
    assert pattern_index("%[0-9][0-9]%", "ab12c") == 3
    assert pattern_index("%C%", "abc") == 3
    assert pattern_index("ab%", "abc") == 1
    assert pattern_index("b%", "abc") == 0
    assert pattern_index("%bc", "abcbc") == 4
    assert pattern_index("%x%", "abc") == 0


@given(st.text(alphabet="ab%_[]^-!", max_size=6), st.text(alphabet="ab%_[]^-!", max_size=6))
def test_escaped_text_matches_itself_only(one: str, two: str) -> None:
    pattern = "".join("!" + char if char in "%_[]^-!" else char for char in one)
    assert like(one, pattern, "!")
    if one.lower() != two.lower():
        assert not like(two, pattern, "!")
