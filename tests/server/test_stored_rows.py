"""Rows that go from their stored form to the wire column by column: the same bytes as value by value."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.server.row_decoding import RowDecoder
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tds.errors import EncodeError
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, ResultSet, Rows, StoredRows
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import TICKS_PER_DAY, Date, DateTime, DateTimeOffset, Time, Value, Variant

COUNT = 60
TEXTS = ("", "a", "text with blanks  ", "äöü€", "Ł\u4e2d", "🦆", "\ud800", "x" * 40, "\0", "NULL")


def _whole(low: int, high: int) -> Callable[[random.Random], Value]:
    return lambda r: r.choice((low, high, 0, 1, r.randint(low, high)))


def _decimal(precision: int, scale: int) -> Callable[[random.Random], Value]:
    most = 10**precision - 1

    def make(r: random.Random) -> Value:
        number = r.choice((0, 1, -1, most, -most, r.randint(-most, most), r.randint(-(10**3), 10**3)))
        return Decimal(max(-most, min(most, number))).scaleb(-scale)

    return make


def _ticks(r: random.Random, unit: int) -> int:
    ticks = r.choice((0, TICKS_PER_DAY - 1, r.randrange(TICKS_PER_DAY), r.randrange(86400) * 10_000_000))
    return ticks // unit * unit


def _moment(unit: int, first: int = 0, last: int = 3_652_058) -> Callable[[random.Random], Value]:
    return lambda r: DateTime(r.choice((first, last, 738_000, r.randint(first, last))), _ticks(r, unit))


MAKERS: tuple[tuple[SqlType, Callable[[random.Random], Value]], ...] = (
    (t.BIT, _whole(0, 1)),
    (t.TINYINT, _whole(0, 255)),
    (t.SMALLINT, _whole(-(2**15), 2**15 - 1)),
    (t.INT, _whole(-(2**31), 2**31 - 1)),
    (t.BIGINT, _whole(-(2**63), 2**63 - 1)),
    (t.FLOAT, lambda r: r.choice((0.0, -0.0, 1e300, -1.5, r.random()))),
    (t.REAL, lambda r: r.choice((0.0, 0.5, -1.5, 1e30))),
    *[
        (t.decimal(p, s), _decimal(p, s))
        for p, s in ((1, 0), (5, 2), (9, 2), (9, 9), (10, 0), (15, 3), (15, 15), (16, 0), (18, 0), (18, 4))
    ],
    (t.numeric(38, 10), _decimal(38, 10)),
    (t.MONEY, _decimal(18, 4)),
    (t.MONEY, lambda r: Decimal(r.randint(0, 10**18)).scaleb(-4)),
    (t.decimal(18, 3), lambda r: Decimal(r.randint(0, 10**18 - 1)).scaleb(-3)),
    (t.SMALLMONEY, _decimal(9, 4)),
    (t.DATE, lambda r: Date(r.randint(0, 3_652_058))),
    *[(t.time(n), lambda r, n=n: Time(_ticks(r, 10 ** (7 - n)))) for n in (0, 3, 7)],
    *[(t.datetime2(n), _moment(10 ** (7 - n))) for n in (0, 1, 3, 4, 7)],
    (t.DATETIME, _moment(10_000, 639_905)),
    (t.SMALLDATETIME, _moment(600_000_000, 693_595, 693_595 + 65_535)),
    (t.datetimeoffset(3), lambda r: DateTimeOffset(738_000, _ticks(r, 10_000), r.choice((0, 60, -330)))),
    (t.char(5), lambda r: r.choice(("ab   ", "äb   "))),
    (t.varchar(50), lambda r: r.choice(TEXTS)),
    (t.nchar(3), lambda r: r.choice(("abc", "\u4e2da ", "🦆 "))),
    (t.nvarchar(50), lambda r: r.choice(TEXTS)),
    (t.varchar(t.MAX), lambda r: r.choice(TEXTS)),
    (t.nvarchar(t.MAX), lambda r: r.choice(TEXTS)),
    (t.TEXT, lambda r: r.choice(TEXTS)),
    (t.NTEXT, lambda r: r.choice(TEXTS)),
    (t.XML, lambda r: "<a/>"),
    (t.binary(4), lambda r: r.randbytes(4)),
    (t.varbinary(8), lambda r: r.randbytes(r.randint(0, 8))),
    (t.varbinary(t.MAX), lambda r: r.randbytes(r.randint(0, 8))),
    (t.IMAGE, lambda r: r.randbytes(3)),
    (t.TIMESTAMP, lambda r: r.randbytes(8)),
    (t.UNIQUEIDENTIFIER, lambda r: UUID(bytes=r.randbytes(16))),
    (t.SQL_VARIANT, lambda r: Variant(t.INT, r.randint(0, 9))),
    (t.NULL, lambda r: None),
)
FOREIGN: tuple[tuple[SqlType, tuple[Stored, ...]], ...] = (
    (t.INT, (1, "2", 3.0)),
    (t.BIT, (0, 1, 7, "0", "x")),
    (t.FLOAT, (1, 2.5)),
    (t.decimal(9, 2), (1.005, 2, 0.1 + 0.2, "3.5", 123456.789, 1e12)),
    (t.decimal(9, 2), (math.inf,)),
    (t.decimal(18, 4), (1.5, "2", "00000000000002.5000", "-99999999999997.4999", "0000000000000a.0000")),
    (t.MONEY, ("0000000000000001.5000", "-999999999999998.4999", 3)),
    (t.varchar(10), (1, "a", b"b", 2.5)),
    (t.nvarchar(10), (1, "a", b"b")),
    (t.varbinary(10), (b"a", "text", 1)),
    (t.DATE, ("2024-01-31", "2024-01-31 10:00:00", "2024-W05-3", "20240131")),
    (
        t.datetime2(3),
        ("2024-01-31T10:00:00", "2024-01-31 10:00", "2024-01-31", "2024-01-31 10:00:00.123456789"),
    ),
    (t.datetime2(3), ("2024-01-31 24:00:00", "2024-01-31 10:60:00", "2024-13-31 10:00:00", "x")),
    (t.datetime2(0), ("2024-01-31 10:00:00Z", "2024-01-31 10:00:00+01:00", 1, "2024-01-3110:00:00")),
    (t.DATETIME, ("1999-12-31 23:59:59.999", "1752-01-01 00:00:00.000")),
    (t.SMALLDATETIME, ("1999-12-31 23:59:59", "1899-12-31 00:00:00")),
    (t.time(3), ("10:00", "10:00:00.1234567", "24:00:00")),
    (
        t.UNIQUEIDENTIFIER,
        ("00000000-0000-0000-0000-000000000007", "0000000000000000000000000000000a", b"\1" * 16),
    ),
    (t.UNIQUEIDENTIFIER, ("0000000-00000-0000-0000-000000000007", "g0000000-0000-0000-0000-000000000007")),
)


def stored(value: Value, type_: SqlType) -> Stored:
    return to_storage(value, type_)


def outcome(columns: tuple[Column, ...], rows: Rows, version: int) -> bytes | str:
    """The bytes, or that there are none."""
    encoder = ReplyEncoder(Format("S", version))
    encoder.add(ResultSet(columns))
    try:
        encoder.add(rows)
    except (EncodeError, ValueError, OverflowError) as error:
        return type(error).__name__
    return encoder.take()


def both(types: list[SqlType], rows: list[Any], *, nullable: bool, version: int) -> None:
    columns = tuple(Column(f"c{n}", type_, nullable=nullable) for n, type_ in enumerate(types))
    decoder = RowDecoder(types)

    def usual() -> bytes | str:
        try:
            values = decoder(rows)
        except (ValueError, OverflowError, ArithmeticError) as error:
            return type(error).__name__
        return outcome(columns, Rows(values), version)

    expected = usual()
    for _ in range(2):  # the second time with what was remembered of the first
        try:
            found = outcome(columns, StoredRows(rows, decoder), version)
        except ArithmeticError as error:
            found = type(error).__name__
        assert found == expected


@pytest.mark.parametrize("version", [TdsVersion.V7_4, TdsVersion.V7_2, TdsVersion.V7_1])
@pytest.mark.parametrize(
    ("type_", "make"), MAKERS, ids=lambda each: str(each) if isinstance(each, SqlType) else ""
)
def test_each_type(type_: SqlType, make: Callable[[random.Random], Any], version: int) -> None:
    source = random.Random(str(type_))
    values = [make(source) for _ in range(COUNT)]
    raw = [stored(value, type_) for value in values]
    both([type_], [(each,) for each in raw], nullable=True, version=version)
    both([type_], [(each,) for each in raw], nullable=False, version=version)
    some = [None if source.random() < 0.3 else each for each in raw]
    both([type_], [(each,) for each in some], nullable=True, version=version)


@pytest.mark.parametrize(("type_", "values"), FOREIGN)
def test_what_other_tools_have_stored(type_: SqlType, values: tuple[Stored, ...]) -> None:
    for count in (len(values), 1):
        for start in range(0, len(values), count):
            rows = [(each,) for each in values[start : start + count]]
            both([type_], rows, nullable=True, version=TdsVersion.V7_4)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_rows_of_many_columns(share: float) -> None:
    source = random.Random(7)
    for width in (1, 5, 8, 9, 20, len(MAKERS)):
        chosen = source.sample(MAKERS, width)
        types = [type_ for type_, _make in chosen]
        rows = [
            tuple(None if source.random() < share else stored(make(source), type_) for type_, make in chosen)
            for _ in range(20)
        ]
        both(types, rows, nullable=True, version=TdsVersion.V7_4)


def test_values_are_read_when_asked_for() -> None:
    rows = StoredRows([(1, "a"), (None, "b")], RowDecoder([t.INT, t.varchar(5)]))
    assert rows.rows == [(1, "a"), (None, "b")]
    assert rows == Rows([(1, "a"), (None, "b")])
    assert rows != Rows([(1, "a")])
