"""Dates and times read from text, and written in CONVERT's styles.

The forms read are those that SQL Server takes under us_english (sql-docs, "date and time data types"):
ISO 8601, unseparated, numeric with ``/ - .``, with month names; a time alone or beside a date.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from tdsproxy.tsql.calendar_math import DAY_1900, MONTHS, civil, clock, days_of, ticks_of
from tdsproxy.tsql.languages import LANGUAGE
from tdsproxy.tsql.values import TICKS_PER_DAY

_TIME = re.compile(
    r"(?<![\d:])(?:(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:([.:])(\d{1,9}))?)?\s*(AM|PM)?|(\d{1,2})\s*(AM|PM))(?![\d:A-Z])",
    re.IGNORECASE,
)
_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2})?", re.IGNORECASE
)
_OFFSET = re.compile(r"(?<=[\dMm])\s*(Z|[+-]\d{1,2}:\d{2})$")
_NUMERIC = re.compile(r"(\d{1,4})\s*([/.-])\s*(\d{1,2})\s*([/.-])\s*(\d{1,4})")
_WORDS = re.compile(r"[A-Za-z]+|\d+")
_TWO_DIGIT_CUTOFF: Final = 49
DATE_FORMAT: Final[ContextVar[str]] = ContextVar("DATE_FORMAT", default="mdy")
"""SET DATEFORMAT of the session that this thread serves."""
_STYLE_ORDER: Final = {
    **dict.fromkeys((1, 101, 10, 110, 22), "mdy"),
    **dict.fromkeys((3, 103, 4, 104, 5, 105, 6, 106, 13, 113), "dmy"),
    **dict.fromkeys((2, 102, 11, 111, 12, 112, 20, 120, 21, 121, 23, 25, 126, 127), "ymd"),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What a text says: ``days`` 1900-01-01 and ``ticks`` 0 where it says nothing."""

    days: int
    ticks: int
    offset: int | None = None
    fraction_digits: int = 0
    has_date: bool = False


class OutOfRange(ValueError):
    """The text has the form of a date, but there is no such date or time."""


def parse(text: str, style: int = 0, date_format: str | None = None) -> Moment:
    """Read ``text``. Raises ValueError when it has no form of a date, OutOfRange when there is no such."""
    text = text.strip()
    if not text:
        return Moment(DAY_1900, 0)
    iso = _ISO.fullmatch(text)
    if iso:
        year, month, day, hour, minute, second, fraction, zone = iso.groups()
        return Moment(
            _days(int(year), int(month), int(day)),
            _ticks(int(hour), int(minute), int(second or 0), _fraction(fraction or "", ".")),
            None if zone is None else _offset(zone),
            len(fraction or ""),
            True,
        )
    ticks, digits, rest, offset = _cut_time(text)
    rest = rest.strip().rstrip(",").strip()
    if not rest:
        return Moment(DAY_1900, ticks, offset, digits)
    return Moment(
        _parse_date(rest, _STYLE_ORDER.get(style) or date_format or DATE_FORMAT.get()),
        ticks,
        offset,
        digits,
        True,
    )


def _cut_time(text: str) -> tuple[int, int, str, int | None]:
    """(ticks, digits of the fraction, what is left, offset)."""
    offset = None
    zone = _OFFSET.search(text)
    if zone and ":" in text[: zone.start()]:
        offset = _offset(zone[1])
        text = text[: zone.start()]
    found = _TIME.search(text)
    if not found:
        if offset is not None:
            raise ValueError(text)
        return 0, 0, text, None
    hour, minute, second, point, fraction, half, bare_hour, bare_half = found.groups()
    ticks = _ticks(
        _hour(int(hour or bare_hour), half or bare_half),
        int(minute or 0),
        int(second or 0),
        _fraction(fraction or "", point or "."),
    )
    rest = text[: found.start()] + " " + text[found.end() :]
    return ticks, len(fraction or "") if point == "." else 3 if fraction else 0, rest, offset


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if hour > 12 and half.upper() == "PM":
        return hour
    if not 0 <= hour <= 12:
        raise OutOfRange(f"{hour} {half}")
    return hour % 12 + (12 if half.upper() == "PM" else 0)


def _fraction(digits: str, point: str) -> int:
    """Ticks; behind a colon the digits count milliseconds."""
    if not digits:
        return 0
    if point == ":":
        return int(digits[:3]) * 10_000
    return (int(digits.ljust(9, "0")) + 50) // 100


def _ticks(hour: int, minute: int, second: int, fraction: int) -> int:
    if hour > 23 or minute > 59 or second > 59:
        raise OutOfRange(f"{hour}:{minute}:{second}")
    return min(ticks_of(hour, minute, second, fraction), TICKS_PER_DAY - 1)


def _offset(text: str) -> int:
    if text in "Zz":
        return 0
    hours, minutes = text[1:].split(":")
    offset = int(hours) * 60 + int(minutes)
    if offset > 14 * 60 or int(minutes) > 59:
        raise OutOfRange(text)
    return -offset if text[0] == "-" else offset


def _days(year: int, month: int, day: int) -> int:
    days = days_of(year, month, day)
    if days is None:
        raise OutOfRange(f"{year}-{month}-{day}")
    return days


def _year(text: str) -> int:
    if len(text) > 2:
        return int(text)
    number = int(text)
    return number + (2000 if number <= _TWO_DIGIT_CUTOFF else 1900)


def _parse_date(text: str, order: str) -> int:
    if text.isdigit():
        if len(text) == 8:
            return _days(int(text[:4]), int(text[4:6]), int(text[6:]))
        if len(text) == 6:
            return _days(_year(text[:2]), int(text[2:4]), int(text[4:]))
        if len(text) == 4:
            return _days(int(text), 1, 1)
        raise ValueError(text)
    numeric = _NUMERIC.fullmatch(text)
    if numeric:
        first, _, second, _, third = numeric.groups()
        return _parse_numeric(first, second, third, order)
    return _parse_named(text)


def _parse_numeric(first: str, second: str, third: str, order: str) -> int:
    if len(first) > 2:
        if order == "dmy" or order == "ydm":
            return _days(int(first), int(third), int(second))
        return _days(int(first), int(second), int(third))
    parts = dict(zip(order, (first, second, third), strict=True))
    if len(third) > 2 and order[2] != "y":
        parts = dict(zip(order.replace("y", "") + "y", (first, second, third), strict=True))
    if len(parts["m"]) > 2 or len(parts["d"]) > 2:
        raise ValueError(f"{first}/{second}/{third}")
    return _days(_year(parts["y"]), int(parts["m"]), int(parts["d"]))


def _parse_named(text: str) -> int:
    """``Jan 31 2024``, ``31-Jan-2024``, ``January 2024``, ``2024 Jan 31``."""
    if not re.fullmatch(r"[A-Za-z0-9 ,./-]+", text):
        raise ValueError(text)
    words = _WORDS.findall(text)
    months = [_month(word) for word in words if word.isalpha()]
    numbers = [word for word in words if word.isdigit()]
    if len(months) != 1 or not 1 <= len(numbers) <= 2:
        raise ValueError(text)
    if len(numbers) == 1:
        if len(numbers[0]) != 4:
            raise ValueError(text)
        return _days(int(numbers[0]), months[0], 1)
    if len(numbers[0]) == 4:
        numbers.reverse()
    day, year = numbers
    if len(day) > 2 or len(year) not in (2, 4):
        raise ValueError(text)
    return _days(_year(year), months[0], int(day))


def _month(word: str) -> int:
    lower = word.lower()
    language = LANGUAGE.get()
    for index, names in enumerate(zip(language.months, language.short_months, strict=True)):
        if lower in (name.lower() for name in names):
            return index + 1
    for index, name in enumerate(MONTHS):
        if lower in (name.lower(), name[:3].lower()):
            return index + 1
    raise ValueError(word)


# --------------------------------------------------------------------------- styles

_DATE_STYLES: Final = {
    0: "{mon} {day:2} {year}",
    1: "{month:02}/{day:02}/{yy:02}",
    2: "{yy:02}.{month:02}.{day:02}",
    3: "{day:02}/{month:02}/{yy:02}",
    4: "{day:02}.{month:02}.{yy:02}",
    5: "{day:02}-{month:02}-{yy:02}",
    6: "{day:02} {mon} {yy:02}",
    7: "{mon} {day:02}, {yy:02}",
    10: "{month:02}-{day:02}-{yy:02}",
    11: "{yy:02}/{month:02}/{day:02}",
    12: "{yy:02}{month:02}{day:02}",
    13: "{day:02} {mon} {year}",
    20: "{year:04}-{month:02}-{day:02}",
}
_LONG_DATES: Final = {
    101: "{month:02}/{day:02}/{year:04}",
    102: "{year:04}.{month:02}.{day:02}",
    103: "{day:02}/{month:02}/{year:04}",
    104: "{day:02}.{month:02}.{year:04}",
    105: "{day:02}-{month:02}-{year:04}",
    106: "{day:02} {mon} {year:04}",
    107: "{mon} {day:02}, {year:04}",
    110: "{month:02}-{day:02}-{year:04}",
    111: "{year:04}/{month:02}/{day:02}",
    112: "{year:04}{month:02}{day:02}",
}
# style -> (date style, separator, time style); a time style is one of the words of _time_text
_STYLES: Final[dict[int, tuple[str | None, str, str | None]]] = {
    **{
        style: (text, "", None) for style, text in _DATE_STYLES.items() if style in (*range(1, 8), 10, 11, 12)
    },
    **{style: (text, "", None) for style, text in _LONG_DATES.items()},
    **dict.fromkeys((0, 100), (_DATE_STYLES[0], " ", "short12")),
    **dict.fromkeys((8, 24, 108), (None, "", "seconds")),
    **dict.fromkeys((9, 109), (_DATE_STYLES[0], " ", "full12")),
    **dict.fromkeys((13, 113), (_DATE_STYLES[13], " ", "colon")),
    **dict.fromkeys((14, 114), (None, "", "colon")),
    **dict.fromkeys((20, 120), (_DATE_STYLES[20], " ", "seconds")),
    **dict.fromkeys((21, 25, 121), (_DATE_STYLES[20], " ", "full")),
    22: (_DATE_STYLES[1], " ", "seconds12"),
    23: (_DATE_STYLES[20], "", None),
    126: (_DATE_STYLES[20], "T", "iso"),
    127: (_DATE_STYLES[20], "T", "iso"),
}


def is_style(style: int) -> bool:
    return style in _STYLES


def render(
    style: int,
    days: int | None,
    ticks: int | None,
    digits: int,
    offset: int | None = None,
    *,
    legacy: bool = False,
) -> str | None:
    """Text in ``style``; ``days`` or ``ticks`` None for types without them. None when the style shows
    nothing that the type has. ``legacy`` is for datetime and smalldatetime: milliseconds behind a colon in
    the styles that do so, and none at all in ISO style when they are zero."""
    date_form, separator, time_form = _STYLES[style]
    date = None
    if date_form and days is not None:
        year, month, day = civil(days)
        mon = LANGUAGE.get().short_months[month - 1]
        date = date_form.format(year=year, yy=year % 100, month=month, day=day, mon=mon)
    time = None
    if time_form and ticks is not None:
        time = _time_text(time_form, ticks, digits, legacy, alone=date is None)
    if date is None and time is None:
        return None
    text = date + separator + time if date is not None and time is not None else date or time
    if offset is not None and text is not None and time is not None:
        if style == 127:
            return text + "Z"
        sign = "-" if offset < 0 else "+"
        hours, minutes = divmod(abs(offset), 60)
        text += f"{'' if time_form == 'iso' else ' '}{sign}{hours:02}:{minutes:02}"
    return text


def _time_text(form: str, ticks: int, digits: int, legacy: bool, *, alone: bool) -> str:
    hour, minute, second, fraction = clock(ticks)
    tail = f"{fraction:07}"[:digits]
    half = "AM" if hour < 12 else "PM"
    hour12 = hour % 12 or 12
    if form == "seconds":
        return f"{hour:02}:{minute:02}:{second:02}"
    if form == "short12":
        return f"{hour12}:{minute:02}{half}" if alone else f"{hour12:2}:{minute:02}{half}"
    if form == "seconds12":
        return f"{hour12:2}:{minute:02}:{second:02} {half}"
    if form == "full12":
        mark = ":" if legacy else "."
        return f"{hour12:2}:{minute:02}:{second:02}{mark + tail if tail else ''}{half}"
    if form == "colon":
        mark = ":" if legacy else "."
        return f"{hour:02}:{minute:02}:{second:02}{mark + tail if tail else ''}"
    if form == "iso" and (not fraction and legacy):
        tail = ""
    return f"{hour:02}:{minute:02}:{second:02}{'.' + tail if tail else ''}"
