"""sql_variant values (MS-TDS 2.2.5.5.4): base type (1), size of properties (1), properties, data."""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from tdsproxy.tds.buffer import Reader
from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.scalars import BY_SIZE, scalar_decoder, scalar_encoder
from tdsproxy.tds.types import FIXED_SIZES, MAX_DECIMAL, TypeId, TypeInfo

_U16: Final = struct.Struct("<H")
_PLAIN: Final = frozenset(FIXED_SIZES) - {TypeId.NULL} | {TypeId.GUID, TypeId.DATE}
_SCALED: Final = frozenset({TypeId.TIME, TypeId.DATETIME2, TypeId.DATETIMEOFFSET})
_NUMERIC: Final = frozenset({TypeId.DECIMALN, TypeId.NUMERICN})
_BINARY: Final = frozenset({TypeId.VARBINARY, TypeId.BINARY})
_TEXT: Final = frozenset({TypeId.VARCHAR, TypeId.CHAR, TypeId.NVARCHAR, TypeId.NCHAR})


class VariantValue(NamedTuple):
    """A value and the type it has inside the sql_variant."""

    type_info: TypeInfo
    value: Any


def encode_variant(variant: VariantValue) -> bytes:
    """The bytes behind the total length."""
    info = variant.type_info
    type_id = info.type_id
    if type_id in BY_SIZE:
        type_id = BY_SIZE[type_id][info.length]
    elif type_id == TypeId.BITN:
        type_id = TypeId.BIT
    if type_id in _PLAIN:
        properties = b""
    elif type_id in _SCALED:
        properties = bytes((info.scale,))
    elif type_id in _NUMERIC:
        properties = bytes((info.precision, info.scale))
    elif type_id in _BINARY:
        properties = _U16.pack(info.length)
    elif type_id in _TEXT:
        properties = info.collation.ljust(5, b"\0") + _U16.pack(info.length)
    else:
        raise EncodeError(f"data type {type_id:#04x} does not fit into sql_variant")
    return bytes((type_id, len(properties))) + properties + scalar_encoder(info)(variant.value)


def decode_variant(data: bytes) -> VariantValue:
    """The inverse of ``encode_variant``; raises ``ProtocolError``."""
    reader = Reader(data)
    type_id = reader.u8()
    properties = reader.sub(reader.u8())
    size = reader.remaining
    info = _base_type(type_id, properties, size)
    if properties.remaining:
        raise ProtocolError(f"sql_variant of {type_id:#04x} has unknown properties")
    if type_id in FIXED_SIZES and size != info.length:
        raise ProtocolError(f"a value of {size} bytes in data type {type_id:#04x}")
    return VariantValue(info, scalar_decoder(info, size)(reader.rest()))


def _base_type(type_id: int, properties: Reader, size: int) -> TypeInfo:
    if type_id in _PLAIN:
        return TypeInfo(type_id, size)
    if type_id in _SCALED:
        scale = properties.u8()
        if scale > 7:
            raise ProtocolError(f"a time of scale {scale}")
        return TypeInfo(type_id, size, scale=scale)
    if type_id in _NUMERIC:
        precision, scale = properties.u8(), properties.u8()
        if not (1 <= precision <= 38 and scale <= precision and size <= MAX_DECIMAL):
            raise ProtocolError(f"decimal({precision},{scale}) in {size} bytes")
        return TypeInfo(type_id, MAX_DECIMAL, precision, scale)
    if type_id in _BINARY:
        return TypeInfo(type_id, properties.u16())
    if type_id in _TEXT:
        collation = properties.take(5)
        return TypeInfo(type_id, properties.u16(), collation=collation)
    raise ProtocolError(f"data type {type_id:#04x} does not fit into sql_variant")
