"""FORMAT: the common .NET format strings of dates and numbers, culture en-US."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import MONTHS, WEEKDAYS, civil, clock, local, weekday
from tdsproxy.tsql.converting.numbers import CONTEXT
from tdsproxy.tsql.functions.arguments import always, invalid_argument
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value

_STANDARD_DATES: Final = {
    "d": "M/d/yyyy",
    "D": "dddd, MMMM d, yyyy",
    "f": "dddd, MMMM d, yyyy h:mm tt",
    "F": "dddd, MMMM d, yyyy h:mm:ss tt",
    "g": "M/d/yyyy h:mm tt",
    "G": "M/d/yyyy h:mm:ss tt",
    "M": "MMMM d",
    "m": "MMMM d",
    "o": "yyyy-MM-ddTHH:mm:ss.fffffff",
    "O": "yyyy-MM-ddTHH:mm:ss.fffffff",
    "s": "yyyy-MM-ddTHH:mm:ss",
    "t": "h:mm tt",
    "T": "h:mm:ss tt",
    "u": "yyyy-MM-dd HH:mm:ssZ",
    "y": "MMMM yyyy",
    "Y": "MMMM yyyy",
}
_DATE_TOKEN: Final = re.compile(
    r"yyyy|yyy|yy|y|MMMM|MMM|MM|M|dddd|ddd|dd|d|HH|H|hh|h|mm|m|ss|s|f{1,7}|F{1,7}|tt|t|zzz|zz|z|K"
    r"|'[^']*'|\"[^\"]*\"|\\.|%|."
)
_STANDARD_NUMBER: Final = re.compile(r"([CcDdEeFfGgNnPpXx])(\d{0,2})")


def format_date(value: Value, form: str) -> str | None:
    """``value`` in a .NET date format; None when the value has no such parts."""
    offset: int | None = None
    if isinstance(value, DateTimeOffset):
        here, offset = local(value), value.offset
    elif isinstance(value, DateTime):
        here = value
    elif isinstance(value, Date):
        here = DateTime(value.days, 0)
    elif isinstance(value, Time):
        here = DateTime(0, value.ticks)
    else:
        return None
    form = _STANDARD_DATES.get(form, form)
    return "".join(_date_piece(found[0], here, offset) for found in _DATE_TOKEN.finditer(form))


def _date_piece(token: str, here: DateTime, offset: int | None) -> str:
    year, month, day = civil(here.days)
    time = clock(here.ticks)
    hour12 = time.hour % 12 or 12
    if token[0] in "'\"":
        return token[1:-1]
    if token[0] == "\\":
        return token[1:]
    if token == "%":
        return ""
    if set(token) <= {"f", "F"}:
        digits = f"{time.fraction:07}"[: len(token)]
        return digits if token[0] == "f" else digits.rstrip("0")
    made = {
        "yyyy": f"{year:04}",
        "yyy": f"{year:03}",
        "yy": f"{year % 100:02}",
        "y": str(year % 100),
        "MMMM": MONTHS[month - 1],
        "MMM": MONTHS[month - 1][:3],
        "MM": f"{month:02}",
        "M": str(month),
        "dddd": WEEKDAYS[weekday(here.days)],
        "ddd": WEEKDAYS[weekday(here.days)][:3],
        "dd": f"{day:02}",
        "d": str(day),
        "HH": f"{time.hour:02}",
        "H": str(time.hour),
        "hh": f"{hour12:02}",
        "h": str(hour12),
        "mm": f"{time.minute:02}",
        "m": str(time.minute),
        "ss": f"{time.second:02}",
        "s": str(time.second),
        "tt": "AM" if time.hour < 12 else "PM",
        "t": "A" if time.hour < 12 else "P",
        "zzz": _zone(offset),
        "zz": _zone(offset)[:3],
        "z": str(int(_zone(offset)[:3])),
        "K": "" if offset is None else _zone(offset),
    }
    return made.get(token, token)


def _zone(offset: int | None) -> str:
    minutes = offset or 0
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def format_number(value: int | float | Decimal, form: str) -> str:
    """``value`` in a .NET number format."""
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    standard = _STANDARD_NUMBER.fullmatch(form)
    if standard:
        return _standard_number(number, standard[1], standard[2])
    return _custom_number(number, form)


def _rounded(number: Decimal, digits: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, CONTEXT)


def _standard_number(number: Decimal, kind: str, places: str) -> str:
    upper = kind.upper()
    digits = int(places) if places else 2
    if upper == "N":
        return f"{_rounded(number, digits):,f}"
    if upper == "F":
        return f"{_rounded(number, digits):f}"
    if upper == "C":
        text = f"${_rounded(number.copy_abs(), digits):,f}"
        return f"-{text}" if number < 0 else text
    if upper == "P":
        return f"{_rounded(CONTEXT.multiply(number, Decimal(100)), digits):,f}%"
    if upper == "D":
        text = str(abs(int(number))).rjust(int(places or 0), "0")
        return "-" + text if number < 0 else text
    if upper == "X":
        units = int(number) & 0xFFFFFFFFFFFFFFFF if number < 0 else int(number)
        made = f"{units:x}".rjust(int(places or 0), "0")
        return made.upper() if kind == "X" else made
    if upper == "E":
        mantissa, _, exponent = f"{number:.{int(places) if places else 6}e}".partition("e")
        return f"{mantissa}{kind}{exponent[0]}{int(exponent[1:]):03}"
    return f"{number:f}"


def _custom_number(number: Decimal, form: str) -> str:
    sections = form.split(";")
    if len(sections) > 2 and number == 0:
        return _custom_section(Decimal(0), sections[2])
    if len(sections) > 1 and number < 0:
        return _custom_section(number.copy_abs(), sections[1])
    text = _custom_section(number.copy_abs(), sections[0])
    return "-" + text if number < 0 else text


def _custom_section(number: Decimal, form: str) -> str:
    found = re.search(r"[0#][0#,.]*", form)
    if not found:
        return form
    pattern = found[0]
    if "%" in form:
        number = CONTEXT.multiply(number, Decimal(100))
    whole, _, fraction = pattern.partition(".")
    text = f"{_rounded(number, len(fraction)):f}"
    head, _, tail = text.partition(".")
    least = len(fraction.rstrip("#"))
    tail = tail.rstrip("0").ljust(least, "0")
    head = "" if head == "0" else head
    head = head.rjust(whole.count("0"), "0")
    if "," in whole:
        head = f"{int(head or 0):,}".rjust(len(head), "0") if head else head
    made = head + ("." + tail if tail else "")
    return form[: found.start()] + made + form[found.end() :]


def _format(
    value: Value, form: Value, culture: Value = None, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> str | None:
    if value is None or form is None:
        return None
    if isinstance(value, int | float | Decimal):
        return format_number(value, str(form))
    made = format_date(value, str(form))
    if made is None:
        raise invalid_argument(arg_types[0], 1, "format")
    return made


FUNCTIONS: Final = (
    FunctionDef("FORMAT", 2, 3, always(t.nvarchar(4000)), _format, strict=False, wants_types=True),
)
