"""The function library, through the parser and the scalar evaluator."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.environment import FrameEnvironment
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import FunctionDef, call, lookup
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.scalar import TypedValue, evaluate, static_type
from tdsproxy.tsql.state import Frame, Options, SessionState
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value
from tests.tsql.fake_evaluator import FakeContext, FakeEvaluator


def environment() -> FrameEnvironment:
    return FrameEnvironment(FakeEvaluator(), Frame(SessionState(), Options()))


def expression(text: str) -> ast.Expr:
    statement = parse(f"PRINT {text}").statements[0]
    assert isinstance(statement, ast.Print)
    return statement.value


def made(text: str) -> TypedValue:
    expr = expression(text)
    result = evaluate(expr, environment())
    assert static_type(expr, environment()) == result.type
    return result


def shown(text: str) -> Value:
    """A value as text in ISO style, for reading in tests; numbers as they are."""
    result = made(text)
    if result.type.is_temporal:
        return convert(result.value, result.type, t.varchar(60), 121)
    return result.value


def number_of(text: str) -> int:
    with pytest.raises(SqlError) as raised:
        made(text)
    return raised.value.number


def test_every_function_of_tier_one_is_there() -> None:
    names = """
    GETDATE GETUTCDATE SYSDATETIME SYSUTCDATETIME SYSDATETIMEOFFSET CURRENT_TIMESTAMP DATEADD
    DATEDIFF DATENAME DATEPART YEAR MONTH DAY ISDATE LEFT RIGHT SUBSTRING LEN DATALENGTH CHARINDEX
    PATINDEX REPLACE STUFF UPPER LOWER LTRIM RTRIM TRIM REVERSE REPLICATE SPACE STR CHAR NCHAR ASCII
    UNICODE QUOTENAME PARSENAME FORMAT CONCAT ISNULL COALESCE NULLIF IIF ISNUMERIC ABS ROUND CEILING
    FLOOR CHECKSUM NEWID ERROR_NUMBER ERROR_MESSAGE ERROR_SEVERITY ERROR_STATE ERROR_LINE
    ERROR_PROCEDURE XACT_STATE HASHBYTES BINARY_CHECKSUM CONCAT_WS TRANSLATE CHOOSE EOMONTH
    DATEFROMPARTS DATETIMEFROMPARTS POWER SQRT LOG LOG10 RAND SWITCHOFFSET TODATETIMEOFFSET
    FORMATMESSAGE
    """
    assert [name for name in names.split() if lookup(name.lower()) is None] == []


def test_extras_win_over_the_library() -> None:
    extra = FunctionDef("LEN", 0, 0, lambda types, exprs: t.INT, lambda: 99)
    extended = LIBRARY.with_extras([extra])
    assert extended.lookup("len") is extra
    assert LIBRARY.lookup("len") is not extra


def test_strict_functions_answer_null_without_a_call() -> None:
    def fails(value: Value) -> Value:
        raise AssertionError

    function = FunctionDef("F", 1, 1, lambda types, exprs: t.INT, fails)
    context = FakeContext(Frame(SessionState(), Options()))
    assert call(function, [None], [t.INT], t.INT, context) is None


# --------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DATEADD(month, 1, '2024-01-31')", "2024-02-29 00:00:00.000"),
        ("DATEADD(mm, -1, '2024-03-31')", "2024-02-29 00:00:00.000"),
        ("DATEADD(year, 1, CAST('2024-02-29' AS date))", "2025-02-28"),
        ("DATEADD(qq, 2, CAST('2024-08-31' AS date))", "2025-02-28"),
        ("DATEADD(week, -1, CAST('2024-01-05' AS date))", "2023-12-29"),
        ("DATEADD(hour, -24, CAST('2024-01-05 10:30' AS datetime))", "2024-01-04 10:30:00.000"),
        ("DATEADD(ms, 1, CAST('2024-01-05' AS datetime))", "2024-01-05 00:00:00.000"),
        ("DATEADD(ms, 2, CAST('2024-01-05' AS datetime))", "2024-01-05 00:00:00.003"),
        ("DATEADD(ns, 150, CAST('2024-01-05' AS datetime2(7)))", "2024-01-05 00:00:00.0000002"),
        ("DATEADD(minute, 90, CAST('23:00' AS time(0)))", "00:30:00"),
        (
            "DATEADD(day, 1, CAST('2024-01-05 23:00 +02:00' AS datetimeoffset(0)))",
            "2024-01-06 23:00:00 +02:00",
        ),
        ("EOMONTH('2024-02-10')", "2024-02-29"),
        ("EOMONTH('2024-02-10', -2)", "2023-12-31"),
        ("DATEFROMPARTS(2024, 2, 29)", "2024-02-29"),
        ("DATETIMEFROMPARTS(2024, 2, 29, 1, 2, 3, 4)", "2024-02-29 01:02:03.003"),
        ("DATETIME2FROMPARTS(2024, 2, 29, 1, 2, 3, 45, 2)", "2024-02-29 01:02:03.45"),
        ("TIMEFROMPARTS(1, 2, 3, 5, 1)", "01:02:03.5"),
        (
            "SWITCHOFFSET(CAST('2024-01-05 10:00 +00:00' AS datetimeoffset(0)), '-05:30')",
            "2024-01-05 04:30:00 -05:30",
        ),
        ("TODATETIMEOFFSET(CAST('2024-01-05 10:00' AS datetime2(0)), 60)", "2024-01-05 10:00:00 +01:00"),
        ("GETDATE()", "2024-01-31 10:00:00.123"),
        ("CURRENT_TIMESTAMP", "2024-01-31 10:00:00.123"),
        ("SYSDATETIME()", "2024-01-31 10:00:00.1234567"),
        ("DATETRUNC(month, CAST('2024-08-31 10:11:12' AS datetime))", "2024-08-01 00:00:00.000"),
    ],
)
def test_dates(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DATEDIFF(year, '2023-12-31', '2024-01-01')", 1),
        ("DATEDIFF(month, '2024-01-31', '2024-02-01')", 1),
        ("DATEDIFF(quarter, '2024-03-31', '2024-04-01')", 1),
        ("DATEDIFF(day, '2024-01-01 23:59', '2024-01-02 00:01')", 1),
        ("DATEDIFF(week, '2024-01-06', '2024-01-07')", 1),
        ("DATEDIFF(week, '2024-01-07', '2024-01-13')", 0),
        ("DATEDIFF(hh, '2024-01-01 10:59', '2024-01-01 11:00')", 1),
        ("DATEDIFF(mi, '2024-01-01 11:00', '2024-01-01 10:00')", -60),
        ("DATEDIFF(ss, '2024-01-01 10:00:00.9', '2024-01-01 10:00:01.0')", 1),
        ("DATEDIFF_BIG(ns, '2024-01-01', '2024-01-02')", 86_400_000_000_000),
        ("DATEPART(weekday, '2024-01-07')", 1),
        ("DATEPART(week, '2024-01-01')", 1),
        ("DATEPART(week, '2024-01-07')", 2),
        ("DATEPART(iso_week, '2023-01-01')", 52),
        ("DATEPART(dayofyear, '2024-12-31')", 366),
        ("DATEPART(quarter, '2024-12-31')", 4),
        ("DATEPART(ms, '2024-12-31 10:00:00.123')", 123),
        ("DATEPART(mcs, CAST('2024-12-31 10:00:00.1234567' AS datetime2(7)))", 123_456),
        ("DATEPART(tz, CAST('2024-12-31 10:00 -01:30' AS datetimeoffset))", -90),
        ("DATENAME(month, '2024-12-31')", "December"),
        ("DATENAME(dw, '2024-01-07')", "Sunday"),
        ("DATENAME(year, '2024-01-07')", "2024"),
        ("YEAR('2024-05-06')", 2024),
        ("MONTH(CAST('2024-05-06' AS date))", 5),
        ("DAY(0)", 1),
        ("ISDATE('2024-02-30')", 0),
        ("ISDATE('20240228')", 1),
        ("ISDATE(NULL)", 0),
    ],
)
def test_parts_of_dates(text: str, expected: Value) -> None:
    assert made(text).value == expected


_MOMENTS = st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2200, 1, 1))


@given(_MOMENTS, st.integers(-100_000, 100_000))
def test_dateadd_days_agrees_with_python(moment: dt.datetime, days: int) -> None:
    function = lookup("DATEADD")
    assert function is not None
    types = [t.NULL, t.INT, t.datetime2(7)]
    context = FakeContext(Frame(SessionState(), Options()))
    result = call(function, ["day", days, DateTime.of(moment)], types, t.datetime2(7), context)
    assert result == DateTime.of(moment + dt.timedelta(days=days))


@given(_MOMENTS, _MOMENTS)
def test_datediff_counts_boundaries(one: dt.datetime, two: dt.datetime) -> None:
    function = lookup("DATEDIFF_BIG")
    assert function is not None
    types = [t.NULL, t.datetime2(7), t.datetime2(7)]
    context = FakeContext(Frame(SessionState(), Options()))

    def count(part: str) -> Value:
        return call(function, [part, DateTime.of(one), DateTime.of(two)], types, t.BIGINT, context)

    assert count("day") == two.toordinal() - one.toordinal()
    assert count("year") == two.year - one.year
    epoch = dt.datetime(1, 1, 1)
    assert count("hour") == (two - epoch) // dt.timedelta(hours=1) - (one - epoch) // dt.timedelta(hours=1)


def test_date_errors() -> None:
    assert number_of("DATEADD(day, 3000000, '2024-01-01')") == 517
    assert number_of("DATEADD(fortnight, 1, '2024-01-01')") == 155
    assert number_of("DATEADD(hour, 1, CAST('2024-01-01' AS date))") == 9810
    assert number_of("DATEDIFF(ms, '1900-01-01', '2024-01-01')") == 535
    assert number_of("DATEFROMPARTS(2024, 2, 30)") == 289
    assert number_of("YEAR('junk')") == 241


# --------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LEN('abc  ')", 3),
        ("LEN(N'🦆')", 2),
        ("LEN(12345)", 5),
        ("DATALENGTH(N'abc ')", 8),
        ("DATALENGTH('abc ')", 4),
        ("DATALENGTH(CAST(5 AS bigint))", 8),
        ("DATALENGTH(NULL)", None),
        ("LEFT('abcdef', 2)", "ab"),
        ("RIGHT('abcdef', 2)", "ef"),
        ("RIGHT('abcdef', 0)", ""),
        ("SUBSTRING('abcdef', 2, 3)", "bcd"),
        ("SUBSTRING('abcdef', 0, 3)", "ab"),
        ("SUBSTRING('abcdef', -1, 3)", "a"),
        ("SUBSTRING('abcdef', 5, 30)", "ef"),
        ("SUBSTRING(0x010203, 2, 1)", b"\2"),
        ("CHARINDEX('C', 'abcabc')", 3),
        ("CHARINDEX('c', 'abcabc', 4)", 6),
        ("CHARINDEX('x', 'abc')", 0),
        ("CHARINDEX('', 'abc')", 0),
        ("PATINDEX('%[0-9]%', 'ab1')", 3),
        ("REPLACE('aXbxc', 'x', '--')", "a--b--c"),
        ("REPLACE('abc', '', 'z')", "abc"),
        ("STUFF('abcdef', 2, 3, 'XY')", "aXYef"),
        ("STUFF('abc', 1, 1, NULL)", "bc"),
        ("STUFF('abc', 9, 1, 'x')", None),
        ("UPPER('aé')", "AÉ"),
        ("LOWER('AÉ')", "aé"),
        ("LTRIM('  a ')", "a "),
        ("RTRIM('  a ')", "  a"),
        ("TRIM('  a ')", "a"),
        ("TRIM('.,! ' FROM '. , a.b !')", "a.b"),
        ("TRIM(LEADING '.' FROM '..a..')", "a.."),
        ("TRIM(TRAILING '.' FROM '..a..')", "..a"),
        ("TRIM(BOTH '.' FROM '..a..')", "a"),
        ("REVERSE('abc')", "cba"),
        ("REPLICATE('ab', 3)", "ababab"),
        ("REPLICATE('ab', -1)", None),
        ("'[' + SPACE(3) + ']'", "[   ]"),
        ("STR(123.456, 7, 2)", " 123.46"),
        ("STR(123.456)", "       123"),
        ("STR(12345, 3)", "***"),
        ("CHAR(65)", "A"),
        ("CHAR(256)", None),
        ("NCHAR(9731)", "☃"),
        ("ASCII('é')", 0xE9),
        ("UNICODE(N'☃')", 9731),
        ("QUOTENAME('a]b')", "[a]]b]"),
        ("QUOTENAME('a''b', '''')", "'a''b'"),
        ("QUOTENAME('a', 'x')", None),
        ("PARSENAME('srv.[my.db].dbo.t', 3)", "my.db"),
        ("PARSENAME('dbo.t', 1)", "t"),
        ("PARSENAME('dbo.t', 3)", None),
        ("CONCAT('a', NULL, 5, N'b')", "a5b"),
        ("CONCAT_WS(',', 'a', NULL, 'b')", "a,b"),
        ("TRANSLATE('2*[3+4]', '[]', '()')", "2*(3+4)"),
        ("STRING_ESCAPE('a\"/', 'json')", 'a\\"\\/'),
        ("SOUNDEX('Robert')", "R163"),
        ("DIFFERENCE('Smith', 'Smyth')", 4),
        ("FORMATMESSAGE('%s has %d', 'x', 5)", "x has 5"),
        ("ISNUMERIC('12.5')", 1),
        ("ISNUMERIC('x')", 0),
        ("ISNUMERIC('$1,000')", 1),
        ("ISNUMERIC(NULL)", 0),
    ],
)
def test_text(text: str, expected: Value) -> None:
    assert made(text).value == expected


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("LEN('a')", t.INT),
        ("LEN(CAST('a' AS varchar(max)))", t.BIGINT),
        ("LEFT(N'abcdef', 2)", t.nvarchar(2)),
        ("SUBSTRING('abcdef', 1, 4)", t.varchar(4)),
        ("REPLACE('a', 'b', N'c')", t.nvarchar(4000)),
        ("CONCAT('abc', 5, N'de')", t.nvarchar(17)),
        ("UPPER('abc')", t.varchar(3)),
        ("ISNULL(CAST(NULL AS varchar(2)), 'abc')", t.varchar(2)),
        ("COALESCE(NULL, 1, 2.5)", t.numeric(11, 1)),
        ("NULLIF(1, 2.5)", t.INT),
        ("IIF(1 = 1, 'a', N'bcd')", t.nvarchar(3)),
        ("GETDATE()", t.DATETIME),
        ("DATEADD(day, 1, '2024-01-01')", t.DATETIME),
        ("ROUND(1.25, 1)", t.numeric(3, 2)),
        ("ABS(CAST(1 AS smallint))", t.INT),
        ("QUOTENAME('x')", t.nvarchar(258)),
        ("REPLICATE(CAST('x' AS nvarchar(max)), 2)", t.nvarchar(MAX)),
        ("HASHBYTES('MD5', 'a')", t.varbinary(8000)),
    ],
)
def test_result_types(text: str, type_: SqlType) -> None:
    found = static_type(expression(text), environment())
    assert (found.name, found.length, found.precision, found.scale) == (
        type_.name,
        type_.length,
        type_.precision,
        type_.scale,
    )


def test_text_errors() -> None:
    assert number_of("LEFT('abc', -1)") == 537
    assert number_of("SUBSTRING('abc', 1, -1)") == 537
    assert number_of("SUBSTRING(5, 1, 1)") == 8116
    assert number_of("TRANSLATE('a', 'ab', 'c')") == 9828
    assert number_of("NOSUCH('abc')") == 195
    assert number_of("LEN('a', 'b')") == 174
    assert number_of("SUBSTRING('abc')") == 189


@given(st.text(max_size=30), st.integers(1, 30), st.integers(0, 30))
def test_stuff_is_left_new_right(text: str, start: int, count: int) -> None:
    quoted = "N'" + text.replace("'", "''") + "'"
    result = made(f"STUFF({quoted}, {start}, {count}, N'-')").value
    raw = text.encode("utf-16-le", "surrogatepass")
    if start > len(raw) // 2:
        assert result is None
    else:
        joined = raw[: 2 * start - 2] + b"-\0" + raw[2 * start - 2 + 2 * count :]
        assert result == joined.decode("utf-16-le", "replace")


@given(st.text(alphabet="ab]\"'[x", max_size=12))
def test_quotename_is_undone_by_parsename(text: str) -> None:
    quoted = "N'" + text.replace("'", "''") + "'"
    assert made(f"PARSENAME(QUOTENAME({quoted}), 1)").value == (text or None)


# --------------------------------------------------------------------------- numbers and the rest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ABS(-5)", 5),
        ("ABS(-1.50)", D("1.50")),
        ("SIGN(-2.5)", D("-1.0")),
        ("CEILING(1.2)", D(2)),
        ("CEILING(-1.2)", D(-1)),
        ("FLOOR(-1.2)", D(-2)),
        ("FLOOR(CAST(1.7 AS float))", 1.0),
        ("ROUND(123.456, 2)", D("123.460")),
        ("ROUND(123.456, -2)", D("100.000")),
        ("ROUND(123.456, 2, 1)", D("123.450")),
        ("ROUND(2.5, 0)", D("3.0")),
        ("ROUND(-2.5, 0)", D("-3.0")),
        ("ROUND(1.005E0, 2)", 1.01),
        ("ROUND(155, -1)", 160),
        ("POWER(2, 10)", 1024),
        ("POWER(2.0, 3)", D("8.0")),
        ("SQRT(16)", 4.0),
        ("LOG(8, 2)", 3.0),
        ("SQUARE(3)", 9.0),
        ("ISNULL(NULL, 5)", 5),
        ("ISNULL(CAST(NULL AS varchar(2)), 'abc')", "ab"),
        ("COALESCE(NULL, '5', 1)", 5),
        ("NULLIF('a', 'A')", None),
        ("NULLIF(1, 2)", 1),
        ("IIF(1 > 2, 'y', 'n')", "n"),
        ("IIF(NULL > 2, 'y', 'n')", "n"),
        ("CHOOSE(2, 'a', 'b', 'c')", "b"),
        ("CHOOSE(9, 'a', 'b')", None),
        ("GREATEST(1, 2.5, NULL)", D("2.5")),
        ("LEAST('b', 'A')", "A"),
        ("HASHBYTES('MD5', 'abc')", bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")),
        ("ERROR_NUMBER()", None),
        ("XACT_STATE()", 0),
        ("RAND(5)", 0.005),
    ],
)
def test_numbers_and_conditions(text: str, expected: Value) -> None:
    assert made(text).value == expected


def test_number_errors() -> None:
    assert number_of("ABS(CAST(-2147483648 AS int))") == 8115
    assert number_of("POWER(2, 31)") == 8115
    assert number_of("SQRT(-1)") == 3623
    assert number_of("ABS(GETDATE())") == 8116


def test_only_what_is_needed_is_evaluated() -> None:
    assert made("COALESCE(1, 1/0)").value == 1
    assert made("ISNULL(1, 1/0)").value == 1
    assert made("IIF(1 = 1, 2, 1/0)").value == 2
    assert made("CASE WHEN 1 = 1 THEN 1 ELSE 1/0 END").value == 1


def test_checksums_follow_the_collation() -> None:
    assert made("CHECKSUM('abc')").value == made("CHECKSUM('ABC')").value
    assert made("BINARY_CHECKSUM('abc')").value != made("BINARY_CHECKSUM('ABC')").value
    assert made("CHECKSUM(17)").value == 17


def test_newid_is_new() -> None:
    one, two = made("NEWID()").value, made("NEWID()").value
    assert isinstance(one, uuid.UUID)
    assert one != two


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FORMAT(CAST('2024-01-05 09:05:07' AS datetime), 'yyyy-MM-dd HH:mm:ss')", "2024-01-05 09:05:07"),
        ("FORMAT(CAST('2024-01-05' AS date), 'dddd', 'en-US')", "Friday"),
        ("FORMAT(CAST('2024-01-05' AS date), 'd')", "1/5/2024"),
        ("FORMAT(CAST('2024-01-05 15:05:07' AS datetime), 'h:mm tt')", "3:05 PM"),
        ("FORMAT(CAST('2024-01-05 15:05:07.123' AS datetime2(3)), 'yyyyMMddHHmmssfff')", "20240105150507123"),
        ("FORMAT(1234567.891, 'N')", "1,234,567.89"),
        ("FORMAT(1234567.891, 'N0')", "1,234,568"),
        ("FORMAT(5, 'D4')", "0005"),
        ("FORMAT(255, 'X')", "FF"),
        ("FORMAT(0.256, 'P1')", "25.6%"),
        ("FORMAT(-5.5, 'C')", "-$5.50"),
        ("FORMAT(1234.5, '#,##0.00')", "1,234.50"),
        ("FORMAT(7, '000')", "007"),
        ("FORMAT(0.5, '#.##')", ".5"),
        ("FORMAT(NULL, 'N')", None),
    ],
)
def test_format(text: str, expected: str | None) -> None:
    assert made(text).value == expected


def test_zoned_now_keeps_its_offset() -> None:
    assert isinstance(made("SYSDATETIMEOFFSET()").value, DateTimeOffset)
