"""Queries that go the short way answer as on the usual one, and leave it when anything has changed."""

from __future__ import annotations

import pytest

from tdsproxy.server.select_run import FIRST_CHUNK
from tdsproxy.tsql.replies import Reply
from tests.server.scratch import shared_world, sql
from tests.server.support import Client, World, columns, errors

__all__ = ["shared_world", "sql"]

TABLE = (
    "CREATE TABLE t(a int PRIMARY KEY, b varchar(10), c decimal(9,2), d datetime2(3), e nvarchar(max),"
    " f bit); INSERT t VALUES (1, 'one', 1.5, '2024-01-31T10:00:00.123', N'\u0105', 1),"
    " (2, NULL, NULL, NULL, NULL, NULL), (3, 'three', -2.25, '1999-12-31', N'', 0)"
)
QUERIES = (
    "SELECT * FROM t WHERE a = 1",
    "SELECT * FROM t",
    "SELECT * FROM t WHERE a = 99",
    "SELECT b FROM t WHERE b = 'THREE '",
    "SELECT UPPER(b) AS u, c * 2, DATEADD(day, 1, d) FROM t ORDER BY a DESC",
    "SELECT COUNT(*), SUM(c), MAX(d) FROM t GROUP BY f ORDER BY f",
    "SELECT a FROM t UNION ALL SELECT a + 10 FROM t",
    "SELECT TOP 1 e FROM dbo.t x WHERE EXISTS (SELECT * FROM t y WHERE y.a = x.a + 1)",
)


def goes_short(client: Client, text: str) -> list[Reply] | None:
    """The replies of the short way; None when it is not gone."""
    session = client.session
    with session._request(text):
        replies = session._quick.run(text)
        session.evaluator.sql.selects.forget_begun()
        return replies


@pytest.mark.parametrize("text", QUERIES)
def test_same_answer(sql: Client, text: str) -> None:
    sql.run(TABLE)
    usual = sql.replies(text)
    assert goes_short(sql, text) == usual
    sql.run("SET NOCOUNT ON")
    assert sql.replies(text) == sql.replies(text + " ")
    assert sql.value("SELECT @@ROWCOUNT") is not None


@pytest.mark.parametrize("count", [FIRST_CHUNK - 1, FIRST_CHUNK, FIRST_CHUNK + 1, 1000])
def test_long_answers(sql: Client, count: int) -> None:
    sql.run("CREATE TABLE t(a int)")
    sql.run(
        f"WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        " INSERT t SELECT i FROM n OPTION (MAXRECURSION 0)"
    )
    text = "SELECT a FROM t"
    assert [len(sql.rows(text)) for _ in range(3)] == [count] * 3
    assert sql.value("SELECT @@ROWCOUNT") == count


def test_changed_rows_are_seen(sql: Client, shared_world: World) -> None:
    sql.run(TABLE)
    other = shared_world.login()
    other.run(f"USE {sql.value('SELECT DB_NAME()')}")
    text = "SELECT b FROM t WHERE a = 1"
    for number in range(4):
        writer = (sql, other)[number % 2]
        writer.run(f"UPDATE t SET b = '{number}' WHERE a = 1")
        assert [sql.value(text) for _ in range(3)] == [str(number)] * 3
        assert goes_short(sql, text) is not None


def test_changed_tables(sql: Client, shared_world: World) -> None:
    sql.run(TABLE)
    other = shared_world.login()
    other.run(f"USE {sql.value('SELECT DB_NAME()')}")
    text = "SELECT * FROM t WHERE a = 1"
    width = len(columns(sql.replies(text)))
    for number, writer in enumerate((sql, other), 1):
        assert goes_short(sql, text) is not None
        writer.run(f"ALTER TABLE t ADD x{number} int")
        assert goes_short(sql, text) is None
        assert len(columns(sql.replies(text))) == width + number
    other.run("DROP TABLE t")
    assert goes_short(sql, text) is None
    assert sql.error(text) == 208


def test_a_change_that_is_undone(sql: Client) -> None:
    sql.run(TABLE)
    text = "SELECT * FROM t WHERE a = 1"
    width = len(columns(sql.replies(text)))
    sql.run("BEGIN TRANSACTION; ALTER TABLE t ADD x int")
    assert goes_short(sql, text) is None
    assert len(columns(sql.replies(text))) == width + 1
    sql.run("ROLLBACK")
    assert [len(columns(sql.replies(text))) for _ in range(2)] == [width] * 2


def test_what_is_out_of_the_ordinary(sql: Client) -> None:
    sql.run(TABLE)
    text = "SELECT a FROM t"
    assert len(sql.rows(text)) == 3
    assert goes_short(sql, text) is not None
    for on, off in (
        ("SET ROWCOUNT 2", "SET ROWCOUNT 0"),
        ("SET NOEXEC ON", "SET NOEXEC OFF"),
        ("SET IMPLICIT_TRANSACTIONS ON", "SET IMPLICIT_TRANSACTIONS OFF"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRANSACTION", "COMMIT"),
        ("USE master", f"USE {sql.value('SELECT DB_NAME()')}"),
    ):
        sql.run(on)
        assert goes_short(sql, text) is None, on
        sql.run(off)
        assert goes_short(sql, text) is not None, off


@pytest.mark.parametrize(
    "text",
    [
        "SELECT GETDATE(), a FROM t",
        "SELECT NEWID(), a FROM t",
        "SELECT @@SPID, a FROM t",
        "SELECT name FROM sys.objects",
        "SELECT OBJECT_NAME(a) FROM t",
        "SELECT a INTO #x FROM t",
        "SELECT a FROM t FOR XML AUTO",
        "SELECT a FROM t; SELECT a FROM t",
        "SELECT a FROM #y",
    ],
)
def test_what_never_goes_short(sql: Client, text: str) -> None:
    sql.run(TABLE)
    sql.run("CREATE TABLE #y(a int)")
    sql.run(text)
    assert goes_short(sql, text) is None


def test_errors(sql: Client) -> None:
    sql.run(TABLE)
    text = "SELECT 6 / (a - 1) FROM t WHERE a >= 1 + (SELECT COUNT(*) FROM t WHERE b = 'none')"
    sql.run("UPDATE t SET b = 'none' WHERE a = 3")
    usual = sql.replies(text)
    assert goes_short(sql, text) == usual
    sql.run("UPDATE t SET b = 'some' WHERE a = 3")
    assert errors(sql.replies(text))[0].number == errors(sql.replies(text + " "))[0].number == 8134


def test_rights_are_asked_each_time(sql: Client, shared_world: World) -> None:
    name = sql.value("SELECT DB_NAME()")
    sql.run(TABLE)
    sql.run("CREATE LOGIN quick_reader WITH PASSWORD = 'Sesame-1'")
    sql.run("CREATE USER quick_reader FOR LOGIN quick_reader; GRANT SELECT ON t TO quick_reader")
    reader = shared_world.login("quick_reader", database=str(name))
    text = "SELECT a FROM t"
    assert len(reader.rows(text)) == 3
    assert goes_short(reader, text) is not None
    sql.run("REVOKE SELECT ON t FROM quick_reader")
    assert reader.error(text) == 229
    reader.session.close()


def test_a_database_that_is_altered(sql: Client, shared_world: World) -> None:
    sql.run("CREATE DATABASE quick_away")
    sql.run("USE quick_away")
    sql.run(TABLE)
    text = "SELECT a FROM t"
    assert [len(sql.rows(text)) for _ in range(2)] == [3, 3]
    other = shared_world.login()
    other.run("ALTER DATABASE quick_away SET ANSI_NULLS ON")
    assert goes_short(sql, text) is None
    assert [len(sql.rows(text)) for _ in range(2)] == [3, 3]
    other.session.close()
