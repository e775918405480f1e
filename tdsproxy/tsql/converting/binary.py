"""Conversions to binary, varbinary, image, timestamp, and to uniqueidentifier."""

from __future__ import annotations

import re
import struct
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.tsql import codepage, failures
from tdsproxy.tsql.calendar_math import DAY_1900, TICKS_PER_MINUTE, datetime_thirds
from tdsproxy.tsql.converting.numbers import CONTEXT
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value

_INTEGER_SIZES: Final = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_GUID: Final = re.compile(
    r"\{?([0-9A-Fa-f]{8})-([0-9A-Fa-f]{4})-([0-9A-Fa-f]{4})-([0-9A-Fa-f]{4})-([0-9A-Fa-f]{12})\}?.*",
    re.DOTALL,
)
_TIME_SIZES: Final = (3, 3, 3, 4, 4, 5, 5, 5)


def to_binary(value: Value, source: SqlType, target: SqlType, style: int) -> bytes:
    """Bytes of ``target``: numbers keep their right end, everything else its left end."""
    if isinstance(value, bytes):
        return fit_bytes(value, target)
    if isinstance(value, str):
        if style in (1, 2):
            return fit_bytes(_of_hex(value, source, target, style), target)
        raw = value.encode("utf-16-le", "surrogatepass") if source.is_unicode else codepage.encode(value)
        return fit_bytes(raw, target)
    if isinstance(value, int):
        size = _INTEGER_SIZES.get(source.name, 8)
        return _fit_number(value.to_bytes(size, "big", signed=value < 0), target)
    if isinstance(value, Decimal):
        if source.name in ("money", "smallmoney"):
            size = 8 if source.name == "money" else 4
            return _fit_number(int(value.scaleb(4, CONTEXT)).to_bytes(size, "big", signed=True), target)
        return fit_bytes(_decimal_bytes(value, source), target)
    if isinstance(value, float):
        form = ">f" if source.name == "real" else ">d"
        return _fit_number(struct.pack(form, value), target)
    if isinstance(value, UUID):
        return fit_bytes(value.bytes_le, target)
    return _of_temporal(value, source, target)


def fit_bytes(value: bytes, target: SqlType) -> bytes:
    """Cut on the right, padded on the right for binary(n)."""
    length = 8 if target.name == "timestamp" else target.length
    if length is None or length == MAX:
        return value
    value = value[:length]
    return value.ljust(length, b"\0") if target.name in ("binary", "timestamp") else value


def _fit_number(value: bytes, target: SqlType) -> bytes:
    """Cut and padded on the left."""
    length = 8 if target.name == "timestamp" else target.length
    if length is None or length == MAX:
        return value
    if len(value) > length:
        return value[-length:]
    return value.rjust(length, b"\0") if target.name in ("binary", "timestamp") else value


def _of_hex(text: str, source: SqlType, target: SqlType, style: int) -> bytes:
    digits = text.strip()
    if style == 1:
        if digits[:2].lower() != "0x":
            raise failures.cannot_convert(source, target)
        digits = digits[2:]
    try:
        if len(digits) % 2:
            raise ValueError(text)
        return bytes.fromhex(digits)
    except ValueError:
        raise failures.cannot_convert(source, target) from None


def _decimal_bytes(value: Decimal, source: SqlType) -> bytes:
    """Precision, scale, a zero, the sign, then the magnitude in little-endian groups of four bytes."""
    scale = source.scale or 0
    units = abs(int(value.scaleb(scale, CONTEXT)))
    size = max(4, -(-units.bit_length() // 32) * 4)
    head = bytes((source.precision or 18, scale, 0, 0 if value < 0 else 1))
    return head + units.to_bytes(size, "little")


def _of_temporal(value: Value, source: SqlType, target: SqlType) -> bytes:
    scale = 7 if source.scale is None else source.scale
    if isinstance(value, DateTime) and source.name == "datetime":
        raw = struct.pack(">iI", value.days - DAY_1900, datetime_thirds(value.ticks))
        return _fit_number(raw, target)
    if isinstance(value, DateTime) and source.name == "smalldatetime":
        return _fit_number(struct.pack(">HH", value.days - DAY_1900, value.ticks // TICKS_PER_MINUTE), target)
    if isinstance(value, Date):
        return fit_bytes(value.days.to_bytes(3, "little"), target)
    size = _TIME_SIZES[scale]
    if isinstance(value, Time):
        return fit_bytes(bytes((scale,)) + _units(value.ticks, scale).to_bytes(size, "little"), target)
    if isinstance(value, DateTime | DateTimeOffset):
        raw = bytes((scale,)) + _units(value.ticks, scale).to_bytes(size, "little")
        raw += value.days.to_bytes(3, "little")
        if isinstance(value, DateTimeOffset):
            raw += struct.pack("<h", value.offset)
        return fit_bytes(raw, target)
    raise failures.not_allowed(source, target)


def _units(ticks: int, scale: int) -> int:
    return ticks // int(10 ** (7 - scale))


def to_guid(value: Value, source: SqlType, target: SqlType) -> UUID:
    """Raises SqlError 8169, 529."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        found = _GUID.fullmatch(value)
        if not found:
            raise failures.bad_guid()
        return UUID("".join(found.groups()))
    if isinstance(value, bytes):
        return UUID(bytes_le=value[:16].ljust(16, b"\0"))
    raise failures.not_allowed(source, target)
