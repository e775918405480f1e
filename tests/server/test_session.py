"""A session's batches, databases, options, transactions, native statements, and its end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tdsproxy.frontend.handler import TransactionAction, TransactionRequest
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import (
    DatabaseChanged,
    LanguageChanged,
    Message,
    Reply,
    TransactionBegun,
    TransactionEnded,
)
from tdsproxy.tsql.values import Variant
from tests.server.support import Client, LocalReplies, World, columns, dones, errors, infos


def test_the_smallest_batch(sa: Client) -> None:
    replies = sa.replies("SELECT 1 AS x")
    assert columns(replies) == ["x"]
    assert [(d.command, d.count) for d in dones(replies)] == [(0xC1, 1)]


def test_a_batch_that_does_not_parse_runs_nothing(sa: Client) -> None:
    replies = sa.replies("CREATE TABLE msdb.dbo.x(a int)\nSELECT * FORM x y z")
    assert [(m.number, m.severity, m.line) for m in errors(replies)] == [(102, 15, 2)]
    assert [(d.command, d.error) for d in dones(replies)] == [(0xFD, True)]
    assert sa.value("SELECT OBJECT_ID('msdb.dbo.x')") is None
    assert sa.value("SELECT @@ERROR") == 0


def test_use_changes_the_database(sa: Client, world: World) -> None:
    replies = sa.replies("USE MSDB")
    assert replies[0] == DatabaseChanged("msdb", "master")
    assert replies[1] == Message(5701, 0, 1, "Changed database context to 'msdb'.")
    assert sa.value("SELECT DB_NAME()") == "msdb"
    assert world.keeper.current == {sa.session.spid: "msdb"}
    refused = errors(sa.replies("USE nowhere"))
    assert [(m.number, m.severity, m.state) for m in refused] == [(911, 16, 1)]
    assert sa.session.database == "msdb"


def test_use_inside_dynamic_sql_ends_with_it(sa: Client) -> None:
    assert sa.rows("EXEC ('USE msdb; SELECT DB_NAME()'); SELECT DB_NAME()") == [("msdb",), ("master",)]


def test_global_variables(sa: Client, world: World) -> None:
    spid, name, version, number = sa.rows("SELECT @@SPID, @@SERVERNAME, @@VERSION, @@MICROSOFTVERSION")[0]
    assert (spid, name) == (sa.session.spid, "SERVER")
    assert " on " in str(version)
    assert "16.0.4236" in str(version)
    assert isinstance(number, int)
    assert number >> 24 == 16
    assert number & 0xFFFF == 4236
    assert sa.rows("SELECT @@MAX_PRECISION, @@DATEFIRST, @@TRANCOUNT, @@LANGUAGE, @@LOCK_TIMEOUT") == [
        (38, 7, 0, "us_english", -1)
    ]
    assert sa.error("SELECT @@NOTHING") == 137
    assert world.login().value("SELECT @@SPID") != spid


def test_options_show_in_their_mask(sa: Client) -> None:
    assert sa.value("SELECT @@OPTIONS") == 5432
    sa.run("SET NOCOUNT, ARITHABORT ON; SET ANSI_NULLS OFF")
    assert sa.value("SELECT @@OPTIONS") == 5432 + 512 + 64 - 32
    assert sa.rows("SELECT SESSIONPROPERTY('ANSI_NULLS'), SESSIONPROPERTY('ARITHABORT')") == [
        (Variant(t.INT, 0), Variant(t.INT, 1))
    ]


def test_a_client_that_is_not_odbc_starts_without_the_ansi_options(world: World) -> None:
    client = world.login(odbc=False)
    assert client.value("SELECT @@OPTIONS & 4400") == 0


def test_options_take_only_what_they_know(sa: Client) -> None:
    assert sa.error("SET DATEFIRST 9") == 2744
    assert sa.error("SET DATEFORMAT abc") == 2741
    assert sa.error("SET LANGUAGE Klingon") == 2742
    replies = sa.replies("SET LANGUAGE us_english")
    assert LanguageChanged("us_english", "us_english") in replies
    assert [m.number for m in infos(replies)] == [5703]


def test_a_setting_of_a_string_does_not_leak(sa: Client) -> None:
    sa.run("EXEC ('SET DATEFIRST 3')")
    assert sa.value("SELECT @@DATEFIRST") == 7
    sa.run("SET DATEFIRST 3")
    assert sa.value("SELECT @@DATEFIRST") == 3


@pytest.mark.parametrize("option", ["NOEXEC", "PARSEONLY", "SHOWPLAN_XML"])
def test_nothing_runs_while_it_is_only_looked_at(sa: Client, world: World, option: str) -> None:
    sa.run("CREATE TABLE #t(a int)")
    sa.run(f"SET {option} ON")
    sa.run("INSERT #t VALUES (1)")
    sa.run("BACKUP DATABASE master TO DISK = 'x.bak'")
    sa.run(f"SET {option} OFF")
    assert sa.value("SELECT COUNT(*) FROM #t") == 0
    assert world.keeper.requests == []


def test_reset_makes_the_session_new(sa: Client) -> None:
    sa.run("CREATE TABLE #t(a int); SET DATEFIRST 3; SET NOCOUNT ON; SET CONTEXT_INFO 0x01; USE msdb")
    sa.run("EXEC sp_set_session_context 'k', 1; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRAN")
    replies = sa.session.reset(keep_transaction=False)
    assert [type(reply) for reply in replies] == [TransactionEnded, DatabaseChanged]
    assert sa.rows(
        "SELECT @@TRANCOUNT, @@DATEFIRST, @@OPTIONS & 512, DB_NAME(), SESSION_CONTEXT(N'k'), CONTEXT_INFO(),"
        " OBJECT_ID('tempdb..#t')"
    ) == [(0, 7, 0, "master", None, None, None)]
    assert (
        sa.value("SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID")
        == 4
    )


def test_reset_may_keep_the_transaction(sa: Client) -> None:
    sa.run("BEGIN TRAN")
    sa.session.reset(keep_transaction=True)
    assert sa.value("SELECT @@TRANCOUNT") == 1


def test_scope_identity_outlives_its_batch(sa: Client) -> None:
    sa.run("CREATE TABLE #t(id int IDENTITY(10, 5), a int); INSERT #t(a) VALUES (1), (2)")
    assert sa.rows("SELECT SCOPE_IDENTITY(), @@IDENTITY") == [(15, 15)]


# --------------------------------------------------------------------------- transactions


def manage(client: Client, action: TransactionAction, **changes: object) -> list[object]:
    request = TransactionRequest(action, **changes)  # type: ignore[arg-type]
    return [type(r).__name__ for r in client.session.run_transaction(request)]


def test_the_transaction_manager(sa: Client) -> None:
    assert manage(sa, TransactionAction.BEGIN, isolation=4) == ["TransactionBegun", "Done"]
    assert sa.rows(
        "SELECT @@TRANCOUNT, transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
    ) == [(1, 4)]
    assert manage(sa, TransactionAction.COMMIT, begin_after=True) == [
        "TransactionEnded",
        "Done",
        "TransactionBegun",
        "Done",
    ]
    assert manage(sa, TransactionAction.ROLLBACK) == ["TransactionEnded", "Done"]
    assert manage(sa, TransactionAction.ROLLBACK) == ["Message", "Done"]


def test_implicit_transactions_begin_with_the_first_table(sa: Client) -> None:
    sa.run("CREATE TABLE #t(a int); SET IMPLICIT_TRANSACTIONS ON; SELECT 1")
    assert sa.value("SELECT @@TRANCOUNT") == 0
    replies = sa.replies("INSERT #t VALUES (1)")
    assert isinstance(replies[0], TransactionBegun)
    assert sa.value("SELECT @@TRANCOUNT") == 1
    sa.run("ROLLBACK; SET IMPLICIT_TRANSACTIONS OFF")
    assert sa.value("SELECT COUNT(*) FROM #t") == 0


# --------------------------------------------------------------------------- native statements


def test_a_database_is_made_filled_backed_up_and_restored(sa: Client) -> None:
    sa.run("CREATE DATABASE shop")
    sa.run("USE shop; CREATE TABLE t(a int); INSERT t VALUES (1); USE master")
    replies = sa.replies(
        "DECLARE @f nvarchar(99) = N'shop.bak' BACKUP DATABASE shop TO DISK = @f WITH STATS = 50"
    )
    assert [m.number for m in infos(replies)][-1] == 3014
    assert {m.severity for m in infos(replies)} == {0}
    sa.run("DELETE shop.dbo.t")
    sa.run("RESTORE DATABASE shop FROM DISK = 'shop.bak' WITH REPLACE")
    assert sa.rows("SELECT a FROM shop.dbo.t") == [(1,)]


def test_a_statement_is_sent_alone_with_its_line_and_variables(sa: Client, world: World) -> None:
    sa.replies(
        "PRINT 'x'\nDECLARE @db sysname, @f nvarchar(9) = N'y'\n\nBACKUP DATABASE @db TO DISK = @f; PRINT 'z'"
    )
    request = world.keeper.requests[-1]
    assert request.text == "BACKUP DATABASE @db TO DISK = @f"
    assert request.line == 4
    assert request.variables == {"@db": None, "@f": "y"}
    assert request.session.login == "sa"
    assert "sysadmin" in request.session.server_roles


def test_a_backup_in_a_transaction_is_refused(sa: Client) -> None:
    sa.run("BEGIN TRAN")
    assert [m.number for m in errors(sa.replies("BACKUP DATABASE master TO DISK = 'x.bak'"))] == [3021, 3013]
    assert errors(sa.replies("CREATE DATABASE shop"))[0].number == 226


def test_a_failed_backup_reaches_a_catch_block(sa: Client) -> None:
    assert sa.rows(
        "BEGIN TRY BACKUP DATABASE nowhere TO DISK = 'x.bak' END TRY"
        " BEGIN CATCH SELECT ERROR_NUMBER() END CATCH"
    ) == [(3013,)]


def test_dynamic_sql_and_procedures_reach_the_keeper(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop")
    sa.run("EXEC ('PRINT 1; BACKUP DATABASE shop TO DISK = ''a.bak''')")
    assert world.keeper.requests[-1].text == "BACKUP DATABASE shop TO DISK = 'a.bak'"
    sa.run("CREATE PROCEDURE shop_backup @f nvarchar(99) AS BACKUP DATABASE shop TO DISK = @f")
    sa.run("EXEC shop_backup 'b.bak'")
    assert world.keeper.requests[-1].variables == {"@f": "b.bak"}
    assert Path(world.engine.identity.backup_path, "b.bak").exists()


def test_dropping_the_current_database_is_refused_and_another_one_is_let_go(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop")
    other = world.login()
    other.run("SELECT COUNT(*) FROM shop.sys.tables; CREATE TABLE shop.dbo.t(a int)")
    sa.run("USE shop")
    assert other.error("DROP DATABASE shop") == 3702
    sa.run("USE master; DROP DATABASE shop")
    assert other.error("SELECT * FROM shop.dbo.t") == 208
    assert not (world.engine.store / "shop.db").exists()


def test_single_user_ends_the_others(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop")
    other = world.login(database="shop")
    ended = threading.Event()
    other.session.when_ended(ended.set)
    sa.run("USE shop; ALTER DATABASE shop SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    assert ended.is_set()
    with pytest.raises(SqlError, match="kill state"):
        other.replies("SELECT 1")
    third = world.login()
    assert [(m.number, m.severity) for m in errors(third.replies("USE shop"))] == [(924, 14)]


def test_a_renamed_database_stays_current(sa: Client) -> None:
    sa.run("CREATE DATABASE shop")
    sa.run("USE shop; ALTER DATABASE shop MODIFY NAME = store; CREATE TABLE t(a int)")
    assert sa.value("SELECT DB_NAME()") == "store"


def test_an_offline_database_says_so(sa: Client) -> None:
    sa.run("CREATE DATABASE shop; ALTER DATABASE shop SET OFFLINE")
    assert sa.error("USE shop") == 942
    assert sa.rows("SELECT state_desc, collation_name FROM sys.databases WHERE name = 'shop'") == [
        ("OFFLINE", None)
    ]


# --------------------------------------------------------------------------- cancel, kill, close


def cancelled(sa: Client, text: str, seconds: float = 0.2) -> list[Reply]:
    """The replies of a batch that is cancelled in the midst of what follows its ``PRINT 'begun'``."""
    replies: list[Reply] = []
    timer = threading.Timer(seconds, sa.session.cancel)
    for reply in sa.session.run_batch(text):
        if isinstance(reply, Message) and reply.text == "begun":
            # Cancelled a little before the next statement or in it: that one cannot end by itself.
            timer.start()
        else:
            replies.append(reply)
    timer.join()
    return replies


ENDLESS = "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT COUNT(*) FROM n"


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_cancel_stops_a_query(sa: Client, seconds: float) -> None:
    replies = cancelled(sa, f"PRINT 'begun'; {ENDLESS} OPTION (MAXRECURSION 0)", seconds)
    assert not [r for r in replies if type(r).__name__ == "Rows"]
    assert sa.value("SELECT 1") == 1


def test_cancel_stops_a_wait(sa: Client) -> None:
    replies = cancelled(sa, "PRINT 'begun'; WAITFOR DELAY '00:10:00'; SELECT 'never'")
    assert not [r for r in replies if type(r).__name__ == "Rows"]
    assert sa.value("SELECT 1") == 1


def test_a_query_cancelled_in_try_says_that_it_left(sa: Client) -> None:
    replies = cancelled(
        sa,
        f"BEGIN TRY PRINT 'begun'; {ENDLESS} OPTION (MAXRECURSION 0) END TRY "
        "BEGIN CATCH PRINT 'never' END CATCH",
    )
    assert [(done.command, done.error) for done in dones(replies)] == [
        (349, False),
        (247, False),
        (243, False),
    ]


def test_cancel_under_xact_abort_takes_the_transaction(sa: Client) -> None:
    for setting, left in (("OFF", 1), ("ON", 0)):
        replies = cancelled(
            sa, f"SET XACT_ABORT {setting}; BEGIN TRAN; PRINT 'begun'; WAITFOR DELAY '00:10:00'"
        )
        assert isinstance(replies[-1], TransactionEnded) == (not left)
        assert sa.value("SELECT @@TRANCOUNT") == left
        sa.run("IF @@TRANCOUNT > 0 ROLLBACK")


def test_cancel_reaches_a_native_statement(sa: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[bool] = []
    monkeypatch.setattr(LocalReplies, "cancel", lambda self: cancelled.append(True))
    sa.run("CREATE DATABASE shop")
    replies = sa.session.run_batch("BACKUP DATABASE shop TO DISK = 'a.bak' WITH STATS = 10")
    next(replies)
    sa.session.cancel()
    assert list(replies) == []
    assert cancelled
    assert sa.value("SELECT 1") == 1


def test_kill_ends_a_session_and_its_transaction(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop; CREATE TABLE shop.dbo.t(a int)")
    other = world.login()
    other.run("BEGIN TRAN; INSERT shop.dbo.t VALUES (1)")
    assert sa.error("KILL @@SPID") in (102, 6104)
    assert sa.error(f"KILL {sa.session.spid}") == 6104
    assert sa.error("KILL 9999") == 6106
    sa.run(f"KILL {other.session.spid}")
    sa.run("INSERT shop.dbo.t VALUES (2)")
    assert sa.rows("SELECT a FROM shop.dbo.t") == [(2,)]
    with pytest.raises(SqlError) as caught:
        other.replies("SELECT 1")
    assert (caught.value.number, caught.value.messages[0].severity) == (596, 21)


def test_close_frees_the_session(sa: Client, world: World) -> None:
    spid = sa.session.spid
    sa.session.close()
    sa.session.close()
    assert world.engine.session(spid) is None
    assert spid not in world.keeper.current
    assert world.login().session.spid == spid


def test_time_goes_on_between_statements_and_stands_still_within_one(sa: Client) -> None:
    waited = sa.value(
        "DECLARE @s datetime2 = SYSDATETIME(), @n int = 0;"
        " WHILE SYSDATETIME() = @s AND @n < 500"
        " BEGIN WAITFOR DELAY '00:00:00.010'; SET @n += 1 END; SELECT @n"
    )
    assert waited < 500
    waited = sa.value(
        "DECLARE @s datetime2, @e datetime2, @n int = 0; SET @s = SYSDATETIME(); SET @e = @s;"
        " WHILE @e = @s AND @n < 500"
        " BEGIN WAITFOR DELAY '00:00:00.010'; SET @n += 1; SET @e = SYSDATETIME() END;"
        " SELECT @n"
    )
    assert waited < 500
    same = "DECLARE @a int = DATEDIFF(NANOSECOND, SYSDATETIME(), SYSDATETIME()); SELECT @a"
    assert {sa.value(same) for _ in range(5)} == {0}


def test_a_condition_sees_what_other_sessions_did_since(sa: Client, world: World) -> None:
    """DB_ID asks no table: what a statement before it saw must not stand in for what is there now."""
    waits = threading.Event()

    def make() -> None:
        waits.wait(60)
        world.login().run("CREATE DATABASE appears")

    maker = threading.Thread(target=make)
    maker.start()
    waits.set()
    seen = sa.value(
        "DECLARE @n int = 0; WHILE DB_ID(N'appears') IS NULL AND @n < 3000"
        " BEGIN WAITFOR DELAY '00:00:00.010'; SET @n += 1 END; SELECT @n"
    )
    maker.join()
    assert seen < 3000
