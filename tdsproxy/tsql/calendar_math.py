"""The calendar under T-SQL's temporal types: days since 0001-01-01 and 100 ns ticks since midnight."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from tdsproxy.tsql.values import TICKS_PER_DAY, TICKS_PER_SECOND, DateTime, DateTimeOffset

MAX_DAYS: Final = dt.date.max.toordinal() - 1
"""9999-12-31."""
DAY_1753: Final = dt.date(1753, 1, 1).toordinal() - 1
"""The first day of datetime."""
DAY_1900: Final = dt.date(1900, 1, 1).toordinal() - 1
"""Day zero of datetime and smalldatetime, and what an empty string means."""
SMALL_LAST: Final = dt.date(2079, 6, 6).toordinal() - 1
"""The last day of smalldatetime."""
TICKS_PER_MINUTE: Final = 60 * TICKS_PER_SECOND
TICKS_PER_HOUR: Final = 60 * TICKS_PER_MINUTE
MAX_OFFSET: Final = 14 * 60
MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Clock(NamedTuple):
    hour: int
    minute: int
    second: int
    fraction: int
    """100 ns ticks within the second."""


def days_of(year: int, month: int, day: int) -> int | None:
    """Days since 0001-01-01, or None when there is no such date."""
    try:
        return dt.date(year, month, day).toordinal() - 1
    except ValueError:
        return None


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day)."""
    date = dt.date.fromordinal(days + 1)
    return date.year, date.month, date.day


def clock(ticks: int) -> Clock:
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return Clock(hour, minute, second, fraction)


def ticks_of(hour: int, minute: int, second: int, fraction: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * TICKS_PER_SECOND + fraction


def weekday(days: int) -> int:
    """0 is Monday: 0001-01-01 was one."""
    return days % 7


def month_length(year: int, month: int) -> int:
    if month == 12:
        return 31
    return (dt.date(year, month + 1, 1) - dt.date(year, month, 1)).days


def add_months(days: int, months: int) -> int | None:
    """The same day ``months`` later, or the month's last; None outside 0001..9999."""
    year, month, day = civil(days)
    year, month = divmod(year * 12 + month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return None
    return days_of(year, month + 1, min(day, month_length(year, month + 1)))


def total(days: int, ticks: int) -> int:
    """One number for a moment: ticks since 0001-01-01."""
    return days * TICKS_PER_DAY + ticks


def split(moment: int) -> DateTime:
    days, ticks = divmod(moment, TICKS_PER_DAY)
    return DateTime(days, ticks)


def round_datetime(days: int, ticks: int) -> DateTime:
    """The nearest datetime: a multiple of 1/300 s, held as its milliseconds (.000, .003, .007)."""
    thirds = (ticks * 300 + TICKS_PER_SECOND // 2) // TICKS_PER_SECOND
    carry, thirds = divmod(thirds, 300 * 86_400)
    seconds, rest = divmod(thirds, 300)
    return DateTime(days + carry, seconds * TICKS_PER_SECOND + (rest * 10 + 1) // 3 * 10_000)


def datetime_thirds(ticks: int) -> int:
    """The 1/300 s units of a datetime's time of day."""
    return (ticks * 300 + TICKS_PER_SECOND // 2) // TICKS_PER_SECOND


def round_minute(days: int, ticks: int) -> DateTime:
    """The nearest smalldatetime: 29.998 seconds go down, 29.999 up."""
    ticks = round_datetime(0, ticks).ticks + round_datetime(0, ticks).days * TICKS_PER_DAY
    minutes = (ticks + 30 * TICKS_PER_SECOND) // TICKS_PER_MINUTE
    carry, minutes = divmod(minutes, 24 * 60)
    return DateTime(days + carry, minutes * TICKS_PER_MINUTE)


def round_scale(ticks: int, scale: int) -> int:
    """Ticks rounded half up to ``scale`` digits of a second; may reach a whole day."""
    unit: int = 10 ** (7 - scale)
    return (ticks + unit // 2) // unit * unit


def local(value: DateTimeOffset) -> DateTime:
    """The wall clock where the offset is."""
    return split(total(value.days, value.ticks) + value.offset * TICKS_PER_MINUTE)


def at_offset(moment: DateTime, offset: int) -> DateTimeOffset:
    """The instant at which a wall clock ``offset`` minutes east of UTC shows ``moment``."""
    utc = split(total(moment.days, moment.ticks) - offset * TICKS_PER_MINUTE)
    return DateTimeOffset(utc.days, utc.ticks, offset)
