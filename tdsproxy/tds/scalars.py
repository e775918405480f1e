"""The bytes of one value, without any length before them: what ROW, RPC and sql_variant have in common.

==========================================  ====================================================
wire type                                   Python value
==========================================  ====================================================
bit and the integers                        int
decimal, numeric, money, smallmoney         decimal.Decimal (int is taken, too)
float, real                                 float
character types, xml, json                  str
binary types, UDT, vector                   bytes
uniqueidentifier                            uuid.UUID
temporal types                              tuples of integers, see ``temporal``
==========================================  ====================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final
from uuid import UUID

from tdsproxy.tds import codepages, temporal
from tdsproxy.tds.buffer import decode_ucs2, encode_ucs2
from tdsproxy.tds.errors import EncodeError, ProtocolError, UnsupportedType
from tdsproxy.tds.types import DECIMALS, TypeId, TypeInfo, decimal_size

# A value's Python type follows from its TYPE_INFO, which is data: no static type can follow it.
Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

_CONTEXT: Final = Context(prec=80, rounding=ROUND_HALF_UP)
_MONEY_SCALE: Final = 4
_BOM: Final = "\ufeff"

_I1: Final = struct.Struct("<B")
_I2: Final = struct.Struct("<h")
_I4: Final = struct.Struct("<i")
_I8: Final = struct.Struct("<q")
_F4: Final = struct.Struct("<f")
_F8: Final = struct.Struct("<d")
_MONEY: Final = struct.Struct("<iI")
INTEGERS: Final = {1: _I1, 2: _I2, 4: _I4, 8: _I8}
FLOATS: Final = {4: _F4, 8: _F8}


def scaled_int(value: Decimal | int, scale: int) -> int:
    """The value times 10**scale, rounded half away from zero."""
    if isinstance(value, int):
        return int(value * 10**scale)
    shifted = value.scaleb(scale, _CONTEXT)
    return int(shifted.to_integral_value(ROUND_HALF_UP, _CONTEXT))


def scaled_decimal(value: int, scale: int) -> Decimal:
    """The inverse: a Decimal with just ``scale`` digits after the point."""
    return Decimal(value).scaleb(-scale, _CONTEXT)


def _encode_bit(value: int) -> bytes:
    return b"\1" if value else b"\0"


def _encode_decimal(info: TypeInfo) -> Encode:
    scale, size = info.scale, decimal_size(info.precision) - 1

    def encode(value: Decimal | int) -> bytes:
        number = scaled_int(value, scale)
        return (b"\0" if number < 0 else b"\1") + abs(number).to_bytes(size, "little")

    return encode


def _decode_decimal(info: TypeInfo) -> Decode:
    scale = info.scale

    def decode(data: bytes) -> Decimal:
        if len(data) < 2:
            raise ProtocolError("a decimal without digits")
        number = int.from_bytes(data[1:], "little")
        return scaled_decimal(number if data[0] else -number, scale)

    return decode


def _encode_money(value: Decimal | int) -> bytes:
    number = scaled_int(value, _MONEY_SCALE)
    return _MONEY.pack(number >> 32, number & 0xFFFFFFFF)


def _decode_money(data: bytes) -> Decimal:
    high, low = _MONEY.unpack(data)
    return scaled_decimal(high << 32 | low, _MONEY_SCALE)


def _encode_smallmoney(value: Decimal | int) -> bytes:
    return _I4.pack(scaled_int(value, _MONEY_SCALE))


def _decode_smallmoney(data: bytes) -> Decimal:
    return scaled_decimal(_I4.unpack(data)[0], _MONEY_SCALE)


def _encode_guid(value: UUID) -> bytes:
    return value.bytes_le


def _decode_guid(data: bytes) -> UUID:
    if len(data) != 16:
        raise ProtocolError(f"a uniqueidentifier of {len(data)} bytes")
    return UUID(bytes_le=data)


def _decode_xml(data: bytes) -> str:
    return decode_ucs2(data).removeprefix(_BOM)


def _unpacker(form: struct.Struct) -> Decode:
    unpack, size = form.unpack, form.size

    def decode(data: bytes) -> Any:
        if len(data) != size:
            raise ProtocolError(f"a number of {len(data)} bytes where {size} belong")
        return unpack(data)[0]

    return decode


def _sized(decode: Decode, size: int) -> Decode:
    def checked(data: bytes) -> Any:
        if len(data) != size:
            raise ProtocolError(f"a value of {len(data)} bytes where {size} belong")
        return decode(data)

    return checked


_FIXED: Final[dict[int, tuple[Encode, Decode]]] = {
    TypeId.TINYINT: (_I1.pack, _unpacker(_I1)),
    TypeId.BIT: (_encode_bit, _unpacker(_I1)),
    TypeId.BITN: (_encode_bit, _unpacker(_I1)),
    TypeId.SMALLINT: (_I2.pack, _unpacker(_I2)),
    TypeId.INT: (_I4.pack, _unpacker(_I4)),
    TypeId.BIGINT: (_I8.pack, _unpacker(_I8)),
    TypeId.REAL: (_F4.pack, _unpacker(_F4)),
    TypeId.FLOAT: (_F8.pack, _unpacker(_F8)),
    TypeId.MONEY: (_encode_money, _sized(_decode_money, 8)),
    TypeId.SMALLMONEY: (_encode_smallmoney, _sized(_decode_smallmoney, 4)),
    TypeId.DATETIME: (temporal.encode_datetime, _sized(temporal.decode_datetime, 8)),
    TypeId.SMALLDATETIME: (temporal.encode_smalldatetime, _sized(temporal.decode_smalldatetime, 4)),
    TypeId.DATE: (temporal.encode_date, temporal.decode_date),
    TypeId.GUID: (_encode_guid, _decode_guid),
}

# The nullable types of several sizes, as the fixed type of that size.
BY_SIZE: Final[dict[int, dict[int, TypeId]]] = {
    TypeId.INTN: {1: TypeId.TINYINT, 2: TypeId.SMALLINT, 4: TypeId.INT, 8: TypeId.BIGINT},
    TypeId.FLTN: {4: TypeId.REAL, 8: TypeId.FLOAT},
    TypeId.MONEYN: {4: TypeId.SMALLMONEY, 8: TypeId.MONEY},
    TypeId.DATETIMN: {4: TypeId.SMALLDATETIME, 8: TypeId.DATETIME},
}
_BINARY: Final = frozenset(
    {
        TypeId.VARBINARY,
        TypeId.BINARY,
        TypeId.LEGACY_VARBINARY,
        TypeId.LEGACY_BINARY,
        TypeId.IMAGE,
        TypeId.UDT,
        TypeId.VECTOR,
    }
)
_UNICODE: Final = frozenset({TypeId.NVARCHAR, TypeId.NCHAR, TypeId.NTEXT})
_CODEPAGE: Final = frozenset(
    {TypeId.VARCHAR, TypeId.CHAR, TypeId.TEXT, TypeId.LEGACY_VARCHAR, TypeId.LEGACY_CHAR}
)


def _encode_binary(value: bytes | bytearray | memoryview) -> bytes:
    # bytes(5) would be five zeros: a number is no binary value.
    return value if type(value) is bytes else bytes(memoryview(value))


def encode_utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def scalar_encoder(info: TypeInfo) -> Encode:
    """An encoder of non-NULL values. It may raise ``struct.error``, ``OverflowError``, ``TypeError`` or
    ``AttributeError`` for a value that does not fit: callers turn those into ``EncodeError``."""
    type_id = info.type_id
    if type_id in BY_SIZE:
        type_id = BY_SIZE[type_id][info.length]
    if type_id in _FIXED:
        return _FIXED[type_id][0]
    if type_id in _UNICODE or type_id == TypeId.XML:
        return encode_ucs2
    if type_id in _CODEPAGE:
        return codepages.encoder(info.collation)
    if type_id in _BINARY:
        return _encode_binary
    if type_id in DECIMALS:
        return _encode_decimal(info)
    if type_id == TypeId.TIME:
        return temporal.encode_time(info.scale)
    if type_id == TypeId.DATETIME2:
        return temporal.encode_datetime2(info.scale)
    if type_id == TypeId.DATETIMEOFFSET:
        return temporal.encode_datetimeoffset(info.scale)
    if type_id == TypeId.JSON:
        return encode_utf8
    raise EncodeError(f"data type {type_id:#04x} cannot be encoded")


def scalar_decoder(info: TypeInfo, size: int | None = None) -> Decode:
    """A decoder of a non-NULL value's bytes. For the nullable types of several sizes ``size`` is the
    value's own length, which counts. Decoders raise ``ProtocolError``."""
    type_id = info.type_id
    if type_id in BY_SIZE:
        found = BY_SIZE[type_id].get(info.length if size is None else size)
        if found is None:
            raise ProtocolError(f"a value of {size} bytes in data type {type_id:#04x}")
        type_id = found
    if type_id in _FIXED:
        return _FIXED[type_id][1]
    if type_id in _UNICODE:
        return decode_ucs2
    if type_id in _CODEPAGE:
        return codepages.decoder(info.collation)
    if type_id in _BINARY:
        return bytes
    if type_id in DECIMALS:
        return _decode_decimal(info)
    scale = info.scale
    if type_id == TypeId.TIME:
        return lambda data: temporal.decode_time(data, scale)
    if type_id == TypeId.DATETIME2:
        return lambda data: temporal.decode_datetime2(data, scale)
    if type_id == TypeId.DATETIMEOFFSET:
        return lambda data: temporal.decode_datetimeoffset(data, scale)
    if type_id == TypeId.XML:
        return _decode_xml
    if type_id == TypeId.JSON:
        return lambda data: data.decode("utf-8", "replace")
    raise UnsupportedType(f"values of data type {type_id:#04x} cannot be read")
