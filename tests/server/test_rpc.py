"""Prepared statements and procedures as drivers call them; the replies follow captures of SQL Server 2022."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tdsproxy.frontend.handler import RpcParameter
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Done, DoneKind
from tests.server.support import Client, World, dones, errors, infos, outputs, rows, status

TEXT = t.nvarchar(t.MAX)


def text(value: str | None, name: str = "") -> RpcParameter:
    return RpcParameter(name, TEXT, value)


def integer(value: int | None, name: str = "", *, output: bool = False) -> RpcParameter:
    return RpcParameter(name, t.INT, value, output)


def ended_well(replies: list[object]) -> bool:
    last = replies[-1]
    return isinstance(last, Done) and last.kind is DoneKind.PROC and not last.error


@pytest.mark.parametrize("procedure", [10, "sp_executesql", "[sys].[SP_EXECUTESQL]", "master..sp_executesql"])
def test_executesql_by_number_and_by_name(sa: Client, procedure: str | int) -> None:
    replies = sa.rpc(procedure, text("SELECT @a + 1"), text("@a int"), integer(4, "@a"))
    assert rows(replies) == [(5,)]
    assert [d.kind for d in dones(replies)] == [DoneKind.IN_PROC, DoneKind.PROC]
    assert status(replies) == 0


def test_executesql_with_named_leading_parameters(sa: Client) -> None:
    replies = sa.rpc(
        "sp_executesql",
        text("SET @x = @y + 1", "@statement"),
        text("@x int OUTPUT, @y int", "@params"),
        integer(None, "@x", output=True),
        integer(4, "@y"),
    )
    assert outputs(replies) == [(2, "@x", 5)]
    assert ended_well(replies)


def test_executesql_without_parameters(sa: Client) -> None:
    assert rows(sa.rpc(10, text("SELECT N'x'"))) == [("x",)]


def test_outputs_come_in_the_clients_type_and_order(sa: Client) -> None:
    replies = sa.rpc(
        10,
        text("SELECT @b = @a * 3, @s = N'abcdef'"),
        text("@b int OUTPUT, @a int, @s nvarchar(10) OUTPUT"),
        RpcParameter("@b", t.BIGINT, None, output=True),
        integer(4, "@a"),
        RpcParameter("@s", t.nvarchar(3), None, output=True),
    )
    assert outputs(replies) == [(2, "@b", 12), (4, "@s", "abc")]


def test_a_missing_value_is_named(sa: Client) -> None:
    replies = sa.rpc(10, text("SET @x = @y"), text("@x int OUTPUT, @y int"), integer(3, "@x", output=True))
    assert [m.number for m in errors(replies)] == [8178]
    assert outputs(replies) == [(2, "@x", 3)]
    assert not ended_well(replies)


def test_a_missing_table_gives_its_number_as_status(sa: Client) -> None:
    replies = sa.rpc(10, text("SELECT * FROM nowhere"))
    assert [m.number for m in errors(replies)] == [208]
    assert status(replies) == 208


def test_throw_leaves_out_status_and_outputs(sa: Client) -> None:
    replies = sa.rpc(
        10, text("SET @x = 1; THROW 50001, 'x', 1"), text("@x int OUTPUT"), integer(5, "@x", output=True)
    )
    assert [m.number for m in errors(replies)] == [50001]
    assert status(replies) is None
    assert outputs(replies) == []
    assert not ended_well(replies)


def test_prepare_execute_unprepare(sa: Client) -> None:
    prepared = sa.rpc(
        11, integer(None, "@handle", output=True), text("@a int"), text("SELECT @a * 2"), integer(1)
    )
    ((ordinal, name, handle),) = outputs(prepared)
    assert (ordinal, name) == (0, "@handle")
    assert isinstance(handle, int)
    assert rows(sa.rpc(12, integer(handle), integer(21))) == [(42,)]
    assert rows(sa.rpc("sp_execute", integer(handle, "@handle"), integer(4, "@a"))) == [(8,)]
    assert ended_well(sa.rpc(15, integer(handle)))
    again = sa.rpc(15, integer(handle))
    assert [(m.number, m.state) for m in errors(again)] == [(8179, 8)]
    gone = sa.rpc(12, integer(handle), integer(1, "@a", output=True))
    assert [(m.number, m.state) for m in errors(gone)] == [(8179, 4)]
    assert status(gone) == 8179
    assert outputs(gone) == [(1, "@a", 1)]


def test_prepare_refuses_what_does_not_parse(sa: Client) -> None:
    replies = sa.rpc(11, integer(None, output=True), text(None), text("SELECT FROM WHERE"))
    assert [m.number for m in errors(replies)][-1] == 8180


def test_prepexec_takes_the_old_handle_and_gives_a_new_one(sa: Client) -> None:
    first = sa.rpc(
        13,
        integer(None, "@handle", output=True),
        text("@P1 int"),
        text("SELECT @P1"),
        integer(1, "@P1"),
    )
    old = outputs(first)[0][2]
    assert rows(first) == [(1,)]
    assert isinstance(old, int)
    second = sa.rpc(13, integer(old, output=True), text("@P1 int"), text("SELECT @P1 + 1"), integer(1))
    new = outputs(second)[0][2]
    assert new not in (old, None)
    assert rows(second) == [(2,)]
    assert [m.number for m in errors(sa.rpc(12, integer(old), integer(1)))] == [8179]


def test_a_failed_statement_keeps_its_handle_and_a_thrown_one_does_not(sa: Client) -> None:
    sa.run("CREATE TABLE #t(a int PRIMARY KEY); INSERT #t VALUES (1)")
    failed = sa.rpc(13, integer(None, output=True), text(None), text("INSERT #t VALUES (1)"))
    assert [m.number for m in errors(failed)] == [2627]
    assert status(failed) == 2627
    assert len(outputs(failed)) == 1
    thrown = sa.rpc(13, integer(None, output=True), text(None), text("THROW 50001, 'x', 1"))
    assert outputs(thrown) == []


def test_prepared_statements_are_the_sessions_own(sa: Client, world: World) -> None:
    handle = outputs(sa.rpc(11, integer(None, output=True), text(None), text("SELECT 1")))[0][2]
    assert isinstance(handle, int)
    other = world.login()
    assert [m.number for m in errors(other.rpc(12, integer(handle)))] == [8179]
    sa.session.reset(keep_transaction=False)
    assert [m.number for m in errors(sa.rpc(12, integer(handle)))] == [8179]


def test_prepexecrpc_calls_a_procedure(sa: Client) -> None:
    replies = sa.rpc(
        14, integer(None, output=True), text("sp_datatype_info"), RpcParameter("", t.SMALLINT, 12)
    )
    assert [row[0] for row in rows(replies)] == ["varchar"]
    handle = outputs(replies)[0][2]
    assert isinstance(handle, int)
    again = sa.rpc(12, integer(handle), RpcParameter("", t.SMALLINT, 4))
    assert [row[0] for row in rows(again)] == ["int"]


def test_a_backup_takes_everything_from_parameters(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop")
    statement = "BACKUP DATABASE @P1 TO DISK=@P2 WITH INIT, STATS=@P3"
    values = (text("shop", "@P1"), text("p.bak", "@P2"), integer(50, "@P3"))
    declared = text("@P1 nvarchar(max), @P2 nvarchar(max), @P3 int")
    replies = sa.rpc(10, text(statement), declared, *values)
    assert 3014 in [m.number for m in infos(replies)]
    assert status(replies) == 0
    assert (world.engine.store / "backup" / "p.bak").exists()
    prepared = sa.rpc(13, integer(None, output=True), declared, text(statement), *values)
    assert 3211 in [m.number for m in infos(prepared)]
    assert ended_well(prepared)


def test_procedures_by_name(sa: Client) -> None:
    sa.run("CREATE DATABASE shop")
    sa.run(
        "USE shop; EXEC ('CREATE PROCEDURE twice @a int, @b decimal(5,2) OUTPUT AS SET @b = @a * 2 RETURN 7')"
    )
    for name in ("twice", "DBO.Twice", "[shop].[dbo].[twice]"):
        replies = sa.rpc(name, integer(3, "@a"), RpcParameter("@b", t.decimal(5, 2), None, output=True))
        assert status(replies) == 7
        assert outputs(replies) == [(1, "@b", Decimal("6.00"))]
    assert [m.number for m in errors(sa.rpc("dbo.nothing"))] == [2812]
    assert [m.number for m in errors(sa.rpc("twice", integer(1, "@zz")))] == [8145]
    assert [m.number for m in errors(sa.rpc("twice", integer(1, "@a")))] == [201]


def test_a_cursor_procedure_is_not_there(sa: Client) -> None:
    replies = sa.rpc(2, integer(None, output=True))
    assert [m.number for m in errors(replies)] == [2812]


def test_reset_connection_by_rpc(sa: Client) -> None:
    sa.run("BEGIN TRAN")
    assert ended_well(sa.rpc("sp_reset_connection"))
    assert sa.value("SELECT @@TRANCOUNT") == 0
