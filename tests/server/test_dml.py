"""INSERT, UPDATE, DELETE: what they write, count and return."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


@pytest.fixture
def items(bench: Bench) -> Bench:
    bench.ok(
        "CREATE TABLE t(id int IDENTITY(10, 5) PRIMARY KEY, name nvarchar(10) NOT NULL, qty int DEFAULT 1,"
        " at datetime NOT NULL DEFAULT GETDATE());"
        "INSERT t(name) VALUES (N'a'), (N'b'); INSERT t(name, qty) VALUES (N'c', 3)"
    )
    return bench


def test_identity_and_defaults(items: Bench) -> None:
    assert items.query("SELECT id, name, qty FROM t ORDER BY id") == [
        (10, "a", 1),
        (15, "b", 1),
        (20, "c", 3),
    ]
    assert items.query("SELECT COUNT(*) FROM t WHERE at > DATEADD(minute, -5, GETDATE())") == [(3,)]
    assert items.query("SELECT @@IDENTITY") == [(Decimal(20),)]


def test_counts(items: Bench) -> None:
    answer = items.ok("UPDATE t SET qty = qty + 1; DELETE t WHERE id > 10; SELECT @@ROWCOUNT")
    assert answer.counts[:2] == [3, 2]
    assert answer.rows == [(2,)]


def test_identity_insert(items: Bench) -> None:
    assert items.error("INSERT t(id, name) VALUES (1, N'x')")[0] == 544
    items.ok("SET IDENTITY_INSERT t ON; INSERT t(id, name) VALUES (100, N'x'); SET IDENTITY_INSERT t OFF")
    items.ok("INSERT t(name) VALUES (N'next')")
    assert items.query("SELECT id FROM t WHERE name = N'next'") == [(105,)]


def test_default_values_and_the_word_default(items: Bench) -> None:
    items.ok("INSERT t(name, qty) VALUES (N'd', DEFAULT)")
    assert items.query("SELECT qty FROM t WHERE name = 'd'") == [(1,)]
    items.ok("CREATE TABLE u(a int DEFAULT 7, b int NULL); INSERT u DEFAULT VALUES")
    assert items.query("SELECT a, b FROM u") == [(7, None)]
    items.ok("UPDATE u SET a = DEFAULT, b = 5")
    assert items.query("SELECT a, b FROM u") == [(7, 5)]


def test_insert_select_converts_and_reads_its_own_table(items: Bench) -> None:
    items.ok("INSERT t(name, qty) SELECT name + CAST(id AS varchar(5)), CAST(qty AS varchar(5)) FROM t")
    assert items.query("SELECT name, qty FROM t WHERE name LIKE '%15'") == [("b15", 1)]


def test_truncation_names_the_column_and_writes_nothing(items: Bench) -> None:
    number, text = items.error("INSERT t(name) VALUES (N'fine'), (N'12345678901')")
    assert number == 2628
    assert text == (
        "String or binary data would be truncated in table 'db.dbo.t', column 'name'."
        " Truncated value: '1234567890'."
    )
    assert items.query("SELECT COUNT(*) FROM t") == [(3,)]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("INSERT t VALUES (1)", 213),
        ("INSERT t(name) VALUES (1, 2)", 110),
        ("INSERT t(name, qty) VALUES (1)", 109),
        ("INSERT t(nope) VALUES (1)", 207),
        ("INSERT t(name, name) VALUES (1, 2)", 264),
        ("INSERT t(name) SELECT 1, 2", 121),
        ("INSERT nope VALUES (1)", 208),
        ("UPDATE t SET nope = 1", 207),
        ("UPDATE t SET id = 1", 8102),
        ("UPDATE nope SET a = 1", 208),
        ("DELETE nope", 208),
        ("INSERT t(name) VALUES (name)", 128),
        ("INSERT t(name, qty) VALUES (N'x', 'abc')", 245),
    ],
)
def test_refusals(items: Bench, statement: str, number: int) -> None:
    assert items.error(statement)[0] == number
    assert items.query("SELECT COUNT(*) FROM t") == [(3,)]


def test_update_from_a_join(items: Bench) -> None:
    items.ok(
        "CREATE TABLE s(name nvarchar(10), add_ int); INSERT s VALUES (N'A', 100), (N'A', 200), (N'c', 5)"
    )
    assert items.ok("UPDATE x SET qty = x.qty + s.add_ FROM t x JOIN s ON s.name = x.name").counts == [2]
    assert items.query("SELECT name, qty FROM t ORDER BY id") == [("a", 101), ("b", 1), ("c", 8)]
    items.ok("DELETE FROM x FROM t x JOIN s ON s.name = x.name WHERE s.add_ = 5")
    assert items.query("SELECT name FROM t") == [("a",), ("b",)]


def test_writes_go_through_ctes_views_and_derived_tables(items: Bench) -> None:
    items.ok("WITH c AS (SELECT *, ROW_NUMBER() OVER (ORDER BY id DESC) AS rn FROM t) DELETE c WHERE rn = 1")
    items.ok("UPDATE d SET n = 42 FROM (SELECT TOP 1 qty AS n FROM t ORDER BY id) d")
    assert items.query("SELECT name, qty FROM t ORDER BY id") == [("a", 42), ("b", 1)]
    items.ok("CREATE VIEW v AS SELECT id, qty AS q FROM t")
    items.ok("UPDATE v SET q = q + 1 WHERE id = 15")
    items.ok("DELETE v WHERE q = 42")
    assert items.query("SELECT name, qty FROM t") == [("b", 2)]
    items.ok("CREATE VIEW w AS SELECT name AS n, id, qty * 2 AS twice FROM t")
    items.ok("INSERT w(n) VALUES (N'new')")
    assert items.query("SELECT qty FROM t WHERE name = N'new'") == [(1,)]
    assert items.error("INSERT w(twice) VALUES (1)")[0] == 4406


def test_update_that_shifts_a_key(bench: Bench) -> None:
    bench.ok("CREATE TABLE k(id int PRIMARY KEY); INSERT k VALUES (1), (2), (3); UPDATE k SET id = id + 1")
    assert bench.query("SELECT id FROM k ORDER BY id") == [(2,), (3,), (4,)]
    bench.ok("UPDATE k SET id = id - 1")
    assert bench.query("SELECT id FROM k ORDER BY id") == [(1,), (2,), (3,)]


def test_output(items: Bench) -> None:
    answer = items.ok(
        "INSERT t(name) OUTPUT inserted.id, inserted.qty VALUES (N'n');"
        "UPDATE t SET qty = 9 OUTPUT deleted.qty AS was, inserted.qty AS now WHERE name = N'n';"
        "DELETE t OUTPUT deleted.name WHERE qty = 9"
    )
    assert answer.sets == [[(25, 1)], [(1, 9)], [("n",)]]
    assert answer.counts == [1, 1, 1]
    assert items.query(
        "DECLARE @i TABLE(id int); UPDATE t SET qty = 0 OUTPUT inserted.id INTO @i WHERE id > 10;"
        "SELECT id FROM @i"
    ) == [(15,), (20,)]


def test_update_sets_variables(items: Bench) -> None:
    assert items.query("DECLARE @v int; UPDATE t SET @v = qty = qty + 1 WHERE id = 20; SELECT @v") == [(4,)]
    assert items.query("UPDATE t SET qty += 5 WHERE id = 20; SELECT qty FROM t WHERE id = 20") == [(9,)]


def test_select_into_keeps_types_and_identity(items: Bench) -> None:
    items.ok("SELECT id, name AS n, qty * 2 AS q INTO copy FROM t WHERE id > 10")
    answer = items.ok("SELECT * FROM copy")
    assert answer.types == ["id int", "n nvarchar(10)", "q int null"]
    assert answer.columns[-1][0].identity
    assert answer.rows == [(15, "b", 2), (20, "c", 6)]
    assert items.error("SELECT 1 AS a INTO copy")[0] == 2714
    assert items.error("SELECT 1 INTO other")[0] == 1038


def test_truncate_restarts_the_identity(items: Bench) -> None:
    items.ok("TRUNCATE TABLE t; INSERT t(name) VALUES (N'x')")
    assert items.query("SELECT id FROM t") == [(10,)]


@pytest.mark.parametrize(
    ("type_", "literal"),
    [
        ("bit", "1"),
        ("tinyint", "255"),
        ("bigint", "9223372036854775807"),
        ("decimal(38,10)", "1234567890123456789012345678.0123456789"),
        ("numeric(25,0)", "1234567890123456789012345"),
        ("money", "922337203685477.5807"),
        ("smallmoney", "-214748.3648"),
        ("float", "1.5e300"),
        ("real", "0.5e0"),
        ("char(5)", "'ab'"),
        ("nvarchar(max)", "N'日本語'"),
        ("varbinary(8)", "0x00FF"),
        ("binary(3)", "0x01"),
        ("uniqueidentifier", "'0E984725-C51C-4BF4-9960-E1C80E27ABA0'"),
        ("date", "'2024-02-29'"),
        ("time(7)", "'23:59:59.9999999'"),
        ("datetime", "'2024-02-29T12:34:56.997'"),
        ("smalldatetime", "'2024-02-29T12:34:00'"),
        ("datetime2(7)", "'2024-02-29T12:34:56.1234567'"),
        ("datetimeoffset(3)", "'2024-02-29T12:34:56.123+05:30'"),
        ("xml", "'<a/>'"),
    ],
)
def test_every_type_comes_back_as_it_went_in(bench: Bench, type_: str, literal: str) -> None:
    bench.ok(f"CREATE TABLE t(v {type_}); INSERT t VALUES ({literal}), (NULL)")
    expected = bench.query(f"SELECT CAST({literal} AS {type_})")
    assert bench.query("SELECT v FROM t") == [*expected, (None,)]
    assert bench.ok("SELECT v FROM t").types == [f"v {type_} null"]


def test_top_of_update_and_delete(bench: Bench) -> None:
    bench.ok("CREATE TABLE n(i int PRIMARY KEY); INSERT n VALUES (1), (2), (3), (4), (5)")
    assert bench.ok("UPDATE TOP (2) n SET i = i + 10").counts == [2]
    assert bench.ok("DELETE TOP (50) PERCENT FROM n").counts == [3]
    assert bench.ok("DELETE TOP ('1') FROM n").counts == [1]
    assert bench.ok("DELETE TOP (-1) FROM n").counts == [0]
    assert bench.error("DELETE TOP (NULL) FROM n")[0] == 1060
    assert bench.error("SELECT TOP (NULL) * FROM n")[0] == 1060
    assert bench.error("DELETE TOP ('b') FROM n")[0] == 8114
    assert bench.query("SELECT COUNT(*) FROM n") == [(1,)]


@pytest.mark.parametrize("call", ["MAX()", "COUNT()", "SUM(1, 2)", "STRING_AGG('a')"])
def test_aggregates_with_a_wrong_number_of_arguments(bench: Bench, call: str) -> None:
    assert bench.error(f"SELECT {call} FROM (VALUES (1)) AS v (x)")[0] == 174


def test_output_of_joined_tables(bench: Bench) -> None:
    bench.ok("CREATE TABLE a(id int PRIMARY KEY, v int); INSERT a VALUES (1, 1), (2, 2), (3, 3)")
    bench.ok("CREATE TABLE b(id int, w varchar(9)); INSERT b VALUES (1, 'one'), (2, 'two')")
    assert bench.query(
        "UPDATE x SET v = v * 10 OUTPUT inserted.id, deleted.v, inserted.v, y.w, w + '!'"
        " FROM a x JOIN b y ON x.id = y.id WHERE y.w <> 'none'"
    ) == [(1, 1, 10, "one", "one!"), (2, 2, 20, "two", "two!")]
    # keys are exchanged, which takes another way
    assert bench.query(
        "UPDATE a SET id = 3 - a.id OUTPUT deleted.id, inserted.id, b.w FROM a LEFT JOIN b ON a.id = b.id"
        " WHERE a.id < 3"
    ) == [(1, 2, "one"), (2, 1, "two")]
    bench.ok(
        "DECLARE @kept TABLE(id int, w varchar(9)); DELETE a OUTPUT deleted.id, b.w INTO @kept FROM a, b"
        " WHERE a.id = b.id AND b.w = 'two'; IF (SELECT w FROM @kept) <> 'two' RAISERROR('no', 16, 1)"
    )
    assert bench.query("DELETE FROM a OUTPUT deleted.*, b.* FROM a LEFT JOIN b ON b.id = a.id") == [
        (1, 20, 1, "one"),
        (3, 3, None, None),
    ]
    assert bench.error("UPDATE a SET v = 1 OUTPUT b.nothing FROM a JOIN b ON a.id = b.id")[0] == 207
