"""Whole values as ROW, RETURNVALUE and RPC parameters carry them: length, then the bytes.

Encoders and decoders are made once per column or parameter and called per value. The form differs
between a row and an RPC for text, ntext and image only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tdsproxy.tds.buffer import Reader
from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge, UnsupportedType
from tdsproxy.tds.plp import MAX_PLP, encode_plp, read_plp
from tdsproxy.tds.plp import NULL as PLP_NULL
from tdsproxy.tds.scalars import BY_SIZE, FLOATS, INTEGERS, Encode, scalar_decoder, scalar_encoder
from tdsproxy.tds.types import (
    DECIMALS,
    FIXED_SIZES,
    LEGACY_STRINGS,
    LONG_TYPES,
    SHORT_STRINGS,
    TypeId,
    TypeInfo,
    decimal_size,
)
from tdsproxy.tds.variant import VariantValue, decode_variant, encode_variant

__all__ = [
    "VariantValue",
    "decode_value",
    "encode_value",
    "null_value",
    "value_decoder",
    "value_encoder",
]

ReadValue = Callable[[Reader], Any]

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_NULL_SHORT: Final = b"\xff\xff"
_NULL_LONG: Final = b"\xff\xff\xff\xff"
_MAX_SHORT: Final = 0xFFFE
# What SQL Server sends as text pointer and timestamp of a value that is in no table.
_TEXT_POINTER: Final = b"\x10dummy textptr\0\0\0dummyTS\0"
MISFIT: Final = (
    struct.error,
    OverflowError,
    TypeError,
    AttributeError,
    ArithmeticError,
    LookupError,
    ValueError,
)


def value_encoder(info: TypeInfo, *, rpc: bool = False) -> Encode:
    """An encoder of non-NULL values. ``EncodeError`` at once when the type has none; a value that does not
    fit raises one of Python's own errors, which ``encode_value`` and the row encoder translate."""
    type_id = info.type_id
    if type_id == TypeId.SQL_VARIANT:
        return _variant
    if type_id == TypeId.NULL:
        return _nothing
    scalar = scalar_encoder(info)
    if type_id in FIXED_SIZES:
        return scalar
    if info.is_plp:
        return lambda value: encode_plp(scalar(value))
    if type_id in LONG_TYPES:
        prefix = b"" if rpc else _TEXT_POINTER
        return lambda value: _long(prefix, scalar(value))
    if type_id in (TypeId.NVARCHAR, TypeId.NCHAR):
        return _short_ucs2
    if type_id in SHORT_STRINGS or type_id == TypeId.VECTOR:
        return lambda value: _short(scalar(value))
    if type_id in LEGACY_STRINGS:
        return lambda value: _byte(scalar(value))
    return _same_size(info, scalar)


def _same_size(info: TypeInfo, scalar: Encode) -> Encode:
    """All values of the type have one length, which is its prefix."""
    numbers = {TypeId.INTN: INTEGERS, TypeId.FLTN: FLOATS}.get(TypeId(info.type_id))
    if numbers is not None:
        packed = struct.Struct("<B" + numbers[info.length].format.removeprefix("<"))
        return partial(packed.pack, info.length)
    if info.type_id == TypeId.BITN:
        return lambda value: b"\1\1" if value else b"\1\0"
    size = decimal_size(info.precision) if info.type_id in DECIMALS else info.length
    prefix = bytes((size,))
    return lambda value: prefix + scalar(value)


def _nothing(_value: object) -> bytes:
    raise EncodeError("the NULL type holds no value")


def _byte(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _short(data: bytes) -> bytes:
    size = len(data)
    if size > _MAX_SHORT:
        raise EncodeError(f"a value of {size} bytes needs a (max) type")
    return _U16.pack(size) + data


def _short_ucs2(value: str) -> bytes:
    # Too long a text overflows the struct; 65535, the NULL, is odd and cannot be.
    data = value.encode("utf-16-le", "surrogatepass")
    return _U16.pack(len(data)) + data


def _long(prefix: bytes, data: bytes) -> bytes:
    return prefix + _U32.pack(len(data)) + data


def _variant(value: VariantValue) -> bytes:
    data = encode_variant(value)
    return _U32.pack(len(data)) + data


def null_value(info: TypeInfo, *, rpc: bool = False) -> bytes | None:
    """NULL of this type; None when the type has no NULL on the wire (the fixed-length types)."""
    type_id = info.type_id
    if type_id == TypeId.NULL:
        return b""
    if type_id in FIXED_SIZES:
        return None
    if info.is_plp:
        return PLP_NULL
    if type_id in SHORT_STRINGS or type_id == TypeId.VECTOR:
        return _NULL_SHORT
    if type_id in LONG_TYPES:
        return _NULL_LONG if rpc else b"\0"
    if type_id == TypeId.SQL_VARIANT:
        return bytes(4)
    return b"\0"


def encode_value(info: TypeInfo, value: Any, *, rpc: bool = False) -> bytes:
    """One value, None for NULL. Raises ``EncodeError``."""
    if value is None:
        data = null_value(info, rpc=rpc)
        if data is None:
            raise EncodeError(f"data type {info.type_id:#04x} has no NULL")
        return data
    encode = value_encoder(info, rpc=rpc)
    try:
        return encode(value)
    except MISFIT as error:
        raise misfit(info, error) from error


def misfit(info: TypeInfo, error: Exception) -> EncodeError:
    """The error of a value that its type cannot hold."""
    if isinstance(error, EncodeError):
        return error
    return EncodeError(f"a value does not fit data type {info.type_id:#04x}: {error}")


def value_decoder(info: TypeInfo, *, rpc: bool = False, limit: int = MAX_PLP) -> ReadValue:
    """A reader of one value of this type: None for NULL. Values longer than ``limit`` bytes raise
    ``TooLarge``; other faults ``ProtocolError``."""
    type_id = info.type_id
    if type_id == TypeId.NULL:
        return _read_nothing
    if type_id == TypeId.SQL_VARIANT:
        return _read_variant
    if type_id == TypeId.TVP:
        raise UnsupportedType("a table-valued parameter is no column")
    if type_id in FIXED_SIZES:
        decode, size = scalar_decoder(info), FIXED_SIZES[TypeId(type_id)]
        return lambda reader: decode(reader.take(size))
    if info.is_plp:
        return _plp_reader(info, limit)
    if type_id in LONG_TYPES:
        return _long_reader(info, rpc, limit)
    if type_id in SHORT_STRINGS or type_id == TypeId.VECTOR:
        return _short_reader(info)
    return _byte_reader(info)


def _read_nothing(_reader: Reader) -> None:
    return None


def _read_variant(reader: Reader) -> VariantValue | None:
    size = reader.u32()
    if not size:
        return None
    if size > _MAX_SHORT:
        raise TooLarge(f"a sql_variant of {size} bytes")
    return _complete(reader.take(size))


def _complete(data: bytes) -> VariantValue:
    """A variant that ends inside its own bytes is wrong, not late: no more bytes will mend it."""
    try:
        return decode_variant(data)
    except ProtocolError as error:
        raise ProtocolError(f"a sql_variant is malformed: {error}") from error


def _plp_reader(info: TypeInfo, limit: int) -> ReadValue:
    decode = scalar_decoder(info)

    def read(reader: Reader) -> Any:
        data = read_plp(reader, limit)
        return None if data is None else decode(data)

    return read


def _long_reader(info: TypeInfo, rpc: bool, limit: int) -> ReadValue:
    decode = scalar_decoder(info)

    def read(reader: Reader) -> Any:
        if not rpc:
            pointer = reader.u8()
            if not pointer:
                return None
            reader.skip(pointer + 8)
        size = reader.u32()
        if size == 0xFFFFFFFF:
            return None
        if size > limit:
            raise TooLarge(f"a value of {size} bytes")
        return decode(reader.take(size))

    return read


def _short_reader(info: TypeInfo) -> ReadValue:
    decode = scalar_decoder(info)

    def read(reader: Reader) -> Any:
        size = reader.u16()
        return None if size == 0xFFFF else decode(reader.take(size))

    return read


def _byte_reader(info: TypeInfo) -> ReadValue:
    usual = info.length
    decode = scalar_decoder(info)
    varies = info.type_id in BY_SIZE

    def read(reader: Reader) -> Any:
        size = reader.u8()
        if not size:
            return None
        data = reader.take(size)
        return scalar_decoder(info, size)(data) if varies and size != usual else decode(data)

    return read


def decode_value(reader: Reader, info: TypeInfo, *, rpc: bool = False, limit: int = MAX_PLP) -> Any:
    """Read one value."""
    return value_decoder(info, rpc=rpc, limit=limit)(reader)
