"""Dates and times on the wire (MS-TDS 2.2.5.5.1.8 and .9).

Values are tuples of integers: (days since 0001-01-01,), (ticks of 100 ns since midnight,), (days, ticks),
and for datetimeoffset (UTC days, UTC ticks, offset in minutes).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.types import time_size

DAYS_TO_1900: Final = 693_595
"""Days from 0001-01-01 to 1900-01-01, where datetime and smalldatetime count from."""
MAX_DAYS: Final = 3_652_058
TICKS_PER_DAY: Final = 864_000_000_000
_TICKS_PER_MINUTE: Final = 600_000_000
_UNITS_PER_DAY: Final = 300 * 86_400
_MINUTES_PER_DAY: Final = 1440
_MAX_OFFSET: Final = 14 * 60
_TICKS_PER_UNIT: Final[tuple[int, ...]] = (10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)

_DATETIME: Final = struct.Struct("<iI")
_SMALL: Final = struct.Struct("<HH")
_I16: Final = struct.Struct("<h")

Temporal = Sequence[int]


def encode_date(value: Temporal) -> bytes:
    days = value[0]
    if not 0 <= days <= MAX_DAYS:
        raise EncodeError(f"day {days} is outside 0001..9999")
    return days.to_bytes(3, "little")


def decode_date(data: bytes) -> tuple[int]:
    if len(data) != 3:
        raise ProtocolError(f"a date of {len(data)} bytes")
    return (_days(data),)


def _days(data: bytes) -> int:
    days = int.from_bytes(data, "little")
    if days > MAX_DAYS:
        raise ProtocolError(f"day {days} is beyond the year 9999")
    return days


def encode_datetime(value: Temporal) -> bytes:
    """To the nearest 1/300 s."""
    days, ticks = value[0] - DAYS_TO_1900, value[1]
    units = (ticks * 3 + 50_000) // 100_000
    if units >= _UNITS_PER_DAY:
        days, units = days + 1, units - _UNITS_PER_DAY
    return _DATETIME.pack(days, units)


def decode_datetime(data: bytes) -> tuple[int, int]:
    """1/300 s as the millisecond that T-SQL shows: .000, .003, .007."""
    days, units = _DATETIME.unpack(data)
    if units >= _UNITS_PER_DAY or not 0 <= days + DAYS_TO_1900 <= MAX_DAYS:
        raise ProtocolError("a datetime out of range")
    return (days + DAYS_TO_1900, (units * 10 + 1) // 3 * 10_000)


def encode_smalldatetime(value: Temporal) -> bytes:
    """To the nearest minute."""
    days, ticks = value[0] - DAYS_TO_1900, value[1]
    minutes = (ticks + _TICKS_PER_MINUTE // 2) // _TICKS_PER_MINUTE
    if minutes >= _MINUTES_PER_DAY:
        days, minutes = days + 1, minutes - _MINUTES_PER_DAY
    if not 0 <= days <= 0xFFFF:
        raise EncodeError("a smalldatetime out of range")
    return _SMALL.pack(days, minutes)


def decode_smalldatetime(data: bytes) -> tuple[int, int]:
    days, minutes = _SMALL.unpack(data)
    if minutes >= _MINUTES_PER_DAY:
        raise ProtocolError("a smalldatetime out of range")
    return (days + DAYS_TO_1900, minutes * _TICKS_PER_MINUTE)


def encode_time(scale: int) -> Callable[[Temporal], bytes]:
    """An encoder of (ticks,) at this scale; digits beyond it are cut."""
    divisor, size = _TICKS_PER_UNIT[scale], time_size(scale)

    def encode(value: Temporal) -> bytes:
        return (value[0] // divisor).to_bytes(size, "little")

    return encode


def encode_datetime2(scale: int) -> Callable[[Temporal], bytes]:
    divisor, size = _TICKS_PER_UNIT[scale], time_size(scale)

    def encode(value: Temporal) -> bytes:
        return (value[1] // divisor).to_bytes(size, "little") + value[0].to_bytes(3, "little")

    return encode


def encode_datetimeoffset(scale: int) -> Callable[[Temporal], bytes]:
    divisor, size = _TICKS_PER_UNIT[scale], time_size(scale)

    def encode(value: Temporal) -> bytes:
        days, ticks, offset = value
        return (ticks // divisor).to_bytes(size, "little") + days.to_bytes(3, "little") + _I16.pack(offset)

    return encode


def _ticks(data: bytes, scale: int) -> int:
    """The width tells little about the scale, but it must be its width."""
    if len(data) != time_size(scale):
        raise ProtocolError(f"a time({scale}) of {len(data)} bytes")
    ticks = int.from_bytes(data, "little") * _TICKS_PER_UNIT[scale]
    if ticks >= TICKS_PER_DAY:
        raise ProtocolError("a time beyond the end of the day")
    return ticks


def decode_time(data: bytes, scale: int) -> tuple[int]:
    return (_ticks(data, scale),)


def decode_datetime2(data: bytes, scale: int) -> tuple[int, int]:
    return (_days(data[-3:]), _ticks(data[:-3], scale))


def decode_datetimeoffset(data: bytes, scale: int) -> tuple[int, int, int]:
    if len(data) < 5:
        raise ProtocolError(f"a datetimeoffset of {len(data)} bytes")
    offset = _I16.unpack(data[-2:])[0]
    if abs(offset) > _MAX_OFFSET:
        raise ProtocolError(f"an offset of {offset} minutes")
    return (_days(data[-5:-2]), _ticks(data[:-5], scale), offset)
