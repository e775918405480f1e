"""Extended properties, and what the catalog shows of views and of tempdb."""

from __future__ import annotations

import pytest

from tests.server.support import Client


@pytest.fixture
def sql(sa: Client) -> Client:
    sa.run("CREATE DATABASE props")
    sa.run("USE props")
    sa.run("CREATE TABLE t(id int CONSTRAINT pk PRIMARY KEY, x varchar(9))")
    sa.run("CREATE INDEX ix ON t(x)")
    return sa


def _listed(sql: Client, levels: str) -> list[tuple[object, ...]]:
    shown = "SELECT objtype, objname, name, CAST(value AS nvarchar(60))"
    return list(sql.rows(f"{shown} FROM sys.fn_listextendedproperty({levels}) ORDER BY 1, 2, 3"))


def test_each_level_has_its_class(sql: Client) -> None:
    sql.run("CREATE VIEW v AS SELECT id FROM t")
    sql.run("CREATE PROCEDURE p @a int, @b int AS RETURN 0")
    for levels in (
        "",
        ", 'SCHEMA', 'dbo'",
        ", 'SCHEMA', 'dbo', 'TABLE', 't'",
        ", 'SCHEMA', 'dbo', 'TABLE', 't', 'COLUMN', 'x'",
        ", 'SCHEMA', 'dbo', 'TABLE', 't', 'CONSTRAINT', 'pk'",
        ", 'SCHEMA', 'dbo', 'TABLE', 't', 'INDEX', 'ix'",
        ", 'SCHEMA', 'dbo', 'VIEW', 'v'",
        ", 'USER', 'dbo', 'PROCEDURE', 'p', 'PARAMETER', '@b'",
    ):
        sql.run(f"EXEC sys.sp_addextendedproperty N'note', N'it is so'{levels}")
    assert sql.rows(
        "SELECT class_desc, COUNT(*), MAX(minor_id) FROM sys.extended_properties"
        " GROUP BY class_desc ORDER BY 1"
    ) == [
        ("DATABASE", 1, 0),
        ("INDEX", 1, 2),
        ("OBJECT_OR_COLUMN", 4, 2),
        ("PARAMETER", 1, 2),
        ("SCHEMA", 1, 0),
    ]
    assert _listed(sql, "NULL, NULL, NULL, NULL, NULL, NULL, NULL") == [(None, None, "note", "it is so")]
    assert _listed(sql, "'note', 'schema', 'dbo', 'table', DEFAULT, 'column', DEFAULT") == [
        ("COLUMN", "x", "note", "it is so")
    ]


def test_change_and_loss(sql: Client) -> None:
    table = "'SCHEMA', 'dbo', 'TABLE', 't'"
    sql.run(
        "EXEC sp_addextendedproperty @name = 'n', @value = 5, @level0type = 'SCHEMA', @level0name = 'dbo'"
    )
    assert (
        sql.value("SELECT SQL_VARIANT_PROPERTY(value, 'BaseType') FROM sys.extended_properties") is not None
    )
    sql.run(f"EXEC sp_addextendedproperty 'MS_Description', 'old', {table}")
    assert sql.error(f"EXEC sp_addextendedproperty 'ms_description', 'old', {table}") == 15233
    sql.run(f"EXEC sp_updateextendedproperty 'MS_Description', 'new', {table}")
    assert _listed(sql, f"DEFAULT, {table}, NULL, NULL") == [("TABLE", "t", "MS_Description", "new")]
    assert sql.error(f"EXEC sp_updateextendedproperty 'other', 'new', {table}") == 15217
    assert sql.error("EXEC sp_addextendedproperty 'n', 'v', 'SCHEMA', 'dbo', 'TABLE', 'gone'") == 15135
    assert sql.error("EXEC sp_addextendedproperty 'n', 'v', 'SCHEMA'") == 15600
    sql.run(f"EXEC sp_dropextendedproperty 'MS_Description', {table}")
    assert sql.error(f"EXEC sp_dropextendedproperty 'MS_Description', {table}") == 15217
    sql.run(f"EXEC sp_addextendedproperty 'MS_Description', 'old', {table}")
    sql.run("DROP TABLE t")
    assert sql.value("SELECT COUNT(*) FROM sys.extended_properties") == 1


def test_columns_of_views(sql: Client) -> None:
    sql.run("CREATE VIEW v(first, second) AS SELECT id, CAST(x AS nvarchar(20)) FROM t")
    assert sql.rows(
        "SELECT COLUMN_NAME, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH"
        " FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'v'"
    ) == [("first", "NO", "int", None), ("second", "YES", "nvarchar", 20)]
    assert sql.rows("SELECT name, max_length FROM sys.columns WHERE object_id = OBJECT_ID('v')") == [
        ("first", 4),
        ("second", 40),
    ]
    assert sql.rows("SELECT dbo.v.first, props.dbo.v.second FROM dbo.v") == []
    sql.run("DROP TABLE t")
    assert sql.value("SELECT COUNT(*) FROM sys.columns WHERE object_id = OBJECT_ID('v')") == 0


def test_what_tempdb_holds(sql: Client) -> None:
    sql.run("CREATE TABLE #mine(a int)")
    sql.run("CREATE TABLE ##ours(a int IDENTITY(5, 2), b varchar(3)); INSERT ##ours DEFAULT VALUES")
    assert sql.rows(
        "SELECT LEFT(name, 7), LEN(name), object_id - OBJECT_ID('tempdb..#mine') FROM tempdb.sys.tables"
        " WHERE name LIKE '#mine[_]%'"
    ) == [("#mine__", 128, 0)]
    assert sql.rows(
        "SELECT c.name, c.is_identity FROM tempdb.sys.columns c JOIN tempdb.sys.objects o"
        " ON o.object_id = c.object_id WHERE o.name = '##ours' ORDER BY c.column_id"
    ) == [("a", 1), ("b", 0)]
    assert (
        sql.value(
            "SELECT SUM(row_count) FROM tempdb.sys.dm_db_partition_stats"
            " WHERE object_id = OBJECT_ID('tempdb..##ours')"
        )
        == 1
    )


def test_constraints_of_two_schemas_may_have_one_name(sql: Client) -> None:
    sql.run("CREATE SCHEMA s")
    sql.run("CREATE TABLE s.t(id int CONSTRAINT pk PRIMARY KEY)")
    assert sql.error("CREATE TABLE s.t2(id int CONSTRAINT pk PRIMARY KEY)") == 2714


def test_set_operations_into_a_table(sql: Client) -> None:
    sql.run("SELECT 1 AS a INTO made UNION ALL SELECT 2 UNION ALL SELECT 3")
    assert sql.rows("SELECT a FROM made") == [(1,), (2,), (3,)]
    sql.run("WITH c AS (SELECT 7 AS n) SELECT n INTO more FROM c EXCEPT SELECT 8 ORDER BY 1")
    assert sql.rows("SELECT n FROM more") == [(7,)]


def test_sequences_of_the_information_schema(sql: Client) -> None:
    sql.run("CREATE SEQUENCE s AS smallint START WITH 3 INCREMENT BY 2 MAXVALUE 9 CYCLE")
    assert sql.rows(
        "SELECT SEQUENCE_NAME, DATA_TYPE, NUMERIC_PRECISION, CAST(START_VALUE AS int),"
        " CAST(INCREMENT AS int), CAST(MAXIMUM_VALUE AS int), CYCLE_OPTION FROM INFORMATION_SCHEMA.SEQUENCES"
    ) == [("s", "smallint", 5, 3, 2, 9, 1)]
