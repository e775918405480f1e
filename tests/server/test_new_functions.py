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
