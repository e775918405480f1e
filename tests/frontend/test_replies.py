"""Replies into tokens: the MORE bit, the shapes of columns as captured, the layouts of TDS versions."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.frontend.values import sql_type, type_info
from tdsproxy.tds.tokens import ColMetadata, Row, TokenParser, TokenType
from tdsproxy.tds.tokens import Done as DoneToken
from tdsproxy.tds.types import TypeId
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import (
    Column,
    Command,
    DatabaseChanged,
    Done,
    DoneKind,
    LanguageChanged,
    Message,
    Order,
    Reply,
    ResultSet,
    ReturnStatus,
    ReturnValue,
    Rows,
    TransactionBegun,
    TransactionEnded,
)
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time

VERSIONS = [TdsVersion.V7_1, TdsVersion.V7_2, TdsVersion.V7_3B, TdsVersion.V7_4]


ROLLED_BACK = TransactionEnded(b"12345678", committed=False)


def dones(data: bytes) -> list[tuple[TokenType, int, int, int]]:
    tokens = TokenParser().feed(data)
    return [(d.kind, d.status, d.command, d.row_count or 0) for d in tokens if isinstance(d, DoneToken)]


def encode(replies: list[Reply], version: int = TdsVersion.V7_4, *, cancelled: bool = False) -> bytes:
    encoder = ReplyEncoder(Format("S", version))
    parts = []
    for reply in replies:
        encoder.add(reply)
        parts.append(encoder.take())
    return b"".join(parts) + encoder.finish(cancelled=cancelled)


STEPS = st.one_of(
    st.builds(Done, st.just(193), st.one_of(st.none(), st.integers(0, 2**31)), st.booleans()),
    st.builds(Done, st.just(224), st.none(), st.booleans(), st.sampled_from(DoneKind)),
    st.builds(Message, st.just(50000), st.sampled_from([0, 10, 16]), st.just(1), st.text(max_size=20)),
    st.just(ResultSet((Column("n", t.INT),))),
    st.builds(ReturnStatus, st.integers(-100, 100)),
    st.just(DatabaseChanged("b", "a")),
    st.just(LanguageChanged("b", "a")),
    st.just(TransactionBegun(b"12345678")),
    st.just(TransactionEnded(b"12345678", committed=True)),
    st.just(Order((1,))),
    st.just(ReturnValue(0, "@x", t.nvarchar(5), "v")),
)


@given(st.lists(STEPS, max_size=12), st.sampled_from(VERSIONS), st.booleans())
def test_only_the_last_done_is_final(replies: list[Reply], version: int, cancelled: bool) -> None:
    parser = TokenParser(version)
    tokens = parser.feed(encode(replies, version, cancelled=cancelled))
    parser.finish()
    last = tokens[-1]
    assert isinstance(last, DoneToken)
    assert not last.more
    assert all(token.more for token in tokens[:-1] if isinstance(token, DoneToken))
    if cancelled:
        assert last.error


def test_a_result_as_captured() -> None:
    """The first observation of gaps-rpc-procedures: SELECT CAST(... AS nvarchar(128))."""
    column = Column("product_version", t.nvarchar(128), nullable=True, computed=True)
    data = encode([ResultSet((column,)), Done(Command.SELECT, 1)])
    assert data.hex() == (
        "810100000000002100e700010904d000340f700072006f0064007500630074005f00760065007200730069006f006e00"
        "fd1000c1000100000000000000"
    )


@pytest.mark.parametrize(
    ("type_", "fixed", "nullable"),
    [
        (t.INT, TypeId.INT, TypeId.INTN),
        (t.BIT, TypeId.BIT, TypeId.BITN),
        (t.DATETIME, TypeId.DATETIME, TypeId.DATETIMN),
        (t.MONEY, TypeId.MONEY, TypeId.MONEYN),
        (t.REAL, TypeId.REAL, TypeId.FLTN),
        (t.numeric(25), TypeId.NUMERICN, TypeId.NUMERICN),
        (t.decimal(5, 2), TypeId.DECIMALN, TypeId.DECIMALN),
        (t.DATE, TypeId.DATE, TypeId.DATE),
    ],
)
def test_fixed_and_nullable_forms(type_: t.SqlType, fixed: TypeId, nullable: TypeId) -> None:
    assert type_info(type_, nullable=False, version=TdsVersion.V7_4).type_id == fixed
    assert type_info(type_, nullable=True, version=TdsVersion.V7_4).type_id == nullable


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (t.DATE, Date(0), "0001-01-01"),
        (t.time(0), Time(863_990_000_000), "23:59:59"),
        (t.datetime2(3), DateTime(693_595, 12_340_000), "1900-01-01 00:00:01.234"),
        (t.datetimeoffset(7), DateTimeOffset(693_595, 0, -90), "1899-12-31 22:30:00.0000000 -01:30"),
        (
            t.datetimeoffset(0),
            DateTimeOffset(693_594, 864_000_000_000 - 10_000_000, 60),
            "1900-01-01 00:59:59 +01:00",
        ),
    ],
)
def test_old_clients_get_dates_as_text(type_: t.SqlType, value: object, text: str) -> None:
    data = encode(
        [ResultSet((Column("d", type_),)), Rows([(value,)]), Done(Command.SELECT, 1)],  # type: ignore[list-item]
        TdsVersion.V7_1,
    )
    tokens = TokenParser(TdsVersion.V7_1).feed(data)
    assert isinstance(tokens[0], ColMetadata)
    assert tokens[0].columns[0].type_info.type_id == TypeId.NVARCHAR
    assert [token.values for token in tokens if isinstance(token, Row)] == [(text,)]


def test_old_clients_get_text_for_max() -> None:
    types = {t.nvarchar(t.MAX): TypeId.NTEXT, t.varchar(t.MAX): TypeId.TEXT, t.XML: TypeId.NTEXT}
    types[t.varbinary(t.MAX)] = TypeId.IMAGE
    for type_, wire in types.items():
        assert type_info(type_, nullable=True, version=TdsVersion.V7_1).type_id == wire


@pytest.mark.parametrize(
    "type_",
    [
        t.BIT,
        t.TINYINT,
        t.SMALLINT,
        t.INT,
        t.BIGINT,
        t.FLOAT,
        t.REAL,
        t.MONEY,
        t.SMALLMONEY,
        t.decimal(38, 10),
        t.numeric(5, 2),
        t.DATE,
        t.time(3),
        t.DATETIME,
        t.SMALLDATETIME,
        t.datetime2(0),
        t.datetimeoffset(7),
        t.char(3),
        t.varchar(8000),
        t.varchar(t.MAX),
        t.nchar(7),
        t.nvarchar(4000),
        t.nvarchar(t.MAX),
        t.binary(4),
        t.varbinary(5),
        t.varbinary(t.MAX),
        t.UNIQUEIDENTIFIER,
        t.XML,
        t.TEXT,
        t.NTEXT,
        t.IMAGE,
        t.SQL_VARIANT,
    ],
)
def test_a_type_is_known_again(type_: t.SqlType) -> None:
    found = sql_type(type_info(type_, nullable=True, version=TdsVersion.V7_4))
    assert found == type_


def test_a_count_and_its_absence() -> None:
    tokens = TokenParser().feed(encode([Done(Command.INSERT, 0), Done(Command.SET)]))
    statuses = [(token.kind, token.status) for token in tokens if isinstance(token, DoneToken)]
    assert statuses == [(TokenType.DONE, 0x11), (TokenType.DONE, 0)]


def test_a_count_without_its_bit() -> None:
    encoder = ReplyEncoder(Format("S"))
    encoder.add(Done(Command.SELECT, 3, counted=False))
    assert encoder.finish() == struct.pack("<BHHQ", TokenType.DONE, 0, Command.SELECT, 3)


def test_the_done_of_a_fatal_error() -> None:
    encoder = ReplyEncoder(Format("S"))
    encoder.add(Message(596, 21, 1, "Cannot continue the execution."))
    encoder.add(Done(Command.PARSE_ERROR, error=True))
    assert dones(encoder.finish()) == [(TokenType.DONE, 0x102, Command.PARSE_ERROR, 0)]


@pytest.mark.parametrize(
    ("in_rpc", "replies", "expected"),
    [
        (False, [], [(TokenType.DONE, 2, 0xFD, 0)]),
        (False, [Done(192)], [(TokenType.DONE, 2, 192, 0)]),
        (False, [Done(195, 1), Done(192)], [(TokenType.DONE, 0x11, 195, 1), (TokenType.DONE, 2, 192, 0)]),
        (False, [Done(192), ROLLED_BACK], [(TokenType.DONE, 1, 192, 0), (TokenType.DONE, 2, 0xFD, 0)]),
        (
            False,
            [Done(192, kind=DoneKind.IN_PROC)],
            [(TokenType.DONEINPROC, 1, 192, 0), (TokenType.DONE, 2, 0xFD, 0)],
        ),
        (True, [], [(TokenType.DONEPROC, 2, 224, 0)]),
        (True, [Done(192, kind=DoneKind.IN_PROC)], [(TokenType.DONEPROC, 2, 224, 0)]),
        (
            True,
            [Done(192, kind=DoneKind.IN_PROC), ROLLED_BACK],
            [(TokenType.DONEINPROC, 1, 192, 0), (TokenType.DONEPROC, 2, 224, 0)],
        ),
    ],
)
def test_the_end_of_a_cancelled_request(
    in_rpc: bool, replies: list[Reply], expected: list[tuple[TokenType, int, int, int]]
) -> None:
    encoder = ReplyEncoder(Format("S"), in_rpc=in_rpc)
    for reply in replies:
        encoder.add(reply)
    assert dones(encoder.finish(cancelled=True)) == expected


def test_another_servers_answer_is_taken_over() -> None:
    theirs = encode([Done(Command.INSERT, 3)])
    encoder = ReplyEncoder(Format("S"))
    encoder.whole(theirs)
    encoder.add(ReturnStatus(0))
    tokens = TokenParser().feed(encoder.finish())
    dones = [token for token in tokens if isinstance(token, DoneToken)]
    assert [(done.command, done.row_count, done.more) for done in dones] == [(195, 3, True), (0, None, False)]


def test_decimals_keep_their_scale() -> None:
    column = Column("d", t.decimal(10, 4))
    data = encode([ResultSet((column,)), Rows([(Decimal("1.5000"),)]), Done(Command.SELECT, 1)])
    (row,) = [token for token in TokenParser().feed(data) if isinstance(token, Row)]
    assert str(row.values[0]) == "1.5000"
