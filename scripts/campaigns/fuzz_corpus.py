"""Requests and statements that are well-formed: what damage begins with."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

from tdsproxy.tds import types as t
from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.packets import PacketType
from tdsproxy.tds.rpc import ParamStatus, ProcId, RpcCall, RpcParam, build_rpc
from tdsproxy.tds.transaction import (
    Isolation,
    TransactionManagerRequest,
    TransactionManagerType,
    build_transaction,
)
from tdsproxy.tds.tvp import TvpValue

STATEMENTS = [
    line
    for line in Path(__file__).with_name("statements.sql").read_text(encoding="utf-8").splitlines()
    if line
]
"""Batches of one line, of every kind of statement."""

SET_UP = [
    "CREATE DATABASE fuzz",
    "CREATE TABLE fuzz.dbo.item (id int IDENTITY PRIMARY KEY, name nvarchar(60), kind int,"
    " price decimal(10, 2))",
    "CREATE TABLE fuzz.dbo.scrap (a int NULL)",
    "INSERT INTO fuzz.dbo.item (name, kind, price) VALUES"
    " (N'apple', 1, 2.5), (N'avocado', 2, 13), (N'', NULL, NULL)",
    "BACKUP DATABASE fuzz TO DISK = N'fuzz.bak' WITH FORMAT, INIT",
]


def _parameters() -> tuple[RpcParam, ...]:
    values: list[tuple[t.TypeInfo, object]] = [
        (t.intn(1), 200),
        (t.intn(2), -5),
        (t.intn(4), 123456),
        (t.intn(8), 1 << 40),
        (t.intn(4), None),
        (t.fltn(4), 1.5),
        (t.fltn(8), -2.25),
        (t.moneyn(8), Decimal("12.3400")),
        (t.decimaln(18, 4), Decimal("-77.1234")),
        (t.decimaln(38, 10), Decimal(10) ** 20),
        (t.nvarchar(50), "text with ümläut"),
        (t.nvarchar(None), "long " * 700),
        (t.nvarchar(None), None),
        (t.nchar(10), "fixed     "),
        (t.varchar(40), "plain"),
        (t.varchar(None), "x" * 9000),
        (t.char(5), "abcde"),
        (t.varbinary(20), b"\x00\x01\xff"),
        (t.varbinary(None), bytes(9000)),
        (t.binary(4), b"four"),
        (t.datetimn(8), dt.datetime(2024, 2, 29, 23, 59, 59)),
        (t.TypeInfo(t.TypeId.GUID, 16), uuid.UUID(int=5)),
        (t.TypeInfo(t.TypeId.BITN, 1), True),
    ]
    made = [RpcParam(f"@p{number}", 0, info, value) for number, (info, value) in enumerate(values)]
    usable = []
    for parameter in made:
        try:
            build_rpc([RpcCall("x", params=(parameter,))])
        except (TypeError, ValueError):
            continue
        usable.append(parameter)
    return tuple(usable)


def _text(name: str, value: str) -> RpcParam:
    return RpcParam(name, 0, t.nvarchar(None), value)


def _table() -> RpcParam:
    columns = (ColumnMeta("", t.intn(4), 1), ColumnMeta("", t.nvarchar(20), 1))
    info = t.TypeInfo(t.TypeId.TVP, 0)
    return RpcParam("@t", 0, info, TvpValue(columns, ((1, "a"), (2, None))))


def requests() -> list[tuple[int, bytes]]:
    """(packet type, payload) of requests of every kind."""
    made = [(PacketType.SQL_BATCH, build_batch(text)) for text in STATEMENTS]
    out = RpcParam("@h", ParamStatus.BY_REF, t.intn(4), None)
    one = RpcParam("", 0, t.intn(4), 1)
    parameters = _parameters()
    declared = ", ".join(f"{parameter.name} sql_variant" for parameter in parameters)
    calls = [
        RpcCall(ProcId.EXECUTESQL, params=(_text("", "SELECT 1"),)),
        RpcCall("sp_executesql", params=(_text("", "SELECT @p0"), _text("", declared), *parameters)),
        RpcCall(ProcId.PREPARE, params=(out, _text("", "@a int"), _text("", "SELECT @a"), one)),
        RpcCall(ProcId.PREPEXEC, params=(out, _text("", "@a int"), _text("", "SELECT @a"), one)),
        RpcCall(ProcId.EXECUTE, params=(one, one)),
        RpcCall(ProcId.UNPREPARE, params=(one,)),
        RpcCall(ProcId.CURSOR_OPEN, params=(out, _text("", "SELECT id FROM fuzz.dbo.item"), one, one, out)),
        RpcCall(ProcId.CURSOR_FETCH, params=(one, one, one, one)),
        RpcCall(ProcId.CURSOR_CLOSE, params=(one,)),
        RpcCall("sp_helpdb", params=(_text("@dbname", "fuzz"),)),
        RpcCall("sp_who"),
        RpcCall("master..xp_msver", params=(_text("", "ProductVersion"),)),
        RpcCall("sp_datatype_info", params=(one,)),
    ]
    made += [(PacketType.RPC, build_rpc([call])) for call in calls]
    made.append((PacketType.RPC, build_rpc(calls[:3])))
    kinds = TransactionManagerType
    for request in (
        TransactionManagerRequest(kinds.BEGIN, "t1", Isolation.SERIALIZABLE),
        TransactionManagerRequest(kinds.SAVE, "s1"),
        TransactionManagerRequest(kinds.COMMIT, "", 0, True, "next"),
        TransactionManagerRequest(kinds.ROLLBACK),
        TransactionManagerRequest(kinds.GET_DTC_ADDRESS),
        TransactionManagerRequest(kinds.PROPAGATE, payload=b"\x01\x02\x03"),
    ):
        made.append((PacketType.TRANSACTION_MANAGER, build_transaction(request)))
    made.append(
        (PacketType.BULK_LOAD, b"\x81\x01\x00\x00\x00\x00\x00\x08\x00\x38\x01a\x00\xd1\x01\x00\x00\x00")
    )
    return [(int(kind), payload) for kind, payload in made]
