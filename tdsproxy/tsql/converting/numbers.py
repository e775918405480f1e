"""Conversions to bit, the integers, decimal, money, float and real."""

from __future__ import annotations

import re
import struct
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Final

from tdsproxy.tsql import failures
from tdsproxy.tsql.calendar_math import DAY_1900, datetime_thirds
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import TICKS_PER_DAY, DateTime, Value

CONTEXT: Final = Context(prec=120, Emax=9999, Emin=-9999, rounding=ROUND_HALF_UP)
"""Exact for every intermediate of decimal(38) arithmetic."""

_SEVENTEEN: Final = Context(prec=17, rounding=ROUND_HALF_UP)

RANGES: Final = {
    "bit": (0, 1),
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
_MONEY_LIMITS: Final = {
    "money": (Decimal("-922337203685477.5808"), Decimal("922337203685477.5807")),
    "smallmoney": (Decimal("-214748.3648"), Decimal("214748.3647")),
}
_INTEGER: Final = re.compile(r"[+-]?\s*\d+")
_DECIMAL: Final = re.compile(r"[+-]?\s*(?:\d+\.?\d*|\.\d+)")
_FLOAT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?")
_MONEY: Final = re.compile(r"([+-]?)\s*[$£¤¥€]?\s*([+-]?)((?:\d[\d,]*)?(?:\.\d*)?)")
_THIRDS_PER_DAY: Final = 300 * 86_400
_SIZES: Final = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}


def quantise(value: Decimal, scale: int) -> Decimal:
    """Rounded half away from zero to ``scale`` digits."""
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, CONTEXT)


def fits(value: Decimal, precision: int, scale: int) -> bool:
    """Whether a quantised value has at most ``precision`` digits."""
    return value.copy_abs() < Decimal(1).scaleb(precision - scale)


def fit_decimal(value: Decimal, target: SqlType, source: SqlType | None = None) -> Decimal:
    """``value`` rounded to the decimal type's scale. Raises SqlError 8115."""
    precision, scale = target.precision or 18, target.scale or 0
    result = quantise(value, scale)
    if not fits(result, precision, scale):
        raise failures.overflow(target, source)
    return result if result else result.copy_abs()  # no negative zero


def fit_money(value: Decimal, target: SqlType, source: SqlType | None = None) -> Decimal:
    low, high = _MONEY_LIMITS[target.name]
    result = quantise(value, 4)
    if not low <= result <= high:
        raise failures.overflow(target, source)
    return result if result else result.copy_abs()


def exact_float(value: float) -> Decimal:
    """A float as decimal conversions see it: 17 significant digits."""
    return _SEVENTEEN.create_decimal(value)


def to_integer(value: Value, source: SqlType, target: SqlType) -> int:
    """An integer type of ``target``. Raises SqlError 220, 232, 244, 245, 248, 8114, 8115."""
    low, high = RANGES[target.name]
    if isinstance(value, str):
        return _integer_of_text(value, source, target)
    if isinstance(value, bytes):
        return _integer_of_bytes(value, target)
    if isinstance(value, int):
        if low <= value <= high:
            return value
        if target.name in ("tinyint", "smallint") and source.name != "bigint":
            raise failures.value_overflow(target, value)
        raise failures.overflow(target)
    if isinstance(value, float):
        if value != value or not low <= int(value) <= high:
            raise failures.float_overflow(target, value)
        return int(value)
    if isinstance(value, Decimal):
        rounding = ROUND_HALF_UP if source.name in ("money", "smallmoney") else ROUND_DOWN
        number = int(value.quantize(Decimal(1), rounding, CONTEXT))
        if not low <= number <= high:
            raise failures.overflow(target)
        return number
    if isinstance(value, DateTime):
        number = value.days - DAY_1900 + (2 * value.ticks >= TICKS_PER_DAY)
        if not low <= number <= high:
            raise failures.overflow(target)
        return number
    raise failures.not_allowed(source, target)


def _integer_of_text(value: str, source: SqlType, target: SqlType) -> int:
    text = value.strip(" \t\r\n")
    low, high = RANGES[target.name]
    if not text:
        return 0
    if not _INTEGER.fullmatch(text):
        if target.name == "bigint":
            raise failures.cannot_convert(source, target)
        raise failures.conversion_failed(source, value, target)
    number = int(text.replace(" ", ""))
    if not low <= number <= high:
        if target.name == "bigint":
            raise failures.overflow(target)
        raise failures.text_overflow(source, value, target)
    return number


def _integer_of_bytes(value: bytes, target: SqlType) -> int:
    size = _SIZES[target.name]
    return int.from_bytes(value[-size:].rjust(size, b"\0"), "big", signed=target.name != "tinyint")


def to_bit(value: Value, source: SqlType, target: SqlType) -> int:
    """Any number but zero is 1; ``true``, ``false`` and digits as text."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("true", "false"):
            return int(text == "true")
        if not _INTEGER.fullmatch(text or "0"):
            raise failures.conversion_failed(source, value, target)
        return int(int((text or "0").replace(" ", "")) != 0)
    if isinstance(value, bytes):
        return int(any(value[-1:]))
    if isinstance(value, int | float | Decimal):
        return int(value != 0)
    if isinstance(value, DateTime):
        return int(value != DateTime(DAY_1900, 0))
    raise failures.not_allowed(source, target)


def to_decimal(value: Value, source: SqlType, target: SqlType) -> Decimal:
    """A decimal of ``target``'s precision and scale. Raises SqlError 8114, 8115."""
    if isinstance(value, str):
        text = value.strip(" \t\r\n")
        if not _DECIMAL.fullmatch(text):
            raise failures.cannot_convert(source, target)
        return fit_decimal(Decimal(text.replace(" ", "")), target, source)
    if isinstance(value, bytes):
        return _decimal_of_bytes(value, source, target)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise failures.overflow(target, source)
        return fit_decimal(exact_float(value), target, source)
    if isinstance(value, int | Decimal):
        return fit_decimal(Decimal(value), target, source)
    if isinstance(value, DateTime):
        return fit_decimal(_days_since_1900(value), target, source)
    raise failures.not_allowed(source, target)


def _days_since_1900(value: DateTime) -> Decimal:
    fraction = CONTEXT.divide(Decimal(datetime_thirds(value.ticks)), Decimal(_THIRDS_PER_DAY))
    return CONTEXT.add(Decimal(value.days - DAY_1900), fraction)


def _decimal_of_bytes(value: bytes, source: SqlType, target: SqlType) -> Decimal:
    if len(value) < 5:
        raise failures.cannot_convert(source, target)
    magnitude = int.from_bytes(value[4:], "little")
    sign = 1 if value[3] else -1
    return fit_decimal(Decimal(sign * magnitude).scaleb(-value[1], CONTEXT), target, source)


def to_money(value: Value, source: SqlType, target: SqlType) -> Decimal:
    """Four digits behind the point. Raises SqlError 235, 8115."""
    if isinstance(value, str):
        found = _MONEY.fullmatch(value.strip())
        if not found or (not value.strip().strip("$£¤¥€+-,. ") and value.strip() not in ("", ".")):
            if value.strip():
                raise failures.bad_money()
            return fit_money(Decimal(0), target)
        sign = "-" if "-" in (found[1], found[2]) else ""
        digits = found[3].replace(",", "")
        return fit_money(Decimal(sign + (digits if digits not in ("", ".") else "0")), target, source)
    if isinstance(value, bytes):
        size = 8 if target.name == "money" else 4
        number = int.from_bytes(value[-size:].rjust(size, b"\0"), "big", signed=True)
        return quantise(Decimal(number).scaleb(-4), 4)
    if isinstance(value, float):
        return fit_money(exact_float(value), target, source)
    if isinstance(value, int | Decimal):
        return fit_money(Decimal(value), target, source if source.name == "decimal" else None)
    if isinstance(value, DateTime):
        return fit_money(_days_since_1900(value), target, source)
    raise failures.not_allowed(source, target)


def to_float(value: Value, source: SqlType, target: SqlType) -> float:
    """A double, rounded to single precision for real. Raises SqlError 232, 8114."""
    if isinstance(value, str):
        text = value.strip(" \t\r\n")
        if not text:
            return 0.0
        if not _FLOAT.fullmatch(text):
            raise failures.cannot_convert(source, target)
        result = float(text.lower().replace("d", "e"))
    elif isinstance(value, int | float | Decimal):
        result = float(value)
    elif isinstance(value, DateTime):
        result = value.days - DAY_1900 + datetime_thirds(value.ticks) / _THIRDS_PER_DAY
    else:
        raise failures.not_allowed(source, target)
    if result in (float("inf"), float("-inf")):
        raise failures.float_overflow(target, result)
    return to_single(result, target) if target.name == "real" else result


def to_single(value: float, target: SqlType) -> float:
    """The nearest real. Raises SqlError 232."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise failures.float_overflow(target, value) from None
