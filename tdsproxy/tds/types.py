"""Data types on the wire: TYPE_INFO (MS-TDS 2.2.5.4, 2.2.5.6) read and written, and ready-made ones.

TYPE_INFO differs in two places between a result's columns and an RPC's parameters: the parts of a UDT,
and the table name behind text types, which belongs to the column and is not part of this record.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from tdsproxy.tds.buffer import Reader, b_varchar, us_varchar
from tdsproxy.tds.errors import EncodeError, ProtocolError, UnsupportedType

MAX_LENGTH: Final = 0xFFFF
"""The length that marks varchar(max), nvarchar(max) and varbinary(max)."""
DEFAULT_COLLATION: Final = bytes.fromhex("0904d00034")
"""SQL_Latin1_General_CP1_CI_AS."""
TEXT_LENGTH: Final = 0x7FFFFFFF
NTEXT_LENGTH: Final = 0x7FFFFFFE
VARIANT_LENGTH: Final = 8009
MAX_DECIMAL: Final = 17
MAX_COLUMNS: Final = 4096


class TypeId(IntEnum):
    NULL = 0x1F
    IMAGE = 0x22
    TEXT = 0x23
    GUID = 0x24
    LEGACY_VARBINARY = 0x25
    INTN = 0x26
    LEGACY_VARCHAR = 0x27
    DATE = 0x28
    TIME = 0x29
    DATETIME2 = 0x2A
    DATETIMEOFFSET = 0x2B
    LEGACY_BINARY = 0x2D
    LEGACY_CHAR = 0x2F
    TINYINT = 0x30
    BIT = 0x32
    SMALLINT = 0x34
    LEGACY_DECIMAL = 0x37
    INT = 0x38
    SMALLDATETIME = 0x3A
    REAL = 0x3B
    MONEY = 0x3C
    DATETIME = 0x3D
    FLOAT = 0x3E
    LEGACY_NUMERIC = 0x3F
    SQL_VARIANT = 0x62
    NTEXT = 0x63
    BITN = 0x68
    DECIMALN = 0x6A
    NUMERICN = 0x6C
    FLTN = 0x6D
    MONEYN = 0x6E
    DATETIMN = 0x6F
    SMALLMONEY = 0x7A
    BIGINT = 0x7F
    VARBINARY = 0xA5
    VARCHAR = 0xA7
    BINARY = 0xAD
    CHAR = 0xAF
    NVARCHAR = 0xE7
    NCHAR = 0xEF
    UDT = 0xF0
    XML = 0xF1
    TVP = 0xF3
    JSON = 0xF4
    VECTOR = 0xF5


FIXED_SIZES: Final = {
    TypeId.NULL: 0,
    TypeId.TINYINT: 1,
    TypeId.BIT: 1,
    TypeId.SMALLINT: 2,
    TypeId.INT: 4,
    TypeId.SMALLDATETIME: 4,
    TypeId.REAL: 4,
    TypeId.MONEY: 8,
    TypeId.DATETIME: 8,
    TypeId.FLOAT: 8,
    TypeId.SMALLMONEY: 4,
    TypeId.BIGINT: 8,
}

# Types of a one-byte length, with the lengths that make sense.
_BYTE_LENGTHS: Final[dict[int, frozenset[int]]] = {
    TypeId.GUID: frozenset({16}),
    TypeId.INTN: frozenset({1, 2, 4, 8}),
    TypeId.BITN: frozenset({1}),
    TypeId.FLTN: frozenset({4, 8}),
    TypeId.MONEYN: frozenset({4, 8}),
    TypeId.DATETIMN: frozenset({4, 8}),
}
DECIMALS: Final = frozenset({TypeId.DECIMALN, TypeId.NUMERICN, TypeId.LEGACY_DECIMAL, TypeId.LEGACY_NUMERIC})
SCALED_TIMES: Final = frozenset({TypeId.TIME, TypeId.DATETIME2, TypeId.DATETIMEOFFSET})
LEGACY_STRINGS: Final = frozenset(
    {TypeId.LEGACY_VARBINARY, TypeId.LEGACY_VARCHAR, TypeId.LEGACY_BINARY, TypeId.LEGACY_CHAR}
)
SHORT_STRINGS: Final = frozenset(
    {TypeId.VARBINARY, TypeId.BINARY, TypeId.VARCHAR, TypeId.CHAR, TypeId.NVARCHAR, TypeId.NCHAR}
)
LONG_TYPES: Final = frozenset({TypeId.TEXT, TypeId.NTEXT, TypeId.IMAGE})
COLLATED: Final = frozenset(
    {TypeId.VARCHAR, TypeId.CHAR, TypeId.NVARCHAR, TypeId.NCHAR, TypeId.TEXT, TypeId.NTEXT}
)
_KNOWN: Final = frozenset(int(each) for each in TypeId)
_U16: Final = struct.Struct("<H")
_I32: Final = struct.Struct("<I")


class UdtName(msgspec.Struct, frozen=True):
    """A CLR type. ``assembly`` comes with a column, not with a parameter."""

    database: str
    schema: str
    name: str
    assembly: str = ""


class XmlSchema(msgspec.Struct, frozen=True):
    database: str
    owner: str
    collection: str


class TvpName(msgspec.Struct, frozen=True):
    """The type of a table-valued parameter; its columns come with the value."""

    database: str
    schema: str
    name: str


class TypeInfo(msgspec.Struct, frozen=True):
    """One TYPE_INFO.

    ``length`` counts bytes, also for nchar and nvarchar; ``MAX_LENGTH`` with varchar, nvarchar and
    varbinary is the (max) form, whose values are PLP. For a vector ``scale`` is the element type.
    ``collation`` is five bytes for character types (empty for peers of TDS 7.0).
    """

    type_id: int
    length: int = 0
    precision: int = 0
    scale: int = 0
    collation: bytes = b""
    udt: UdtName | None = None
    schema: XmlSchema | None = None
    tvp: TvpName | None = None

    @property
    def is_plp(self) -> bool:
        """Whether values are partially length-prefixed (MS-TDS 2.2.5.2.3)."""
        if self.type_id in (TypeId.XML, TypeId.JSON, TypeId.UDT):
            return True
        return self.length == MAX_LENGTH and self.type_id in SHORT_STRINGS

    @property
    def is_long(self) -> bool:
        """text, ntext, image: a column carries a table name, a value a text pointer."""
        return self.type_id in LONG_TYPES


TINYINT: Final = TypeInfo(TypeId.TINYINT, 1)
BIT: Final = TypeInfo(TypeId.BIT, 1)
SMALLINT: Final = TypeInfo(TypeId.SMALLINT, 2)
INT: Final = TypeInfo(TypeId.INT, 4)
BIGINT: Final = TypeInfo(TypeId.BIGINT, 8)
REAL: Final = TypeInfo(TypeId.REAL, 4)
FLOAT: Final = TypeInfo(TypeId.FLOAT, 8)
MONEY: Final = TypeInfo(TypeId.MONEY, 8)
SMALLMONEY: Final = TypeInfo(TypeId.SMALLMONEY, 4)
DATETIME: Final = TypeInfo(TypeId.DATETIME, 8)
SMALLDATETIME: Final = TypeInfo(TypeId.SMALLDATETIME, 4)
GUID: Final = TypeInfo(TypeId.GUID, 16)
BITN: Final = TypeInfo(TypeId.BITN, 1)
DATE: Final = TypeInfo(TypeId.DATE, 3)
XML: Final = TypeInfo(TypeId.XML)
SQL_VARIANT: Final = TypeInfo(TypeId.SQL_VARIANT, VARIANT_LENGTH)
TEXT: Final = TypeInfo(TypeId.TEXT, TEXT_LENGTH, collation=DEFAULT_COLLATION)
NTEXT: Final = TypeInfo(TypeId.NTEXT, NTEXT_LENGTH, collation=DEFAULT_COLLATION)
IMAGE: Final = TypeInfo(TypeId.IMAGE, TEXT_LENGTH)


def intn(size: int) -> TypeInfo:
    """A nullable integer of 1, 2, 4 or 8 bytes."""
    return TypeInfo(TypeId.INTN, size)


def fltn(size: int) -> TypeInfo:
    """A nullable real (4) or float (8)."""
    return TypeInfo(TypeId.FLTN, size)


def moneyn(size: int) -> TypeInfo:
    """A nullable smallmoney (4) or money (8)."""
    return TypeInfo(TypeId.MONEYN, size)


def datetimn(size: int) -> TypeInfo:
    """A nullable smalldatetime (4) or datetime (8)."""
    return TypeInfo(TypeId.DATETIMN, size)


def decimaln(precision: int, scale: int, *, numeric: bool = False) -> TypeInfo:
    """decimal, or numeric, by its precision (1..38) and scale. As SQL Server does, the type states the
    greatest length and each value has the length of the precision."""
    type_id = TypeId.NUMERICN if numeric else TypeId.DECIMALN
    return TypeInfo(type_id, MAX_DECIMAL, precision, scale)


def decimal_size(precision: int) -> int:
    """Bytes of a decimal value's sign and magnitude."""
    for most, size in ((9, 5), (19, 9), (28, 13), (38, 17)):
        if precision <= most:
            return size
    raise EncodeError(f"decimal precision {precision}")


def time(scale: int = 7) -> TypeInfo:
    return TypeInfo(TypeId.TIME, time_size(scale), scale=scale)


def datetime2(scale: int = 7) -> TypeInfo:
    return TypeInfo(TypeId.DATETIME2, time_size(scale) + 3, scale=scale)


def datetimeoffset(scale: int = 7) -> TypeInfo:
    return TypeInfo(TypeId.DATETIMEOFFSET, time_size(scale) + 5, scale=scale)


def time_size(scale: int) -> int:
    """Bytes of a time of so many fractional digits."""
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def nvarchar(characters: int | None, collation: bytes = DEFAULT_COLLATION) -> TypeInfo:
    """nvarchar of 1..4000 characters; None is (max)."""
    length = MAX_LENGTH if characters is None else 2 * characters
    return TypeInfo(TypeId.NVARCHAR, length, collation=collation)


def nchar(characters: int, collation: bytes = DEFAULT_COLLATION) -> TypeInfo:
    return TypeInfo(TypeId.NCHAR, 2 * characters, collation=collation)


def varchar(size: int | None, collation: bytes = DEFAULT_COLLATION) -> TypeInfo:
    """varchar of 1..8000 bytes; None is (max)."""
    return TypeInfo(TypeId.VARCHAR, MAX_LENGTH if size is None else size, collation=collation)


def char(size: int, collation: bytes = DEFAULT_COLLATION) -> TypeInfo:
    return TypeInfo(TypeId.CHAR, size, collation=collation)


def varbinary(size: int | None) -> TypeInfo:
    """varbinary of 1..8000 bytes; None is (max)."""
    return TypeInfo(TypeId.VARBINARY, MAX_LENGTH if size is None else size)


def binary(size: int) -> TypeInfo:
    return TypeInfo(TypeId.BINARY, size)


def with_collation(info: TypeInfo, collation: bytes) -> TypeInfo:
    """The same type under another collation; types without one as they are."""
    return msgspec.structs.replace(info, collation=collation) if info.type_id in COLLATED else info


def parse_type_info(reader: Reader, *, rpc: bool = False, collations: bool = True) -> TypeInfo:
    """Read a TYPE_INFO, of a parameter when ``rpc``, else of a column; without collation bytes from a peer
    of TDS 7.0. Raises ``UnsupportedType`` for a type byte unknown here."""
    type_id = reader.u8()
    if type_id not in _KNOWN:
        raise UnsupportedType(f"data type {type_id:#04x} is unknown")
    if type_id in FIXED_SIZES:
        return TypeInfo(type_id, FIXED_SIZES[TypeId(type_id)])
    if type_id in _BYTE_LENGTHS:
        length = reader.u8()
        if length not in _BYTE_LENGTHS[type_id]:
            raise ProtocolError(f"data type {type_id:#04x} of length {length}")
        return TypeInfo(type_id, length)
    if type_id in SHORT_STRINGS:
        length = reader.u16()
        return TypeInfo(type_id, length, collation=_collation(reader, type_id, collations))
    if type_id in DECIMALS:
        return _decimal(reader, type_id)
    if type_id == TypeId.DATE:
        return DATE
    if type_id in SCALED_TIMES:
        return _scaled_time(reader, type_id)
    if type_id in LONG_TYPES:
        length = reader.u32()
        return TypeInfo(type_id, length, collation=_collation(reader, type_id, collations))
    if type_id in LEGACY_STRINGS:
        return TypeInfo(type_id, reader.u8())
    return _rare(reader, type_id, rpc)


def _collation(reader: Reader, type_id: int, collations: bool) -> bytes:
    return reader.take(5) if collations and type_id in COLLATED else b""


def _decimal(reader: Reader, type_id: int) -> TypeInfo:
    length, precision, scale = reader.u8(), reader.u8(), reader.u8()
    if not (1 <= precision <= 38 and scale <= precision and 1 <= length <= MAX_DECIMAL):
        raise ProtocolError(f"decimal({precision},{scale}) of length {length}")
    return TypeInfo(type_id, length, precision, scale)


def _scaled_time(reader: Reader, type_id: int) -> TypeInfo:
    scale = reader.u8()
    if scale > 7:
        raise ProtocolError(f"a time of scale {scale}")
    extra = {TypeId.TIME: 0, TypeId.DATETIME2: 3, TypeId.DATETIMEOFFSET: 5}[TypeId(type_id)]
    return TypeInfo(type_id, time_size(scale) + extra, scale=scale)


def _rare(reader: Reader, type_id: int, rpc: bool) -> TypeInfo:
    if type_id == TypeId.SQL_VARIANT:
        return TypeInfo(type_id, reader.u32())
    if type_id == TypeId.XML:
        schema = None
        if reader.u8():
            schema = XmlSchema(reader.b_varchar(), reader.b_varchar(), reader.us_varchar())
        return TypeInfo(type_id, schema=schema)
    if type_id == TypeId.UDT:
        length = 0 if rpc else reader.u16()
        database, schema_name, name = reader.b_varchar(), reader.b_varchar(), reader.b_varchar()
        assembly = "" if rpc else reader.us_varchar()
        return TypeInfo(type_id, length, udt=UdtName(database, schema_name, name, assembly))
    if type_id == TypeId.TVP:
        return TypeInfo(type_id, tvp=TvpName(reader.b_varchar(), reader.b_varchar(), reader.b_varchar()))
    if type_id == TypeId.JSON:
        return TypeInfo(type_id)
    length = reader.u16()
    return TypeInfo(type_id, length, scale=reader.u8())


def build_type_info(info: TypeInfo, *, rpc: bool = False) -> bytes:
    """The inverse of ``parse_type_info``; the collation goes out as it is in ``info``."""
    type_id = info.type_id
    head = bytes((type_id,))
    if type_id in FIXED_SIZES or type_id in (TypeId.DATE, TypeId.JSON):
        return head
    if type_id in _BYTE_LENGTHS or type_id in LEGACY_STRINGS:
        return head + bytes((info.length,))
    if type_id in SHORT_STRINGS:
        return head + _U16.pack(info.length) + info.collation
    if type_id in DECIMALS:
        return head + bytes((info.length, info.precision, info.scale))
    if type_id in SCALED_TIMES:
        return head + bytes((info.scale,))
    if type_id in LONG_TYPES:
        return head + _I32.pack(info.length) + info.collation
    return head + _build_rare(info, rpc)


def _build_rare(info: TypeInfo, rpc: bool) -> bytes:
    type_id = info.type_id
    if type_id == TypeId.SQL_VARIANT:
        return _I32.pack(info.length)
    if type_id == TypeId.XML:
        if info.schema is None:
            return b"\0"
        names = b_varchar(info.schema.database) + b_varchar(info.schema.owner)
        return b"\1" + names + us_varchar(info.schema.collection)
    if type_id == TypeId.UDT and info.udt is not None:
        udt = info.udt
        names = b_varchar(udt.database) + b_varchar(udt.schema) + b_varchar(udt.name)
        return names if rpc else _U16.pack(info.length) + names + us_varchar(udt.assembly)
    if type_id == TypeId.TVP and info.tvp is not None:
        return b_varchar(info.tvp.database) + b_varchar(info.tvp.schema) + b_varchar(info.tvp.name)
    if type_id == TypeId.VECTOR:
        return _U16.pack(info.length) + bytes((info.scale,))
    raise EncodeError(f"data type {type_id:#04x} has no TYPE_INFO")
