"""Queries that are sent again: the same answers, whatever has changed in between."""

from __future__ import annotations

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, World, columns

__all__ = ["shared_world", "sql"]


def test_changed_tables(sql: Client) -> None:
    sql.run("CREATE TABLE t(a int); INSERT t VALUES (1)")
    text = "SELECT * FROM t"
    assert [columns(sql.replies(text)) for _ in range(3)] == [["a"]] * 3
    sql.run("ALTER TABLE t ADD b varchar(5) DEFAULT 'x' WITH VALUES")
    assert columns(sql.replies(text)) == ["a", "b"]
    sql.run("DROP TABLE t")
    assert sql.error(text) == 208
    sql.run("CREATE VIEW t AS SELECT 'v' AS v")
    assert sql.rows(text) == [("v",)]


def test_changed_by_another_session(sql: Client, shared_world: World) -> None:
    other = shared_world.login()
    other.run(f"USE {sql.value('SELECT DB_NAME()')}")
    sql.run("CREATE TABLE t(a int)")
    assert columns(sql.replies("SELECT * FROM t")) == ["a"]
    other.run("ALTER TABLE t ADD b int")
    assert columns(sql.replies("SELECT * FROM t")) == ["a", "b"]


def test_variables_of_other_types_and_values(sql: Client) -> None:
    sql.run("CREATE TABLE t(a int); INSERT t VALUES (1), (2)")
    text = "SELECT a FROM t WHERE a = @p"
    for declared, value, found in (("int", "2", [(2,)]), ("int", "1", [(1,)]), ("varchar(5)", "'2'", [(2,)])):
        assert sql.rows(f"EXEC sp_executesql N'{text}', N'@p {declared}', {value}") == found


def test_another_current_database(sql: Client) -> None:
    name = sql.value("SELECT DB_NAME()")
    sql.run("CREATE TABLE t(a int); INSERT t VALUES (1)")
    sql.run(f"CREATE DATABASE {name}_b")
    sql.run(f"USE {name}_b; CREATE TABLE t(z varchar(5))")
    assert columns(sql.replies("SELECT * FROM t")) == ["z"]
    sql.run(f"USE {name}")
    assert columns(sql.replies("SELECT * FROM t")) == ["a"]
    sql.run(f"DROP DATABASE {name}_b")
    assert sql.error(f"SELECT * FROM {name}_b.dbo.t") == 208


def test_databases_that_can_not_be_used_any_more(sql: Client) -> None:
    name = sql.value("SELECT DB_NAME()")
    sql.run(f"CREATE DATABASE {name}_c")
    sql.run(f"CREATE TABLE {name}_c.dbo.t(a int)")
    text = f"SELECT * FROM {name}_c.dbo.t"
    assert [len(sql.rows(text)) for _ in range(2)] == [0, 0]
    sql.run(f"ALTER DATABASE {name}_c SET OFFLINE")
    assert sql.error(text) == 942
    sql.run(f"ALTER DATABASE {name}_c SET ONLINE")
    assert len(sql.rows(text)) == 0


def test_temporary_tables_are_looked_up_each_time(sql: Client) -> None:
    for column in ("a", "b"):
        sql.run(f"CREATE TABLE #t({column} int)")
        assert columns(sql.replies("SELECT * FROM #t")) == [column]
        sql.run("DROP TABLE #t")


def test_conditions_in_loops(sql: Client) -> None:
    sql.run("CREATE TABLE t(a int)")
    assert sql.rows(
        "DECLARE @i int = 0; WHILE NOT EXISTS (SELECT * FROM t WHERE a >= 5) AND @i < 50"
        " BEGIN SET @i = (SELECT COUNT(*) FROM t) + 1; INSERT t VALUES (@i) END; SELECT COUNT(*), @i FROM t"
    ) == [(5, 5)]


def test_a_table_made_again_after_a_rollback(sql: Client) -> None:
    """The version of the schema goes back with the transaction, and is given out again to other objects."""
    for declared, value in (
        ("float", "1.5"),
        ("decimal(38,4)", "1.5000"),
        ("varchar(9)", "1.5"),
        ("int", "1"),
    ):
        sql.run(f"BEGIN TRAN; CREATE TABLE t(x {declared})")
        sql.run("INSERT t VALUES (1.5)")
        assert sql.value("SELECT CAST(SQL_VARIANT_PROPERTY(x, 'BaseType') AS varchar(20)) FROM t") in declared
        (row,) = sql.rows("SELECT x FROM t")
        assert str(row[0]) == value
        sql.run("ROLLBACK")
