"""Queries: rows, static types, flags, errors."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tdsproxy.tsql import ast
from tdsproxy.tsql.interpreter import Frame, Options, SessionState
from tdsproxy.tsql.parser import parse
from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


@pytest.fixture
def shop(bench: Bench) -> Bench:
    bench.ok(
        "CREATE TABLE p(id int NOT NULL PRIMARY KEY, name nvarchar(20) NOT NULL, qty int NULL,"
        " price decimal(10,2) NULL);"
        "CREATE TABLE c(id int IDENTITY PRIMARY KEY, pid int NULL, note varchar(10) NULL);"
        "INSERT p VALUES (1, N'one', 5, 1.50), (2, N'two', NULL, 2.25), (3, N'three', 7, NULL);"
        "INSERT c(pid, note) VALUES (1, 'a'), (1, 'b'), (2, 'c'), (NULL, 'd')"
    )
    return bench


def test_columns_have_their_declared_types_and_flags(shop: Bench) -> None:
    answer = shop.ok("SELECT id, note, pid + 1 AS n FROM c WHERE 1 = 0")
    assert answer.types == ["id int", "note varchar(10) null", "n int null"]
    first, second, third = answer.columns[-1]
    assert first.identity
    assert not first.updatable_unknown
    assert second.updatable_unknown
    assert not second.computed
    assert third.computed
    assert answer.rows == []


@pytest.mark.parametrize(
    ("expression", "type_", "value"),
    [
        ("1", "int", 1),
        ("'x'", "varchar(1)", "x"),
        ("NULL", "int null", None),
        ("7 / 2", "int", 3),
        ("-7 % 4", "int", -3),
        ("1.5 * 2", "numeric(4,1)", Decimal("3.0")),
        ("'a' + 'b'", "varchar(2)", "ab"),
        ("N'a' + 'b'", "nvarchar(2)", "ab"),
        ("CASE WHEN 1 = 1 THEN 0 ELSE 1 END", "int", 0),
        ("CASE WHEN 'a' = 'A ' THEN 1 ELSE 0 END", "int", 1),
        ("COALESCE(NULL, 'abc')", "varchar(3)", "abc"),
        ("IIF(2 > 1, 'yes', 'no')", "varchar(3)", "yes"),
        ("CAST('12' AS int)", "int null", 12),
        ("LEN('abc  ')", "int null", 3),
        ("0x0102", "varbinary(2)", b"\x01\x02"),
    ],
)
def test_expressions(bench: Bench, expression: str, type_: str, value: object) -> None:
    answer = bench.ok(f"SELECT {expression} AS x")
    assert answer.types == [f"x {type_}"]
    assert answer.rows == [(value,)]


def test_arithmetic_with_columns_follows_the_scale_rules(shop: Bench) -> None:
    # the integer literal counts with its one digit: decimal(10,2) * 2 is decimal(12,2)
    answer = shop.ok("SELECT price * 2 AS twice, price / 3 AS third FROM p WHERE id = 1")
    assert answer.types == ["twice decimal(12,2) null", "third decimal(14,6) null"]
    assert answer.rows == [(Decimal("3.00"), Decimal("0.500000"))]


def test_names_are_found_without_case_and_by_alias(shop: Bench) -> None:
    assert shop.query("SELECT P.ID FROM DB..P WHERE Name = N'ONE  '") == [(1,)]
    assert shop.query("SELECT x.id FROM dbo.p AS x WHERE x.name LIKE 't[hx]%'") == [(3,)]


@pytest.mark.parametrize(
    ("query", "number", "text"),
    [
        ("SELECT nope FROM p", 207, "Invalid column name 'nope'."),
        ("SELECT * FROM nope", 208, "Invalid object name 'nope'."),
        ("SELECT * FROM other.dbo.t", 208, "Invalid object name 'other.dbo.t'."),
        ("SELECT id FROM p, c", 209, "Ambiguous column name 'id'."),
        ("SELECT z.id FROM p", 4104, 'The multi-part identifier "z.id" could not be bound.'),
        ("SELECT 1 FROM p UNION SELECT 1, 2", 205, ""),
        ("SELECT (SELECT id, name FROM p)", 116, ""),
        ("SELECT (SELECT id FROM p)", 512, ""),
        ("SELECT frobnicate(1)", 195, "'frobnicate' is not a recognized built-in function name."),
        ("SELECT SUM(name) FROM p", 8117, "Operand data type nvarchar is invalid for sum operator."),
        ("SELECT name, COUNT(*) FROM p", 8120, ""),
        ("SELECT 1 ORDER BY 2", 108, ""),
        ("SELECT 1 / (id - 1) FROM p", 8134, "Divide by zero error encountered."),
        ("SELECT id + 2147483647 FROM p", 8115, ""),
    ],
)
def test_errors(shop: Bench, query: str, number: int, text: str) -> None:
    found = shop.error(query)
    assert found[0] == number
    if text:
        assert found[1] == text


def test_joins(shop: Bench) -> None:
    rows = shop.query("SELECT p.id, c.note FROM p LEFT JOIN c ON c.pid = p.id ORDER BY p.id, c.note")
    assert rows == [(1, "a"), (1, "b"), (2, "c"), (3, None)]
    answer = shop.ok("SELECT p.id, c.id FROM p FULL JOIN c ON c.pid = p.id WHERE 1 = 0")
    assert answer.types == ["id int null", "id int null"]
    assert shop.query("SELECT COUNT(*) FROM p CROSS JOIN c") == [(12,)]
    assert shop.query("SELECT c.note FROM p RIGHT JOIN c ON c.pid = p.id WHERE p.id IS NULL") == [("d",)]


def test_apply(shop: Bench) -> None:
    assert shop.query(
        "SELECT p.id, x.n FROM p CROSS APPLY (SELECT COUNT(*) AS n FROM c WHERE c.pid = p.id) x ORDER BY 1"
    ) == [(1, 2), (2, 1), (3, 0)]
    assert shop.query(
        "SELECT p.id, x.note FROM p OUTER APPLY"
        " (SELECT TOP 1 note FROM c WHERE c.pid = p.id ORDER BY note DESC) x ORDER BY 1"
    ) == [(1, "b"), (2, "c"), (3, None)]
    assert shop.query(
        "SELECT p.id, v.k FROM p CROSS APPLY (VALUES (p.id), (p.qty)) v(k) WHERE p.id = 1 ORDER BY 2"
    ) == [(1, 1), (1, 5)]
    assert shop.query("SELECT x.d FROM p CROSS APPLY (SELECT p.id * 2 AS d) x ORDER BY 1") == [
        (2,),
        (4,),
        (6,),
    ]


def test_subqueries_and_predicates(shop: Bench) -> None:
    assert shop.query("SELECT id FROM p WHERE id IN (SELECT pid FROM c)") == [(1,), (2,)]
    assert shop.query("SELECT id FROM p WHERE id NOT IN (SELECT pid FROM c)") == []
    assert shop.query("SELECT id FROM p WHERE NOT EXISTS (SELECT * FROM c WHERE pid = p.id)") == [(3,)]
    assert shop.query("SELECT id FROM p WHERE id >= ALL (SELECT id FROM p)") == [(3,)]
    assert shop.query("SELECT id FROM p WHERE id < ANY (SELECT pid FROM c WHERE pid = 2)") == [(1,)]
    assert shop.query("SELECT id, (SELECT MAX(note) FROM c WHERE pid = p.id) FROM p ORDER BY id") == [
        (1, "b"),
        (2, "c"),
        (3, None),
    ]


def test_grouping_and_aggregates(shop: Bench) -> None:
    answer = shop.ok(
        "SELECT COUNT(*) AS n, SUM(qty) AS s, AVG(qty) AS a, SUM(price) AS m, MAX(name) AS x FROM p"
    )
    assert answer.types == [
        "n int null",
        "s int null",
        "a int null",
        "m decimal(38,2) null",
        "x nvarchar(20) null",
    ]
    assert answer.rows == [(3, 12, 6, Decimal("3.75"), "two")]
    assert not answer.columns[-1][0].computed
    assert shop.query("SELECT pid, COUNT(*) FROM c GROUP BY pid HAVING COUNT(*) > 1") == [(1, 2)]
    assert shop.query("SELECT id % 2, COUNT(*) FROM p GROUP BY id % 2 ORDER BY id % 2") == [(0, 1), (1, 2)]
    assert shop.query("SELECT STRING_AGG(name, ',') WITHIN GROUP (ORDER BY id DESC) FROM p") == [
        ("three,two,one",)
    ]
    assert shop.query("SELECT COUNT(DISTINCT x) FROM (VALUES ('a'), ('A'), ('b ')) v(x)") == [(2,)]


def test_sum_of_decimals_is_exact(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(d decimal(10,2)); INSERT t VALUES (0.10), (0.20), (1000000.70)")
    assert bench.query("SELECT SUM(d), AVG(d) FROM t") == [(Decimal("1000001.00"), Decimal("333333.666666"))]


def test_order_top_and_offset(shop: Bench) -> None:
    assert shop.query("SELECT TOP 2 id FROM p ORDER BY name") == [(1,), (3,)]
    assert shop.query("SELECT TOP (2) id AS k FROM p ORDER BY k DESC") == [(3,), (2,)]
    assert shop.query("SELECT TOP 1 WITH TIES pid FROM c WHERE pid IS NOT NULL ORDER BY pid") == [(1,), (1,)]
    assert shop.query("SELECT TOP 50 PERCENT id FROM p ORDER BY id") == [(1,), (2,)]
    assert shop.query("SELECT id FROM p ORDER BY id OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY") == [(2,)]
    assert shop.query("DECLARE @n int = 1; SELECT TOP (@n) id FROM p ORDER BY id DESC") == [(3,)]


def test_set_operations_and_distinct(shop: Bench) -> None:
    assert shop.query("SELECT id FROM p EXCEPT SELECT pid FROM c") == [(3,)]
    assert shop.query("SELECT id FROM p INTERSECT SELECT pid FROM c ORDER BY 1") == [(1,), (2,)]
    answer = shop.ok("SELECT 1 AS x UNION ALL SELECT 2.5 ORDER BY x DESC")
    assert answer.types == ["x numeric(11,1)"]
    assert answer.rows == [(Decimal("2.5"),), (Decimal("1.0"),)]
    assert len(shop.query("SELECT 'a' UNION SELECT 'A ' UNION SELECT 'b'")) == 2
    assert shop.query("SELECT DISTINCT pid FROM c ORDER BY pid") == [(None,), (1,), (2,)]


def test_common_table_expressions(shop: Bench) -> None:
    assert shop.query(
        "WITH a AS (SELECT id FROM p), b(n) AS (SELECT COUNT(*) FROM a) SELECT id, n FROM a CROSS JOIN b"
        " ORDER BY id"
    ) == [(1, 3), (2, 3), (3, 3)]
    assert shop.query(
        "WITH n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 4) SELECT x FROM n"
    ) == [
        (1,),
        (2,),
        (3,),
        (4,),
    ]


def test_window_functions(shop: Bench) -> None:
    assert shop.query(
        "SELECT id, ROW_NUMBER() OVER (ORDER BY name), LAG(id) OVER (ORDER BY id),"
        " SUM(id) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM p ORDER BY id"
    ) == [(1, 1, None, 1), (2, 3, 1, 3), (3, 2, 2, 6)]


def test_variables_are_assigned_row_by_row(shop: Bench) -> None:
    assert shop.query(
        "DECLARE @s nvarchar(50) = N''; SELECT @s = @s + name + N';' FROM p ORDER BY id; SELECT @s"
    ) == [("one;two;three;",)]
    assert shop.query("DECLARE @x int = 9; SELECT @x = id FROM p WHERE id > 99; SELECT @x") == [(9,)]
    assert shop.query("DECLARE @n int; SELECT @n = COUNT(*) FROM c; SELECT @n, @@ROWCOUNT") == [(4, 1)]


def test_for_xml_joins_rows_into_text(shop: Bench) -> None:
    assert shop.query(
        "SELECT STUFF((SELECT ',' + name FROM p ORDER BY id FOR XML PATH('')), 1, 1, '') AS x"
    ) == [("one,two,three",)]
    assert shop.query(
        "SELECT (SELECT '<' + name FROM p WHERE id = 1 FOR XML PATH(''), TYPE).value('.', 'nvarchar(max)')"
    ) == [("<one",)]
    assert shop.query("SELECT id AS [@id], name FROM p WHERE id = 1 FOR XML PATH('row')") == [
        ('<row id="1"><name>one</name></row>',)
    ]


def test_views_are_expanded(shop: Bench) -> None:
    shop.ok("CREATE VIEW v(a, b) AS SELECT id, name FROM p WHERE id < 3")
    answer = shop.ok("SELECT b FROM v WHERE a = 2")
    assert answer.types == ["b nvarchar(20)"]
    assert answer.rows == [("two",)]
    shop.ok("ALTER VIEW v AS SELECT COUNT(*) AS n FROM p")
    assert shop.query("SELECT n FROM v") == [(3,)]


def test_text_compares_by_the_columns_collation(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE t(id int, ci nvarchar(10), cs nvarchar(10) COLLATE Latin1_General_CS_AS);"
        "INSERT t VALUES (1, N'Ä', N'Ä'), (2, N'ä', N'ä')"
    )
    assert bench.query("SELECT id FROM t WHERE ci = N'ä' ORDER BY id") == [(1,), (2,)]
    assert bench.query("SELECT id FROM t WHERE cs = N'ä'") == [(2,)]
    assert bench.query("SELECT id FROM t WHERE ci = N'ä' COLLATE Latin1_General_BIN2") == [(2,)]
    assert bench.error("SELECT id FROM t WHERE ci = cs")[0] == 468


def test_dates_sort_and_compare_as_stored(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE t(d datetime, n numeric(25,0));"
        "INSERT t VALUES ('20240131', 1), ('2023-12-31T10:00:00', 99)"
    )
    assert bench.query("SELECT n FROM t WHERE d >= '2024-01-01' AND n < 50") == [(Decimal(1),)]
    assert bench.query("SELECT MAX(n) FROM t") == [(Decimal(99),)]
    assert bench.query("SELECT DATEDIFF(day, MIN(d), MAX(d)) FROM t") == [(31,)]


def test_equality_with_a_constant_uses_the_index_and_misses_nothing(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE t(id int, name nvarchar(30)); CREATE INDEX ix ON t(name);"
        "INSERT t VALUES (1, N'Straße'), (2, N'STRASSE  '), (3, N'Étoile'), (4, N'plain'),"
        " (5, NULL), (6, N'Plain ')"
    )
    assert bench.query("SELECT id FROM t WHERE name = N'strasse' ORDER BY id") == [(1,), (2,)]
    assert bench.query("DECLARE @n varchar(20) = 'PLAIN'; SELECT id FROM t WHERE @n = name ORDER BY id") == [
        (4,),
        (6,),
    ]
    assert bench.query("SELECT id FROM t WHERE NOT name = N'étoile' ORDER BY id") == [(1,), (2,), (4,), (6,)]
    assert bench.query("SELECT id FROM t WHERE name = NULL") == []
    frame = Frame(SessionState(), Options())
    statement = parse("SELECT id FROM t WHERE name = N'plain'").statements[0]
    assert isinstance(statement, ast.QueryStatement)
    compiled = bench.evaluator.selects.compile(statement.query, frame)
    bindings = compiled.context.parameters.values(bench.evaluator.environment(frame))
    plan = bench.workspace.run(f"EXPLAIN QUERY PLAN {compiled.query.sql}", bindings)
    assert "USING INDEX ix" in str(plan)
