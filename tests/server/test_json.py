"""JSON functions, OPENJSON and FOR JSON."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client

__all__ = ["shared_world", "sql"]

_JSON = '{"a": 1.50, "b": {"c": [10, 20, {"d":"x/y"}], "e f": null}, "s":"q\\"z", "t":true}'


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("JSON_VALUE(@j, '$.a')", "1.50"),
        ("JSON_VALUE(@j, 'lax $.b.c[1]')", "20"),
        ("JSON_VALUE(@j, '$.b.c[2].d')", "x/y"),
        ("JSON_VALUE(@j, '$.b.\"e f\"')", None),
        ("JSON_VALUE(@j, '$.b')", None),
        ("JSON_VALUE(@j, '$.s')", 'q"z'),
        ("JSON_VALUE(@j, '$.t')", "true"),
        ("JSON_QUERY(@j, '$.b.c')", '[10, 20, {"d":"x/y"}]'),
        ("JSON_QUERY(@j, '$.a')", None),
        ("JSON_QUERY(@j)", _JSON),
        ("ISJSON(@j)", 1),
        ("ISJSON('{x}')", 0),
        ("ISJSON('1')", 0),
        ("ISJSON('1', VALUE)", 1),
        ("ISJSON('[]', OBJECT)", 0),
        ("ISJSON(NULL)", None),
        ("JSON_PATH_EXISTS(@j, '$.b.c')", 1),
        ("JSON_MODIFY(@j, '$.b', 5)", '{"a": 1.50, "b": 5, "s":"q\\"z", "t":true}'),
        ("JSON_MODIFY('{\"a\":1}', '$.n', 'v\"')", '{"a":1,"n":"v\\""}'),
        ("JSON_MODIFY('{\"a\":[1]}', 'append $.a', 2)", '{"a":[1,2]}'),
        ("JSON_MODIFY('{\"a\":1,\"b\":2}', '$.a', NULL)", '{"b":2}'),
        ("JSON_MODIFY('{\"a\":1,\"b\":2}', '$.b', NULL)", '{"a":1}'),
        ("JSON_MODIFY('{\"a\":1}', 'strict $.a', NULL)", '{"a":null}'),
        ("JSON_MODIFY('{\"a\":1}', '$.a', JSON_QUERY('[1,2]'))", '{"a":[1,2]}'),
        ("JSON_MODIFY('{}', '$.a', (SELECT 1 AS x FOR JSON PATH))", '{"a":[{"x":1}]}'),
    ],
)
def test_functions(sql: Client, call: str, value: object) -> None:
    text = _JSON.replace("'", "''")
    assert sql.value(f"DECLARE @j nvarchar(max) = N'{text}'; SELECT {call}") == value
    assert sql.value(f"DECLARE @j nvarchar(max) = N'{text}'; SELECT {call} FROM (SELECT 1 AS x) t") == value


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("JSON_VALUE('{\"a\":1}', 'strict $.b')", 13608),
        ("JSON_VALUE('{\"a\":[]}', 'strict $.a')", 13623),
        ("JSON_QUERY('{\"a\":1}', 'strict $.a')", 13624),
        ("JSON_VALUE('{\"a\":}', '$.a')", 13609),
        ("JSON_VALUE('{}', 'a')", 13607),
        ("JSON_MODIFY('{}', 'strict $.a', 1)", 13608),
    ],
)
def test_refusals(sql: Client, call: str, number: int) -> None:
    assert sql.error(f"SELECT {call}") == number


def test_openjson(sql: Client) -> None:
    text = 'SELECT [key], value, type FROM OPENJSON(\'{"a":1,"b":"x","c":null,"d":[true]}\')'
    assert sql.rows(text) == [
        ("a", "1", 2),
        ("b", "x", 1),
        ("c", None, 0),
        ("d", "[true]", 4),
    ]
    assert sql.rows("DECLARE @p varchar(9) = '$.a'; SELECT value FROM OPENJSON('{\"a\":[5,6]}', @p)") == [
        ("5",),
        ("6",),
    ]
    assert sql.rows(
        'SELECT o.* FROM (SELECT \'[{"id":1,"n":"a","s":{"x":5}},{"id":"2","s":{"x":6}}]\' AS j) t'
        " CROSS APPLY OPENJSON(t.j)"
        " WITH (id int, name varchar(10) '$.n', x int '$.s.x', s nvarchar(max) AS JSON) o"
    ) == [(1, "a", 5, '{"x":5}'), (2, None, 6, '{"x":6}')]
    assert sql.error('SELECT * FROM OPENJSON(\'[{"a":"x"}]\') WITH (a int)') == 245


def test_for_json(sql: Client) -> None:
    sql.run("CREATE TABLE t(id int, n varchar(10), d date, m decimal(9,2), f float, b bit)")
    sql.run("INSERT t VALUES (1,'a/\"','20240131',1.50,0.1,1), (2,NULL,NULL,NULL,NULL,0)")
    assert sql.value("SELECT * FROM t FOR JSON PATH") == (
        '[{"id":1,"n":"a\\/\\"","d":"2024-01-31","m":1.50,"f":1.000000000000000e-001,"b":true},'
        '{"id":2,"b":false}]'
    )
    assert (
        sql.value(
            "SELECT id AS 'x.id', n AS 'x.n' FROM t WHERE id = 2"
            " FOR JSON PATH, ROOT('r'), INCLUDE_NULL_VALUES"
        )
        == '{"r":[{"x":{"id":2,"n":null}}]}'
    )
    assert (
        sql.value(
            "SELECT id, (SELECT u.id AS i FROM t u WHERE u.id > t.id FOR JSON PATH) AS sub,"
            " JSON_QUERY('[1]') AS q FROM t FOR JSON PATH, WITHOUT_ARRAY_WRAPPER"
        )
        == '{"id":1,"sub":[{"i":2}],"q":[1]},{"id":2,"q":[1]}'
    )
    assert sql.error("SELECT id + 1 FROM t FOR JSON PATH") == 13605
    assert sql.error("SELECT id AS a, n AS 'a.b' FROM t FOR JSON PATH") == 13601
