"""EXECUTE AS, REVERT and users without login."""

from __future__ import annotations

import pytest

from tests.server.support import Client, World

WHO = "SELECT SUSER_SNAME(), USER_NAME(), ORIGINAL_LOGIN(), IS_SRVROLEMEMBER('sysadmin')"


@pytest.fixture
def sql(sa: Client) -> Client:
    sa.run("CREATE LOGIN worker WITH PASSWORD = 'Strong-pass-1'")
    sa.run("CREATE DATABASE place")
    sa.run("USE place")
    sa.run("CREATE TABLE seen(a int); CREATE TABLE hidden(a int); INSERT hidden VALUES (1)")
    sa.run("CREATE USER worker FOR LOGIN worker; CREATE USER nobody WITHOUT LOGIN")
    sa.run("GRANT SELECT ON seen TO worker; GRANT SELECT ON seen TO nobody")
    return sa


def test_a_login(sql: Client) -> None:
    sql.run("EXECUTE AS LOGIN = 'worker'")
    assert sql.rows(WHO) == [("worker", "worker", "sa", 0)]
    assert sql.error("SELECT * FROM hidden") == 229
    assert sql.error("CREATE DATABASE mine") == 262
    assert sql.error("EXECUTE AS LOGIN = 'sa'") == 15406
    sql.run("REVERT")
    assert sql.rows(WHO) == [("sa", "dbo", "sa", 1)]
    sql.run("REVERT")
    assert sql.error("EXECUTE AS LOGIN = 'gone'") == 15406


def test_a_user_without_login(sql: Client) -> None:
    name = "nobody"
    sql.run(f"DECLARE @user sysname = N'{name}'; EXECUTE AS USER = @user")
    ((login, user, original, admin),) = sql.rows(WHO)
    assert str(login).startswith("S-1-9-3-")
    assert (user, original, admin) == ("nobody", "sa", 0)
    assert sql.rows("SELECT a FROM seen") == []
    assert sql.error("SELECT a FROM hidden") == 229
    assert sql.error("EXECUTE AS USER = 'worker'") == 15517
    sql.run("USE tempdb")
    assert sql.error("REVERT") == 15199
    sql.run("USE place; REVERT")
    assert sql.value("SELECT COUNT(*) FROM hidden") == 1
    assert sql.error("EXECUTE AS USER = 'gone'") == 15517


def test_contexts_nest_and_end_with_their_module(sql: Client) -> None:
    sql.run("EXEC('EXECUTE AS USER = ''worker''; SELECT 1')")
    assert sql.value("SELECT USER_NAME()") == "dbo"
    sql.run("CREATE PROCEDURE p AS EXECUTE AS USER = 'nobody'; SELECT USER_NAME(); EXECUTE AS CALLER")
    assert sql.rows("EXEC p") == [("nobody",)]
    assert sql.value("SELECT USER_NAME()") == "dbo"
    sql.run("EXECUTE AS LOGIN = 'sa'; EXECUTE AS USER = 'worker'")
    assert sql.value("SELECT SUSER_SNAME()") == "worker"
    sql.run("REVERT")
    assert sql.value("SELECT SUSER_SNAME()") == "sa"
    sql.run("REVERT; EXECUTE AS USER = 'worker' WITH NO REVERT")
    assert sql.error("REVERT") == 15357


def test_sids_of_users_without_login_are_their_own(world: World, sql: Client) -> None:
    sql.run("CREATE USER other WITHOUT LOGIN")
    assert (
        sql.value("SELECT COUNT(DISTINCT sid) FROM sys.database_principals WHERE name IN ('nobody', 'other')")
        == 2
    )
    assert sql.value("SELECT DATALENGTH(sid) FROM sys.database_principals WHERE name = 'other'") == 28
    assert world.login("worker", "Strong-pass-1").value("SELECT ORIGINAL_LOGIN()") == "worker"
