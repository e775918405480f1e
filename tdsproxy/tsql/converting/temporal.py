"""Conversions to date, time, datetime, smalldatetime, datetime2 and datetimeoffset."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tdsproxy.tsql import date_text, failures
from tdsproxy.tsql.calendar_math import (
    DAY_1753,
    DAY_1900,
    MAX_DAYS,
    SMALL_LAST,
    at_offset,
    local,
    round_datetime,
    round_minute,
    round_scale,
)
from tdsproxy.tsql.converting.numbers import CONTEXT
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import (
    TICKS_PER_DAY,
    TICKS_PER_SECOND,
    Date,
    DateTime,
    DateTimeOffset,
    Time,
    Value,
)

_LEGACY: Final = frozenset({"datetime", "smalldatetime"})


def to_temporal(
    value: Value, source: SqlType, target: SqlType, style: int, date_format: str | None = None
) -> Date | Time | DateTime | DateTimeOffset:
    """Raises SqlError 241, 242, 295, 517, 529."""
    if isinstance(value, str):
        return _of_text(value, source, target, style, date_format)
    if isinstance(value, bytes):
        return _of_bytes(value, source, target)
    if isinstance(value, int | float | Decimal) and target.name in _LEGACY:
        return _shape(_of_number(value, target), 0, source, target)
    if isinstance(value, Date):
        if target.name == "time":
            raise failures.not_allowed(source, target)
        return _shape(DateTime(value.days, 0), 0, source, target)
    if isinstance(value, Time):
        if target.name == "date":
            raise failures.not_allowed(source, target)
        return _shape(DateTime(DAY_1900, value.ticks), 0, source, target)
    if isinstance(value, DateTimeOffset):
        if target.name == "datetimeoffset":
            return _fit_offset(value, target)
        return _shape(local(value), value.offset, source, target)
    if isinstance(value, DateTime):
        return _shape(value, 0, source, target)
    raise failures.not_allowed(source, target)


def _of_text(
    value: str, source: SqlType, target: SqlType, style: int, date_format: str | None
) -> Date | Time | DateTime | DateTimeOffset:
    try:
        moment = date_text.parse(value, style, date_format)
    except date_text.OutOfRange:
        if target.name in _LEGACY:
            raise failures.date_out_of_range(source, target) from None
        raise failures.bad_date() from None
    except ValueError:
        if target.name == "smalldatetime":
            raise failures.bad_smalldatetime() from None
        raise failures.bad_date() from None
    if target.name in _LEGACY and (moment.fraction_digits > 3 or moment.offset):
        raise failures.bad_date() if target.name == "datetime" else failures.bad_smalldatetime()
    if moment.fraction_digits > 7:
        raise failures.bad_date()
    here = DateTime(moment.days, moment.ticks)
    if target.name == "datetimeoffset":
        return _fit_offset(at_offset(here, moment.offset or 0), target)
    return _shape(here, moment.offset or 0, source, target)


def _of_number(value: int | float | Decimal, target: SqlType) -> DateTime:
    """Days since 1900-01-01."""
    if isinstance(value, int):
        return DateTime(DAY_1900 + value, 0)
    moment = CONTEXT.multiply(Decimal(value), Decimal(TICKS_PER_DAY)).quantize(
        Decimal(1), ROUND_HALF_UP, CONTEXT
    )
    days, ticks = divmod(int(moment), TICKS_PER_DAY)
    del target
    return DateTime(DAY_1900 + days, ticks)


def _of_bytes(value: bytes, source: SqlType, target: SqlType) -> DateTime:
    if target.name == "datetime":
        raw = value[-8:].rjust(8, b"\0")
        days = int.from_bytes(raw[:4], "big", signed=True)
        thirds = int.from_bytes(raw[4:], "big")
        made = round_datetime(DAY_1900 + days, thirds * TICKS_PER_SECOND // 300)
    elif target.name == "smalldatetime":
        raw = value[-4:].rjust(4, b"\0")
        minutes = int.from_bytes(raw[2:], "big")
        made = DateTime(DAY_1900 + int.from_bytes(raw[:2], "big"), minutes * 60 * TICKS_PER_SECOND)
    else:
        raise failures.not_allowed(source, target)
    if not 0 <= made.ticks < TICKS_PER_DAY or not DAY_1753 <= made.days <= MAX_DAYS:
        raise failures.date_out_of_range(source, target)
    return made


def _shape(
    value: DateTime, offset: int, source: SqlType, target: SqlType
) -> Date | Time | DateTime | DateTimeOffset:
    """A wall-clock moment as ``target`` keeps it."""
    name = target.name
    if name == "date":
        return Date(value.days)
    scale = 7 if target.scale is None else target.scale
    if name == "time":
        return Time(round_scale(value.ticks, scale) % TICKS_PER_DAY)
    if name == "datetime":
        made = round_datetime(value.days, value.ticks)
        if not DAY_1753 <= made.days <= MAX_DAYS:
            raise _range(source, target)
        return made
    if name == "smalldatetime":
        made = round_minute(value.days, value.ticks)
        if not DAY_1900 <= made.days <= SMALL_LAST:
            raise _range(source, target)
        return made
    if name == "datetime2":
        carry, ticks = divmod(round_scale(value.ticks, scale), TICKS_PER_DAY)
        days = value.days + carry
        return DateTime(days, ticks) if days <= MAX_DAYS else DateTime(MAX_DAYS, _last(scale))
    if name == "datetimeoffset":
        return _fit_offset(at_offset(value, offset), target)
    raise failures.not_allowed(source, target)


def _range(source: SqlType, target: SqlType) -> Exception:
    if source.is_number:
        return failures.overflow(target)
    return failures.date_out_of_range(source, target)


def _last(scale: int) -> int:
    return TICKS_PER_DAY - int(10 ** (7 - scale))


def _fit_offset(value: DateTimeOffset, target: SqlType) -> DateTimeOffset:
    scale = 7 if target.scale is None else target.scale
    carry, ticks = divmod(round_scale(value.ticks, scale), TICKS_PER_DAY)
    days = value.days + carry
    if not 0 <= days <= MAX_DAYS:
        raise failures.bad_date()
    return DateTimeOffset(days, ticks, value.offset)
