"""Functions that CREATE FUNCTION made, wherever an expression or a FROM clause calls them."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, errors, infos, rows

__all__ = ["shared_world", "sql"]


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE t(id int PRIMARY KEY, n varchar(10)); INSERT t VALUES (1,'a'),(2,'b'),(3,'c')")
    sql.run(
        "CREATE FUNCTION dbo.f(@a int, @b varchar(10) = 'x') RETURNS varchar(50) AS BEGIN"
        " DECLARE @r varchar(50) = @b; WHILE @a > 0 BEGIN SET @r += '-' + CAST(@a AS varchar(5));"
        " SET @a -= 1 END; RETURN @r END"
    )
    sql.run(
        "CREATE FUNCTION dbo.g(@min int) RETURNS TABLE AS RETURN"
        " (SELECT id, n + '!' AS n FROM t WHERE id >= @min)"
    )
    sql.run(
        "CREATE FUNCTION dbo.h(@n int) RETURNS @r TABLE (k int IDENTITY PRIMARY KEY, v varchar(20)) AS BEGIN"
        " DECLARE @i int = 0; WHILE @i < @n BEGIN INSERT @r(v) SELECT n FROM t WHERE id = @i + 1;"
        " SET @i += 1 END RETURN END"
    )
    return sql


def test_scalar_functions_in_expressions(db: Client) -> None:
    assert db.rows("SELECT dbo.f(3, 'q'), dbo.f(2, DEFAULT), dbo.f('1', 2)") == [("q-3-2-1", "x-2-1", "2-1")]
    assert db.rows("SELECT id FROM t WHERE LEN(dbo.f(id, n)) > 4 ORDER BY dbo.f(id, n) DESC") == [(3,), (2,)]
    replies = db.replies("DECLARE @x varchar(50) = dbo.f(1,'z'); PRINT @x; IF dbo.f(0,'a') = 'a' PRINT 'yes'")
    assert [m.text for m in infos(replies)] == ["z-1", "yes"]


def test_scalar_functions_in_statements_that_write(db: Client) -> None:
    db.run("UPDATE t SET n = dbo.f(id, 'u') WHERE id = 1; INSERT t VALUES (9, dbo.f(0, 'i'))")
    assert db.rows("SELECT n FROM t WHERE id IN (1, 9)") == [("u-1",), ("i",)]
    db.run("CREATE FUNCTION dbo.cnt() RETURNS int AS BEGIN RETURN (SELECT COUNT(*) FROM t) END")
    db.run(
        "CREATE TABLE c(a int, b AS dbo.f(a,'c'), d varchar(9) DEFAULT dbo.f(1,'d'), CHECK (dbo.cnt() > a))"
    )
    db.run("INSERT c(a) VALUES (1), (2)")
    assert db.rows("SELECT * FROM c") == [(1, "c-1", "d-1"), (2, "c-2-1", "d-1")]
    assert db.error("INSERT c(a) VALUES (4)") == 547


def test_execute_calls_a_scalar_function(db: Client) -> None:
    assert db.value("DECLARE @r varchar(20); EXEC @r = dbo.f 2, 'e'; SELECT @r") == "e-2-1"
    assert db.value("DECLARE @r varchar(20); EXEC @r = f @a = 1; SELECT @r") == "x-1"
    assert db.error("DECLARE @r varchar(20); EXEC @r = dbo.f") == 201


def test_functions_call_themselves_up_to_32_deep(db: Client) -> None:
    db.run(
        "CREATE FUNCTION dbo.fact(@n int) RETURNS bigint AS BEGIN IF @n <= 1 RETURN 1;"
        " RETURN @n * dbo.fact(@n - 1) END"
    )
    assert db.value("SELECT dbo.fact(20)") == 2432902008176640000
    assert db.error("SELECT dbo.fact(40)") == 217


def test_errors_of_a_function_are_its_callers(db: Client) -> None:
    db.run("CREATE FUNCTION dbo.bad(@n int) RETURNS int AS BEGIN\n RETURN 1 / @n END")
    failure = errors(db.replies("SELECT dbo.bad(0)"))[0]
    assert (failure.number, failure.procedure, failure.line) == (8134, "bad", 2)
    assert db.rows(
        "BEGIN TRY SELECT dbo.bad(0) END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_PROCEDURE() END CATCH"
    ) == [(8134, "bad")]
    assert db.error("SELECT dbo.nope(1)") == 4121
    assert db.error("SELECT dbo.f(1)") == 313
    assert db.error("SELECT dbo.f(1, 'a', 2)") == 8144


def test_inline_functions(db: Client) -> None:
    assert db.rows("SELECT * FROM dbo.g(2)") == [(2, "b!"), (3, "c!")]
    assert db.rows("DECLARE @m int = 3; SELECT x.n FROM dbo.g(@m) AS x") == [("c!",)]
    assert db.rows("SELECT t.id, x.n FROM t CROSS APPLY dbo.g(t.id) x WHERE t.id > 1 ORDER BY 1, 2") == [
        (2, "b!"),
        (2, "c!"),
        (3, "c!"),
    ]
    assert db.rows(
        "SELECT t.id, x.n FROM t OUTER APPLY (SELECT TOP 1 * FROM dbo.g(t.id + 1) ORDER BY id DESC) x"
    ) == [(1, "c!"), (2, "c!"), (3, None)]
    db.run("USE master")
    assert len(rows(db.replies("SELECT * FROM dbo.g(1)"))) == 0


def test_table_functions_with_a_body(db: Client) -> None:
    assert db.rows("SELECT * FROM dbo.h(2)") == [(1, "a"), (2, "b")]
    assert db.rows("SELECT t.id, x.v FROM t CROSS APPLY dbo.h(t.id) x WHERE x.k = t.id ORDER BY 1") == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]
    assert db.rows("INSERT t SELECT k + 10, v FROM dbo.h(1); SELECT n FROM t WHERE id = 11") == [("a",)]
    db.run("ALTER FUNCTION dbo.h(@n int) RETURNS @r TABLE (z int) AS BEGIN INSERT @r VALUES (@n) RETURN END")
    assert db.rows("SELECT z FROM dbo.h(7)") == [(7,)]


def test_temporary_procedures(db: Client) -> None:
    db.run("CREATE PROC #p @x int = 3 AS SELECT @x")
    assert db.rows("EXEC #p; EXEC #p 5") == [(3,), (5,)]
    assert db.value("SELECT CASE WHEN OBJECT_ID('tempdb..#p') IS NULL THEN 0 ELSE 1 END") == 1
    db.run("DROP PROC #p")
    assert db.error("EXEC #p") == 2812
    db.run("CREATE PROC outer_one AS EXEC('CREATE PROC #inner AS SELECT 1'); EXEC #inner")
    assert db.error("EXEC outer_one") == 2812
