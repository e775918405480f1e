"""sp_rename, sp_MSforeachdb and their kin; SET DATEFORMAT; SELECT IDENTITY() INTO."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, columns, errors, infos

__all__ = ["shared_world", "sql"]


def test_rename_tables_columns_and_what_hangs_on_them(sql: Client) -> None:
    sql.run("CREATE TABLE p(id int IDENTITY PRIMARY KEY, n varchar(5)); CREATE INDEX ix ON p(n)")
    sql.run("CREATE TABLE c(id int, p int CONSTRAINT fk REFERENCES p(id)); INSERT p VALUES ('a')")
    replies = sql.replies("EXEC sp_rename 'dbo.p', 'q'; EXEC sp_rename 'q.n', 'name', 'COLUMN'")
    assert not errors(replies)
    assert [m.number for m in infos(replies)] == [15477, 15477]
    sql.run("EXEC sp_rename 'q.ix', 'iy', 'INDEX'; EXEC sp_rename 'fk', 'fq'; INSERT q VALUES ('b')")
    assert sql.rows("SELECT id, name FROM q ORDER BY id") == [(1, "a"), (2, "b")]
    assert sql.rows("SELECT name FROM sys.indexes WHERE object_id = OBJECT_ID('q') AND index_id > 1") == [
        ("iy",)
    ]
    failure = errors(sql.replies("INSERT c VALUES (1, 9)"))[0]
    assert failure.number == 547
    assert '"fq"' in failure.text
    assert '"dbo.q"' in failure.text
    sql.run("CREATE VIEW v AS SELECT 1 AS one")
    sql.run("EXEC sp_rename 'v', 'w'")
    assert sql.value("SELECT one FROM w") == 1
    assert sql.error("EXEC sp_rename 'nope', 'x'") == 15225
    assert sql.error("EXEC sp_rename 'q', 'c'") == 15335
    assert sql.error("EXEC sp_rename 'q.name', 'id', 'COLUMN'") == 15335


def test_for_each_database_and_table(sql: Client) -> None:
    replies = sql.replies("EXEC sp_MSforeachdb 'IF ''?'' IN (''master'', ''msdb'') PRINT ''in ?'''")
    assert [m.text for m in infos(replies)] == ["in master", "in msdb"]
    sql.run("CREATE TABLE a(i int); CREATE TABLE b(i int); INSERT b VALUES (1), (2)")
    sql.run("EXEC sp_MSforeachtable @command1 = 'INSERT ? VALUES (7)', @whereand = 'AND o.name <> ''x'''")
    assert sql.rows("SELECT (SELECT COUNT(*) FROM a), (SELECT COUNT(*) FROM b)") == [(1, 3)]


def test_help_index_and_members(sql: Client) -> None:
    sql.run("CREATE TABLE t(a int CONSTRAINT pk PRIMARY KEY, b int); CREATE INDEX ib ON t(b DESC, a)")
    assert sql.rows("EXEC sp_helpindex 't'") == [
        ("ib", "nonclustered located on PRIMARY", "b(-), a"),
        ("pk", "clustered, unique, primary key located on PRIMARY", "a"),
    ]
    sql.run(
        "CREATE LOGIN lu WITH PASSWORD = 'Pass-word-9'; CREATE USER u FOR LOGIN lu;"
        " EXEC sp_addrolemember 'db_owner', 'u'"
    )
    assert sql.value("SELECT COUNT(*) FROM sys.database_role_members") >= 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("order", "text", "day"),
    [
        ("dmy", "31/01/2024", "2024-01-31"),
        ("mdy", "01/31/2024", "2024-01-31"),
        ("ymd", "24/02/03", "2024-02-03"),
    ],
)
def test_date_formats(sql: Client, order: str, text: str, day: str) -> None:
    assert sql.rows(
        f"SET DATEFORMAT {order}; DECLARE @d date = '{text}'; SELECT CONVERT(char(10), @d, 23),"
        f" CONVERT(char(10), CAST('{text}' AS date), 23), ISDATE('{text}')"
    ) == [(day, day, 1)]


def test_a_language_sets_the_date_format(sql: Client) -> None:
    assert sql.rows("SET LANGUAGE British; SELECT MONTH('02/03/2024'), @@DATEFIRST") == [(3, 1)]
    assert sql.rows("SET LANGUAGE us_english; SELECT MONTH('02/03/2024'), @@DATEFIRST") == [(2, 7)]
    assert sql.error("SET LANGUAGE Klingon") == 2742


def test_select_identity_into(sql: Client) -> None:
    sql.run("SELECT IDENTITY(bigint, 10, 5) AS id, v INTO t FROM (VALUES ('a'), ('b')) x(v) ORDER BY v DESC")
    sql.run("INSERT t(v) VALUES ('c')")
    assert sql.rows("SELECT id, v FROM t ORDER BY id") == [(10, "b"), (15, "a"), (20, "c")]
    assert columns(sql.replies("SELECT * FROM t")) == ["id", "v"]
