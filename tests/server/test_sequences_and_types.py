"""Sequences, and types made by CREATE TYPE."""

from __future__ import annotations

from tests.server.scratch import shared_world, sql
from tests.server.support import Client

__all__ = ["shared_world", "sql"]


def test_values_go_on_and_around(sql: Client) -> None:
    sql.run("CREATE SEQUENCE dbo.s AS int START WITH 10 INCREMENT BY 5 MINVALUE 5 MAXVALUE 20 CYCLE")
    assert sql.rows("SELECT NEXT VALUE FOR dbo.s AS v FROM (VALUES (1), (2), (3), (4)) x(a)") == [
        (10,),
        (15,),
        (20,),
        (5,),
    ]
    assert sql.value("DECLARE @x int = NEXT VALUE FOR s; SELECT @x") == 10
    sql.run("ALTER SEQUENCE s RESTART WITH 20 NO CYCLE")
    assert sql.value("SELECT NEXT VALUE FOR s") == 20
    assert sql.error("SELECT NEXT VALUE FOR s") == 11728


def test_sequences_in_defaults_and_transactions(sql: Client) -> None:
    sql.run("CREATE SEQUENCE q START WITH 1; CREATE TABLE t(id bigint DEFAULT (NEXT VALUE FOR q), n int)")
    sql.run("INSERT t(n) VALUES (1), (2); INSERT t(id, n) SELECT NEXT VALUE FOR q, 3")
    assert sql.rows("SELECT id FROM t ORDER BY n") == [(1,), (2,), (3,)]
    assert sql.rows("BEGIN TRAN; SELECT NEXT VALUE FOR q; ROLLBACK; SELECT NEXT VALUE FOR q") == [(4,), (5,)]
    assert sql.rows("SELECT name, type_desc FROM sys.objects WHERE type = 'SO'") == [("q", "SEQUENCE_OBJECT")]
    assert sql.rows("SELECT start_value, increment, current_value FROM sys.sequences")[0][0].value == 1  # type: ignore[union-attr]
    sql.run("DROP SEQUENCE q")
    assert sql.error("SELECT NEXT VALUE FOR q") == 208


def test_refused_sequences(sql: Client) -> None:
    assert sql.error("CREATE SEQUENCE s AS varchar(5)") == 11702
    assert sql.error("CREATE SEQUENCE s AS tinyint START WITH 300") == 11703
    assert sql.error("CREATE SEQUENCE s MINVALUE 5 MAXVALUE 5") == 11705
    sql.run("CREATE SEQUENCE s")
    assert sql.error("CREATE SEQUENCE s") == 2714
    assert sql.error("ALTER SEQUENCE nope RESTART") == 208


def test_alias_types(sql: Client) -> None:
    sql.run("CREATE TYPE dbo.Phone FROM varchar(3) NOT NULL")
    assert sql.value("DECLARE @p dbo.Phone = '12345'; SELECT @p") == "123"
    sql.run("CREATE TABLE t(a Phone); INSERT t VALUES ('xyz')")
    assert sql.error("INSERT t VALUES ('wxyz')") == 2628
    sql.run("CREATE FUNCTION dbo.f(@p Phone) RETURNS Phone AS BEGIN RETURN @p + 'z' END")
    assert sql.value("SELECT dbo.f('ab')") == "abz"
    sql.run("DROP TABLE t; DROP FUNCTION f; DROP TYPE Phone")
    assert sql.error("DECLARE @p dbo.Phone") == 2715


def test_table_types_as_variables_and_parameters(sql: Client) -> None:
    sql.run("CREATE TYPE dbo.Ids AS TABLE (id int PRIMARY KEY, n varchar(5) DEFAULT 'd')")
    sql.run("CREATE PROC p @ids dbo.Ids READONLY, @k int AS SELECT COUNT(*) + @k, MAX(n) FROM @ids")
    assert sql.rows(
        "DECLARE @i dbo.Ids; INSERT @i(id) VALUES (1), (2); EXEC p @i, 5; EXEC p @k = 1, @ids = @i;"
        " EXEC p DEFAULT, 1; SELECT COUNT(*), 'own' FROM @i"
    ) == [(7, "d"), (3, "d"), (1, None), (2, "own")]
    assert (
        sql.value(
            "DECLARE @i Ids; INSERT @i(id) VALUES (4);"
            " EXEC sp_executesql N'SELECT SUM(id) FROM @t', N'@t dbo.Ids READONLY', @t = @i"
        )
        == 4
    )
    assert sql.error("DECLARE @i Ids; INSERT @i(id) VALUES (1), (1)") == 2627
    assert sql.error("EXEC p 1, 1") == 206
