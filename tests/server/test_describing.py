"""What a query would return, told before it is run; and whose rights a session has."""

from __future__ import annotations

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, World, columns, rows

__all__ = ["shared_world", "sql"]

_OF_TEXT = "SELECT name, system_type_name, error_number FROM sys.dm_exec_describe_first_result_set"


def test_a_text_is_described(sql: Client) -> None:
    sql.run("CREATE TABLE t(id int NOT NULL, label nvarchar(20))")
    assert sql.rows(f"{_OF_TEXT}(N'SELECT id, label, @x AS x FROM t', N'@x date', 0)") == [
        ("id", "int", None),
        ("label", "nvarchar(20)", None),
        ("x", "date", None),
    ]
    assert sql.rows(f"{_OF_TEXT}(N'DECLARE @a int; SELECT @a = 1', NULL, 0)") == []
    assert sql.rows(f"{_OF_TEXT}(N'SELECT nothing FROM t', NULL, 0)") == [(None, None, 207)]
    assert sql.rows(f"{_OF_TEXT}(N'SELECT FROM', NULL, 0)")[0][2] in (102, 156)
    assert sql.value("SELECT COUNT(*) FROM t") == 0


def test_the_function_says_what_the_procedure_says(sql: Client) -> None:
    text = "N'SELECT database_id, name FROM sys.databases'"
    told = sql.replies(f"EXEC sp_describe_first_result_set {text}")
    asked = sql.replies(f"SELECT * FROM sys.dm_exec_describe_first_result_set({text}, NULL, 0)")
    width = len(columns(told))
    assert columns(asked)[:width] == columns(told)
    assert columns(asked)[width:] == [
        *("error_number", "error_severity", "error_state", "error_message"),
        *("error_type", "error_type_desc"),
    ]
    assert [row[:width] for row in rows(asked)] == rows(told)


def test_a_procedure_is_described_and_not_run(sql: Client) -> None:
    sql.run("CREATE TABLE t(id int)")
    sql.run(
        "CREATE PROCEDURE p @n int AS BEGIN INSERT t VALUES (@n); DECLARE @a int; SELECT @a = 1;"
        " SELECT @n AS n, 'ab' AS word; END"
    )
    assert sql.rows(
        "SELECT o.name, d.name, d.system_type_name FROM sys.procedures o"
        " CROSS APPLY sys.dm_exec_describe_first_result_set_for_object(o.object_id, 0) d"
    ) == [("p", "n", "int"), ("p", "word", "varchar(2)")]
    assert sql.value("SELECT COUNT(*) FROM t") == 0


def test_tokens(shared_world: World, sql: Client) -> None:
    assert sql.rows("SELECT name, type, usage FROM sys.login_token ORDER BY principal_id") == [
        ("sa", "SQL LOGIN", "GRANT OR DENY"),
        ("public", "SERVER ROLE", "GRANT OR DENY"),
        ("sysadmin", "SERVER ROLE", "GRANT OR DENY"),
    ]
    database = str(sql.value("SELECT DB_NAME()"))
    sql.run("CREATE LOGIN bearer WITH PASSWORD = 'Sesame-1'; CREATE USER bearer; CREATE ROLE readers")
    sql.run("ALTER ROLE readers ADD MEMBER bearer")
    other = shared_world.login("bearer", database=database)
    assert other.rows("SELECT name, type FROM sys.user_token") == [
        ("bearer", "SQL USER"),
        ("public", "ROLE"),
        ("readers", "ROLE"),
    ]
    assert other.rows("SELECT name FROM sys.login_token") == [("bearer",), ("public",)]
    other.session.close()
