"""JSON_OBJECT and JSON_ARRAY; PARSE and TRY_PARSE."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.server.support import Client, World


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory: Path = tmp_path_factory.mktemp("functions")
    world = World(directory)
    yield world.login()
    world.close()


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("JSON_OBJECT()", "{}"),
        ("JSON_OBJECT('a':1, 'b':N'x\"y')", '{"a":1,"b":"x\\"y"}'),
        ("JSON_OBJECT('a':NULL, 'b':2)", '{"a":null,"b":2}'),
        ("JSON_OBJECT('a':NULL, 'b':2 ABSENT ON NULL)", '{"b":2}'),
        (
            "JSON_OBJECT('n':JSON_ARRAY(1, 'z'), 'o':JSON_OBJECT('i':CAST(1 AS bit)))",
            '{"n":[1,"z"],"o":{"i":true}}',
        ),
        ("JSON_ARRAY()", "[]"),
        ("JSON_ARRAY(1, NULL, 'a')", '[1,"a"]'),
        ("JSON_ARRAY(1, NULL, 'a' NULL ON NULL)", '[1,null,"a"]'),
        ("JSON_ARRAY(JSON_QUERY('{\"k\":1}'), '{}')", '[{"k":1},"{}"]'),
        ("JSON_ARRAY(CAST(1.50 AS decimal(5, 2)), CAST('20200102' AS date))", '[1.50,"2020-01-02"]'),
    ],
)
def test_json_is_made(sql: Client, expression: str, made: str) -> None:
    assert sql.value(f"SELECT {expression}") == made


def test_json_of_columns(sql: Client) -> None:
    assert sql.rows(
        "SELECT JSON_OBJECT('id':v.id, 'more':(SELECT v.name AS n FOR JSON PATH))"
        " FROM (VALUES (1, 'a'), (2, NULL)) v(id, name) ORDER BY v.id"
    ) == [('{"id":1,"more":[{"n":"a"}]}',), ('{"id":2,"more":[{}]}',)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("PARSE('1,234.50' AS decimal(9, 2) USING 'en-US')", Decimal("1234.50")),
        ("PARSE('1.234,5' AS decimal(9, 2) USING 'de-DE')", Decimal("1234.50")),
        ("PARSE(N'€345,98' AS money USING 'de-DE')", Decimal("345.9800")),
        ("PARSE('1 234,5' AS float USING 'fr-FR')", 1234.5),
        ("PARSE('(12)' AS int)", -12),
        ("PARSE('12.00' AS int)", 12),
        (
            "CONVERT(varchar(30), PARSE('Monday, 13 December 2010' AS datetime2 USING 'en-US'), 120)",
            "2010-12-13 00:00:00",
        ),
        ("CONVERT(varchar(30), PARSE(N'13. Dezember 2010' AS date USING 'de-DE'), 23)", "2010-12-13"),
        (
            "CONVERT(varchar(30), PARSE('13/12/2010 14:05' AS datetime USING 'en-GB'), 120)",
            "2010-12-13 14:05:00",
        ),
        ("TRY_PARSE('abc' AS int)", None),
        ("TRY_PARSE('13/12/2010' AS date USING 'en-US')", None),
        ("TRY_PARSE(NULL AS int)", None),
        ("PARSE('300' AS smallint)", 300),
        ("TRY_PARSE('300' AS tinyint)", None),
    ],
)
def test_text_is_parsed(sql: Client, expression: str, value: object) -> None:
    assert sql.value(f"SELECT {expression}") == value


def test_what_can_not_be_parsed(sql: Client) -> None:
    assert sql.error("SELECT PARSE('abc' AS int USING 'en-US')") == 9819
    assert sql.error("SELECT TRY_PARSE('1' AS int USING 'xx-XX')") == 9818
    assert sql.error("SELECT PARSE('1' AS varchar(9))") == 10761
    sql.run("SET LANGUAGE German")
    assert sql.value("SELECT PARSE('1,5' AS decimal(3, 1))") == Decimal("1.5")
    sql.run("SET LANGUAGE us_english")


@pytest.fixture(scope="module")
def numbers(sql: Client) -> Client:
    sql.run("CREATE TABLE #n(id int, a int NULL, b nvarchar(9) NULL, g int)")
    sql.run("INSERT #n VALUES (1, 1, N'x', 1), (2, 2, N'y', 1), (3, NULL, N'z', 1), (4, 4, NULL, 2)")
    return sql


def test_distinct_knows_no_unknown(numbers: Client) -> None:
    assert numbers.rows(
        "SELECT id, IIF(a IS NOT DISTINCT FROM NULL, 1, 0), IIF(b IS DISTINCT FROM N'X ', 1, 0) FROM #n"
    ) == [(1, 0, 0), (2, 0, 1), (3, 1, 1), (4, 0, 1)]
    assert numbers.value("DECLARE @n int; IF @n IS NOT DISTINCT FROM NULL SELECT 'same'") == "same"
    assert numbers.value("DECLARE @n int; IF @n IS DISTINCT FROM 1 SELECT 'other'") == "other"


def test_percentiles(numbers: Client) -> None:
    assert numbers.rows(
        "SELECT id, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a) OVER (PARTITION BY g),"
        " PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY a DESC) OVER (PARTITION BY g) FROM #n ORDER BY id"
    ) == [(1, 1.5, 2), (2, 1.5, 2), (3, 1.5, 2), (4, 4.0, 4)]
    assert numbers.error("SELECT PERCENTILE_CONT(0.5) OVER () FROM #n") == 10754
    assert numbers.error("SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a) FROM #n") == 10753


def test_named_windows(numbers: Client) -> None:
    assert numbers.rows(
        "SELECT id, SUM(a) OVER w, COUNT(*) OVER (w ROWS UNBOUNDED PRECEDING) FROM #n"
        " WINDOW w AS (v ORDER BY id), v AS (PARTITION BY g) ORDER BY id"
    ) == [(1, 1, 1), (2, 3, 2), (3, 3, 3), (4, 4, 1)]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("SELECT SUM(a) OVER w FROM #n", 5362),
        ("SELECT SUM(a) OVER w FROM #n WINDOW w AS (w ORDER BY id)", 5362),
        ("SELECT SUM(a) OVER w FROM #n WINDOW w AS (v), v AS (u), u AS (w)", 5365),
        ("SELECT SUM(a) OVER w FROM #n WINDOW w AS (ORDER BY id), W AS (ORDER BY a)", 16211),
        ("SELECT SUM(a) OVER (w ORDER BY a) FROM #n WINDOW w AS (ORDER BY id)", 4123),
    ],
)
def test_named_windows_that_can_not_be(numbers: Client, query: str, number: int) -> None:
    assert numbers.error(query) == number


def test_values_without_nulls(numbers: Client) -> None:
    assert numbers.rows(
        "SELECT FIRST_VALUE(b) IGNORE NULLS OVER (ORDER BY id DESC),"
        " LAST_VALUE(a) IGNORE NULLS OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
        " FROM #n ORDER BY id"
    ) == [("z", 1), ("z", 2), ("z", 2), (None, 4)]


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("DATE_BUCKET(week, 1, CAST('20220505' AS date))", "2022-05-02"),
        ("DATE_BUCKET(month, 3, CAST('1899-12-31T10:00' AS datetime))", "1899-10-01 00:00:00.000"),
        ("DATE_BUCKET(month, 1, CAST('20220505' AS date), CAST('20200110' AS date))", "2022-04-10"),
        ("DATE_BUCKET(hour, 2, CAST('13:59' AS time(0)))", "12:00:00"),
        (
            "DATE_BUCKET(day, 2, CAST('20200430' AS datetime2(0)), CAST('20200401' AS datetime2(0)))",
            "2020-04-29 00:00:00",
        ),
        # the hour that is skipped, the one that comes twice, and from zone to zone
        (
            "CAST('20220327 02:30' AS datetime2(0)) AT TIME ZONE 'central european standard time'",
            "2022-03-27 03:30:00 +02:00",
        ),
        (
            "CAST('20221030 02:30' AS datetime2(0)) AT TIME ZONE 'Central European Standard Time'",
            "2022-10-30 02:30:00 +02:00",
        ),
        (
            "CAST('20220130 02:30' AS datetime2(0)) AT TIME ZONE 'UTC' AT TIME ZONE 'Pacific Standard Time'",
            "2022-01-29 18:30:00 -08:00",
        ),
    ],
)
def test_buckets_and_zones(sql: Client, expression: str, made: str) -> None:
    assert sql.value(f"SELECT CONVERT(varchar(40), {expression}, 121)") == made


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("DATE_BUCKET(day, 0, GETDATE())", 9834),
        ("DATE_BUCKET(fortnight, 1, GETDATE())", 155),
        ("GETDATE() AT TIME ZONE 'Mars Standard Time'", 9820),
        ("'2020-01-01' AT TIME ZONE 'UTC'", 8116),
    ],
)
def test_buckets_and_zones_that_can_not_be(sql: Client, expression: str, number: int) -> None:
    assert sql.error(f"SELECT {expression}") == number


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("LEFT_SHIFT(1, 3)", 8),
        ("LEFT_SHIFT(1, 31)", -(2**31)),
        ("LEFT_SHIFT(1, 32)", 0),
        ("RIGHT_SHIFT(-1, 31)", 1),
        ("RIGHT_SHIFT(0x0100, 4)", b"\x00\x10"),
        ("BIT_COUNT(CAST(-1 AS bigint))", 64),
        ("CAST(GET_BIT(5, 2) AS int)", 1),
        ("SET_BIT(5, 1)", 7),
        ("SET_BIT(5, 0, 0)", 4),
    ],
)
def test_bits(sql: Client, expression: str, made: object) -> None:
    assert sql.value(f"SELECT {expression}") == made


def test_versions_can_not_be_switched_on(sql: Client) -> None:
    sql.run("CREATE TABLE #u(i int)")
    assert sql.error("ALTER TABLE #u SET (SYSTEM_VERSIONING = ON)") == 40510
