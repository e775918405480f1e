from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import types as t
from tdsproxy.tds.buffer import Reader
from tdsproxy.tds.codepages import codepage
from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge, Truncated, UnsupportedType
from tdsproxy.tds.plp import PlpAssembler, encode_plp, read_plp
from tdsproxy.tds.temporal import DAYS_TO_1900, TICKS_PER_DAY, decode_datetime, encode_datetime
from tdsproxy.tds.types import TypeId, TypeInfo, UdtName, XmlSchema, build_type_info, parse_type_info
from tdsproxy.tds.values import VariantValue, decode_value, encode_value, null_value

from .strategies import same, simple, typed

EVERY_TYPE = [
    t.TINYINT, t.BIT, t.SMALLINT, t.INT, t.BIGINT, t.REAL, t.FLOAT, t.MONEY, t.SMALLMONEY, t.DATETIME,
    t.SMALLDATETIME, t.GUID, t.BITN, t.DATE, t.XML, t.SQL_VARIANT, t.TEXT, t.NTEXT, t.IMAGE, t.intn(1),
    t.intn(2), t.intn(4), t.intn(8), t.fltn(4), t.fltn(8), t.moneyn(4), t.moneyn(8), t.datetimn(4),
    t.datetimn(8), t.decimaln(9, 2), t.decimaln(38, 38, numeric=True), t.time(0), t.time(3), t.time(7),
    t.datetime2(2), t.datetimeoffset(5), t.nvarchar(10), t.nvarchar(None), t.nchar(5), t.varchar(8000),
    t.varchar(None), t.char(3), t.varbinary(20), t.varbinary(None), t.binary(8), TypeInfo(TypeId.NULL),
    TypeInfo(TypeId.JSON), TypeInfo(TypeId.VECTOR, 20, scale=0), TypeInfo(TypeId.LEGACY_VARBINARY, 255),
    TypeInfo(TypeId.LEGACY_CHAR, 4), TypeInfo(TypeId.XML, schema=XmlSchema("db", "dbo", "schemas")),
    TypeInfo(TypeId.UDT, 0xFFFF, udt=UdtName("db", "sys", "geography", "Microsoft.SqlServer.Types")),
]  # fmt: skip


@pytest.mark.parametrize(
    "info", EVERY_TYPE, ids=lambda info: f"{info.type_id:02x}-{info.length}-{info.scale}"
)
def test_type_info_round_trip(info: TypeInfo) -> None:
    body = build_type_info(info)
    reader = Reader(body)
    assert parse_type_info(reader) == info
    assert not reader.remaining
    for cut in range(len(body)):
        with pytest.raises(Truncated):
            parse_type_info(Reader(body[:cut]))


def test_type_info_of_parameters() -> None:
    udt = TypeInfo(TypeId.UDT, udt=UdtName("db", "sys", "geography"))
    assert parse_type_info(Reader(build_type_info(udt, rpc=True)), rpc=True) == udt
    no_collation = t.with_collation(t.nvarchar(5), b"")
    assert parse_type_info(Reader(build_type_info(no_collation)), collations=False) == no_collation


@pytest.mark.parametrize(
    "body", [b"\x2605"[:1] + b"\x03", b"\x6a\x11\x27\x00", b"\x6a\x11\x05\x06", b"\x29\x08", b"\x24\x08"]
)
def test_impossible_type_info(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_type_info(Reader(body))


def test_unknown_type() -> None:
    with pytest.raises(UnsupportedType):
        parse_type_info(Reader(b"\x99\x00\x00"))


@given(typed(), st.booleans())
def test_value_round_trip(pair: tuple[TypeInfo, Any], rpc: bool) -> None:
    info, value = pair
    reader = Reader(encode_value(info, value, rpc=rpc))
    assert same(value, decode_value(reader, info, rpc=rpc))
    assert not reader.remaining


@given(simple())
def test_variant_round_trip(pair: tuple[TypeInfo, Any]) -> None:
    variant = VariantValue(*pair)
    assert same(variant, decode_value(Reader(encode_value(t.SQL_VARIANT, variant)), t.SQL_VARIANT))


@pytest.mark.parametrize("rpc", [False, True])
@pytest.mark.parametrize(
    "info", EVERY_TYPE, ids=lambda info: f"{info.type_id:02x}-{info.length}-{info.scale}"
)
def test_null(info: TypeInfo, rpc: bool) -> None:
    null = null_value(info, rpc=rpc)
    if null is None:
        with pytest.raises(EncodeError):
            encode_value(info, None)
    else:
        assert encode_value(info, None, rpc=rpc) == null
        reader = Reader(null)
        assert decode_value(reader, info, rpc=rpc) is None
        assert not reader.remaining


class Moment(NamedTuple):
    days: int
    ticks: int


# Bytes from MS-TDS's layout, worked out by hand.
KNOWN = [
    (t.intn(4), 6, "0406000000"),
    (t.INT, -2, "feffffff"),
    (t.TINYINT, 255, "ff"),
    (t.BITN, 1, "0101"),
    (t.decimaln(5, 2), Decimal("1.25"), "05017d000000"),
    (t.decimaln(5, 2), Decimal("-1.25"), "05007d000000"),
    (t.decimaln(38, 0), Decimal(10**37), "1101" + (10**37).to_bytes(16, "little").hex()),
    (t.MONEY, Decimal("2.5000"), "00000000a8610000"),
    (t.moneyn(8), Decimal("-0.0001"), "08ffffffffffffffff"),
    (t.fltn(8), 0.5, "08000000000000e03f"),
    (t.GUID, UUID("00112233-4455-6677-8899-aabbccddeeff"), "10332211005544776688" + "99aabbccddeeff"),
    (t.nvarchar(10), "ab", "040061006200"),
    (t.nvarchar(None), "", "000000000000000000000000"),
    (t.varchar(5), "c€", "02006380"),
    (t.varbinary(4), b"\1\2", "02000102"),
    (t.varbinary(None), b"\1\2", "0200000000000000" + "02000000" + "0102" + "00000000"),
    (t.DATE, (738886,), "03" + (738886).to_bytes(3, "little").hex()),
    (t.time(0), (864_000_000_000 - 10_000_000,), "037f5101"),
    (t.datetime2(3), (0, 10_000), "0701000000000000"),
    (t.datetimeoffset(7), (1, 2, -60), "0a0200000000010000c4ff"),
    (t.DATETIME, Moment(DAYS_TO_1900, 30_000), "0000000001000000"),
    (t.datetimn(4), Moment(DAYS_TO_1900 + 1, 600_000_000), "0401000100"),
    (t.SQL_VARIANT, VariantValue(t.intn(4), 7), "06000000" + "3800" + "07000000"),
    (
        t.SQL_VARIANT,
        VariantValue(t.nvarchar(4), "a"),
        "0b000000" + "e707" + "0904d00034" + "0800" + "6100",
    ),
    (t.XML, "<a/>", "0800000000000000" + "08000000" + "3c0061002f003e00" + "00000000"),
]


@pytest.mark.parametrize(("info", "value", "wire"), KNOWN)
def test_known_bytes(info: TypeInfo, value: Any, wire: str) -> None:
    assert encode_value(info, value).hex() == wire
    assert same(value, decode_value(Reader(bytes.fromhex(wire)), info))


def test_text_has_a_pointer_in_rows_only() -> None:
    assert encode_value(t.TEXT, "ab", rpc=True).hex() == "020000006162"
    row = encode_value(t.TEXT, "ab")
    assert row[0] == 16
    assert row[25:].hex() == "020000006162"


@pytest.mark.parametrize(
    ("units", "shown"), [(0, 0), (1, 3), (2, 7), (3, 10), (4, 13), (5, 17), (300 * 86_400 - 1, 86_399_997)]
)
def test_datetime_shows_milliseconds_as_sql_server(units: int, shown: int) -> None:
    wire = bytes(4) + units.to_bytes(4, "little")
    assert decode_datetime(wire) == (DAYS_TO_1900, shown * 10_000)
    assert encode_datetime((DAYS_TO_1900, shown * 10_000)) == wire


def test_datetime_rounds_into_the_next_day() -> None:
    assert decode_datetime(encode_datetime((DAYS_TO_1900, TICKS_PER_DAY - 1))) == (DAYS_TO_1900 + 1, 0)


@pytest.mark.parametrize(
    ("text", "wire"),
    [("é€", b"\xe9\x80"), ("Ω", b"?"), ("a\U0001f600b", b"a??b"), ("\ud800", b"?"), ("\x81", b"\x81")],
)
def test_characters_outside_the_code_page(text: str, wire: bytes) -> None:
    assert encode_value(t.varchar(10), text)[2:] == wire


def test_code_pages() -> None:
    assert codepage(t.DEFAULT_COLLATION) == "cp1252"
    assert codepage(bytes.fromhex("1904d00000")) == "cp1251"
    assert codepage(bytes.fromhex("0408d00000")) == "cp936"
    assert codepage(bytes.fromhex("09041c0400")) == "utf-8"
    assert codepage(bytes.fromhex("0904d0001e")) == "cp437"
    assert codepage(b"") == "cp1252"


@pytest.mark.parametrize(
    ("info", "value"),
    [
        (t.TINYINT, 256),
        (t.INT, 2**31),
        (t.intn(2), -40_000),
        (t.INT, "5"),
        (t.decimaln(5, 2), Decimal(10) ** 12),
        (t.GUID, "not a UUID"),
        (t.varbinary(10), "text"),
        (t.varbinary(10), 5),
        (t.varchar(10), 5),
        (t.varchar(8000), "x" * 70_000),
        (t.nvarchar(4000), "x" * 40_000),
        (t.DATE, (4_000_000,)),
        (t.DATE, (-1,)),
        (t.datetime2(7), (1,)),
        (t.MONEY, Decimal(10) ** 20),
        (t.decimaln(5, 2), Decimal("NaN")),
    ],
)
def test_misfits(info: TypeInfo, value: Any) -> None:
    with pytest.raises(EncodeError):
        encode_value(info, value)


# PLP


def chunks(data: bytes, sizes: list[int], total: bytes) -> bytes:
    out, pos = [total], 0
    for size in sizes:
        piece = data[pos : pos + size]
        if piece:
            out.append(len(piece).to_bytes(4, "little") + piece)
        pos += size
    rest = data[pos:]
    if rest:
        out.append(len(rest).to_bytes(4, "little") + rest)
    return b"".join(out) + bytes(4)


@given(
    st.binary(max_size=200),
    st.lists(st.integers(1, 40), max_size=8),
    st.sampled_from([b"\xfe" + b"\xff" * 7, bytes(8), (5).to_bytes(8, "little"), b"\0" * 7 + b"\x70"]),
)
def test_plp_in_chunks_whatever_the_total(data: bytes, sizes: list[int], total: bytes) -> None:
    assert read_plp(Reader(chunks(data, sizes, total))) == data


def test_plp_is_bounded_by_its_chunks() -> None:
    with pytest.raises(TooLarge):
        read_plp(Reader(encode_plp(b"x" * 101)), 100)
    assert read_plp(Reader(encode_plp(b"x" * 100)), 100) == b"x" * 100
    with pytest.raises(TooLarge):
        read_plp(Reader(bytes(8) + b"\xff\xff\xff\x7f"), 100)


def test_plp_byte_by_byte() -> None:
    wire = chunks(b"hello world", [3, 3], b"\xfe" + b"\xff" * 7)
    assembler, buffer, pos = PlpAssembler(), bytearray(), 0
    found = None
    for byte in wire:
        buffer.append(byte)
        reader = Reader(buffer, pos)
        try:
            found = assembler.read(reader)
        except Truncated:
            pos = reader.pos
    assert found == b"hello world"


@given(st.binary(max_size=60), st.sampled_from(EVERY_TYPE), st.booleans())
def test_arbitrary_values(data: bytes, info: TypeInfo, rpc: bool) -> None:
    try:
        decode_value(Reader(data), info, rpc=rpc, limit=1000)
    except ProtocolError:
        pass


@given(st.binary(max_size=40))
def test_arbitrary_type_info(data: bytes) -> None:
    for rpc in (False, True):
        try:
            parse_type_info(Reader(data), rpc=rpc)
        except ProtocolError:
            pass


@given(st.binary(max_size=40))
def test_arbitrary_variants(data: bytes) -> None:
    try:
        decode_value(Reader(len(data).to_bytes(4, "little") + data), t.SQL_VARIANT)
    except ProtocolError:
        pass
