"""Open transactions as the views, CURRENT_TRANSACTION_ID and DBCC OPENTRAN show them; states of services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.support import Client, World, columns, errors, infos, rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("transactions"))
    sa = made.login()
    sa.run("CREATE DATABASE Shop")
    sa.run("CREATE TABLE Shop.dbo.t (a int)")
    yield made
    made.close()


@pytest.fixture
def other(world: World) -> Iterator[Client]:
    """A session whose transaction is watched."""
    made = world.login(database="Shop")
    yield made
    made.session.close()


SESSIONS = "SELECT * FROM sys.dm_tran_session_transactions"
ACTIVE = "SELECT * FROM sys.dm_tran_active_transactions"
IN_DATABASES = (
    "SELECT transaction_id, DB_NAME(database_id), database_transaction_type, database_transaction_state,"
    " database_transaction_log_bytes_used FROM sys.dm_tran_database_transactions"
)


def test_there_is_nothing_without_a_transaction(sa: Client, other: Client) -> None:
    other.run("INSERT t VALUES (1)")
    assert sa.rows(f"{SESSIONS}; {ACTIVE}; {IN_DATABASES}") == []


def test_one_is_shown_with_its_session_name_and_time(sa: Client, other: Client) -> None:
    other.run("BEGIN TRANSACTION; BEGIN TRANSACTION")
    (active,) = sa.rows(
        "SELECT transaction_id, name, transaction_type, transaction_state,"
        " IIF(transaction_begin_time BETWEEN DATEADD(hour, -1, GETDATE()) AND GETDATE(), 1, 0)"
        " FROM sys.dm_tran_active_transactions"
    )
    assert active[1:] == ("user_transaction", 1, 2, 1)
    (row,) = sa.rows(SESSIONS)
    assert row[:2] == (other.session.spid, active[0])
    assert row[4:] == (1, 1, 0, 0, 2)
    assert other.value("SELECT CURRENT_TRANSACTION_ID()") == active[0]
    assert other.value("SELECT transaction_id FROM sys.dm_tran_current_transaction") == active[0]
    assert sa.rows(IN_DATABASES) == []
    other.run("COMMIT")
    assert len(sa.rows(ACTIVE)) == 1
    other.run("ROLLBACK")
    assert sa.rows(ACTIVE) == []


def test_numbers_are_never_given_twice(sa: Client, other: Client) -> None:
    numbers = [other.value("BEGIN TRAN; SELECT CURRENT_TRANSACTION_ID(); COMMIT") for _ in range(3)]
    assert len(set(numbers)) == 3
    assert all(isinstance(number, int) and number >= 100_000 for number in numbers)


def test_databases_that_it_writes_to_are_shown(sa: Client, other: Client) -> None:
    other.run("BEGIN TRANSACTION moving; SELECT * FROM t; INSERT t VALUES (2)")
    (row,) = sa.rows(IN_DATABASES)
    assert row[1:] == ("Shop", 1, 4, 0)
    assert sa.value("SELECT name FROM sys.dm_tran_active_transactions") == "moving"
    request = other.value("SELECT transaction_id FROM sys.dm_exec_requests WHERE session_id = @@SPID")
    assert request == row[0]
    other.run("ROLLBACK")
    assert sa.rows(IN_DATABASES) == []


def test_opentran_tells_of_the_oldest_that_has_written(sa: Client, other: Client) -> None:
    assert [found.number for found in infos(sa.replies("DBCC OPENTRAN ('Shop')"))] == [7969, 2528]
    other.run("BEGIN TRANSACTION x")
    assert infos(sa.replies("DBCC OPENTRAN ('Shop')"))[0].number == 7969
    other.run("INSERT t VALUES (3)")
    told = infos(sa.replies("DBCC OPENTRAN ('Shop')"))
    assert [found.number for found in told] == [7968, 7970, 7971, 7972, 7974, 7975, 7977, 7978, 2528]
    assert told[0].text == "Transaction information for database 'Shop'."
    assert told[2].text == f"    SPID (server process ID): {other.session.spid}"
    assert told[4].text == "    Name          : x"
    replies = sa.replies("DBCC OPENTRAN ('Shop') WITH TABLERESULTS, NO_INFOMSGS")
    assert columns(replies) == ["Shop", "OPENTRAN"]
    found = dict(rows(replies))
    assert found["OLDACT_SPID"] == str(other.session.spid)
    began = f"CAST('{found['OLDACT_STARTTIME']}' AS datetime)"
    assert sa.value(f"SELECT DATEDIFF(hour, {began}, GETDATE())") in (0, 1)
    other.run("ROLLBACK")


def test_implicit_transactions_have_their_name(sa: Client, other: Client) -> None:
    other.run("SET IMPLICIT_TRANSACTIONS ON; INSERT t VALUES (4)")
    assert sa.value("SELECT name FROM sys.dm_tran_active_transactions") == "implicit_transaction"
    other.run("ROLLBACK; SET IMPLICIT_TRANSACTIONS OFF")


def test_the_states_of_the_services(sa: Client) -> None:
    for service in ("MSSQLServer", "SQLServerAgent", "SQLSERVERAGENT"):
        replies = sa.replies(f"EXEC master.dbo.xp_servicecontrol N'QUERYSTATE', N'{service}'")
        assert (columns(replies), rows(replies)) == (["Current Service State"], [("Running.",)])
    for text in ("'STOP', 'MSSQLServer'", "'START', 'SQLServerAgent'", "'QUERYSTATE', 'Spooler'"):
        assert sa.error(f"EXEC xp_servicecontrol {text}") == 22003
    assert sa.rows("SELECT servicename, status_desc FROM sys.dm_server_services") == [
        ("SQL Server (MSSQLSERVER)", "Running"),
        ("SQL Server Agent (MSSQLSERVER)", "Running"),
    ]


def test_what_else_is_asked_of_the_server(sa: Client) -> None:
    assert sa.rows("EXEC master.dbo.xp_loginconfig 'login mode'") == [("login mode", "Mixed")]
    asked = "DECLARE @now int = 9; EXEC master.dbo.xp_sqlagent_is_starting @now OUTPUT; SELECT @now"
    assert sa.rows(asked) == [(0,)]


def test_services_are_no_business_of_others(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN clerk WITH PASSWORD = 'Sesame-1'")
    found = errors(world.login("clerk").replies("EXEC xp_servicecontrol 'QUERYSTATE', 'MSSQLServer'"))
    assert [error.number for error in found] == [229]
