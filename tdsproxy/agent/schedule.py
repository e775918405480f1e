"""When a schedule runs: msdb's encoding of frequencies, in local time, over both changes of the clock.

Times of a schedule are wall-clock times of a zone. What runs once, or at longer steps than the clock jumps,
runs once for each of its times: a time that the clock skips counts at the end of the jump, one that it shows
twice counts the first time. What runs at steps no longer than the jump goes on at its pace: nothing
is made up for the skipped hour, and the repeated one has all its runs.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

NO_END: Final = 99991231
DAY_SECONDS: Final = 86_400
_HORIZON_DAYS: Final = 366 * 60
_MARGIN: Final = dt.timedelta(hours=3)
"""More than any clock is put forward or back by."""


class Frequency(IntEnum):
    """sysschedules.freq_type."""

    ONCE = 1
    DAILY = 4
    WEEKLY = 8
    MONTHLY = 16
    MONTHLY_RELATIVE = 32
    AGENT_START = 64
    IDLE = 128


_UNITS: Final = {2: 1, 4: 60, 8: 3600}
"""Seconds of a unit of freq_subday_interval, by freq_subday_type."""
_LAST: Final = 16
_ANY_DAY, _WEEKDAY, _WEEKEND_DAY = 8, 9, 10


@dataclass(frozen=True, slots=True)
class Schedule:
    """The fields of a row of sysschedules: dates are yyyymmdd, times hhmmss."""

    freq_type: int
    freq_interval: int = 1
    freq_subday_type: int = 1
    freq_subday_interval: int = 0
    freq_relative_interval: int = 0
    freq_recurrence_factor: int = 1
    active_start_date: int = 19900101
    active_end_date: int = NO_END
    active_start_time: int = 0
    active_end_time: int = 235959

    @property
    def step_seconds(self) -> int:
        """Seconds between the runs of a day; 0 for one run."""
        return _UNITS.get(self.freq_subday_type, 0) * max(self.freq_subday_interval, 0)


def date_of(number: int) -> dt.date:
    """A date of msdb's form yyyymmdd. Raises ValueError."""
    return dt.date(number // 10000, number // 100 % 100, number % 100)


def seconds_of(number: int) -> int:
    """Seconds from midnight of a time of msdb's form hhmmss."""
    return number // 10000 * 3600 + number // 100 % 100 * 60 + number % 100


def date_number(moment: dt.date) -> int:
    """The form yyyymmdd."""
    return moment.year * 10000 + moment.month * 100 + moment.day


def time_number(moment: dt.datetime) -> int:
    """The form hhmmss."""
    return moment.hour * 10000 + moment.minute * 100 + moment.second


def duration_number(seconds: float) -> int:
    """A run_duration, hhmmss; hours may have more than two digits."""
    whole = max(0, int(seconds))
    return whole // 3600 * 10000 + whole // 60 % 60 * 100 + whole % 60


def next_run(schedule: Schedule, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """The first run later than ``after`` (aware), in UTC; None when there is none, or none that a clock
    decides (AGENT_START, IDLE)."""
    if schedule.freq_type in (Frequency.AGENT_START, Frequency.IDLE):
        return None
    earliest = after.astimezone(zone).replace(tzinfo=None, fold=0)
    around = [(after + way).astimezone(zone).utcoffset() for way in (-_MARGIN, _MARGIN)]
    if around[0] != around[1]:  # the clock changes: what it shows does not only grow
        earliest -= abs((around[0] or dt.timedelta()) - (around[1] or dt.timedelta()))
    start = _first_day(schedule)
    # A window that spans midnight belongs to the day on which it opens.
    day = max(start, (earliest - dt.timedelta(days=1)).date())
    for _ in range(_HORIZON_DAYS):
        if day > _last_day(schedule):
            return None
        if _is_due(schedule, day, start):
            for moment in _moments(schedule, day, earliest, zone):
                if moment > after:
                    return moment
        if day == dt.date.max:
            return None
        day += dt.timedelta(days=1)
    return None


def _first_day(schedule: Schedule) -> dt.date:
    return date_of(schedule.active_start_date or 19900101)


def _last_day(schedule: Schedule) -> dt.date:
    if schedule.freq_type == Frequency.ONCE:
        return _first_day(schedule)
    return date_of(schedule.active_end_date or NO_END)


def _is_due(schedule: Schedule, day: dt.date, start: dt.date) -> bool:
    """Whether the schedule runs on the day, which is not before ``start``."""
    every = max(schedule.freq_recurrence_factor, 1)
    match schedule.freq_type:
        case Frequency.ONCE:
            return day == start
        case Frequency.DAILY:
            return (day - start).days % max(schedule.freq_interval, 1) == 0
        case Frequency.WEEKLY:
            weeks = (_sunday(day) - _sunday(start)).days // 7
            return weeks % every == 0 and bool(schedule.freq_interval >> _weekday(day) & 1)
        case Frequency.MONTHLY:
            return day.day == schedule.freq_interval and _months(start, day) % every == 0
        case Frequency.MONTHLY_RELATIVE:
            return _months(start, day) % every == 0 and _is_relative(schedule, day)
    return False


def _weekday(day: dt.date) -> int:
    """0 for Sunday to 6 for Saturday."""
    return (day.weekday() + 1) % 7


def _sunday(day: dt.date) -> dt.date:
    return day - dt.timedelta(days=_weekday(day))


def _months(start: dt.date, day: dt.date) -> int:
    return (day.year - start.year) * 12 + day.month - start.month


def _is_relative(schedule: Schedule, day: dt.date) -> bool:
    """Whether the day is the first, second, third, fourth or last of its kind in its month."""
    if not _is_kind(schedule.freq_interval, day):
        return False
    length = calendar.monthrange(day.year, day.month)[1]
    if schedule.freq_relative_interval == _LAST:
        later = range(day.day + 1, length + 1)
        return not any(_is_kind(schedule.freq_interval, day.replace(day=number)) for number in later)
    place = sum(_is_kind(schedule.freq_interval, day.replace(day=n)) for n in range(1, day.day + 1))
    return schedule.freq_relative_interval == 1 << (place - 1)


def _is_kind(kind: int, day: dt.date) -> bool:
    number = _weekday(day)
    if kind == _ANY_DAY:
        return True
    if kind == _WEEKDAY:
        return 1 <= number <= 5
    if kind == _WEEKEND_DAY:
        return number in (0, 6)
    return kind == number + 1


def _moments(
    schedule: Schedule, day: dt.date, earliest: dt.datetime, zone: dt.tzinfo
) -> Iterator[dt.datetime]:
    """The runs of a day in UTC, in order, from shortly before the local time ``earliest`` on."""
    midnight = dt.datetime.combine(day, dt.time())
    first, last = seconds_of(schedule.active_start_time), seconds_of(schedule.active_end_time)
    step = schedule.step_seconds
    if not step:
        yield instant(midnight + dt.timedelta(seconds=first), zone)
        return
    if last < first:
        last += DAY_SECONDS
    skipped = max(0, int((earliest - midnight).total_seconds()) - first) // step
    second_pass: list[dt.datetime] = []
    newest: dt.datetime | None = None
    for second in range(first + skipped * step, last + 1, step):
        wall = midnight + dt.timedelta(seconds=second)
        jump = _jump(wall, zone)
        if jump and step <= abs(jump):
            if jump > 0:
                continue  # skipped by the clock: the pace goes on behind the jump
            second_pass.append(_utc(wall, zone, fold=1))
        elif second_pass:
            yield from second_pass
            second_pass = []
        found = instant(wall, zone)
        if newest is None or found > newest:
            newest = found
            yield found
    yield from second_pass


def _utc(wall: dt.datetime, zone: dt.tzinfo, fold: int = 0) -> dt.datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)


def _jump(wall: dt.datetime, zone: dt.tzinfo) -> int:
    """Seconds by which the clock jumps at this local time: positive when it skips the time, negative when it
    shows it twice, else 0."""
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    if before is None or after is None or before == after:
        return 0
    return int((after - before).total_seconds())


def instant(wall: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The moment (UTC) of a local time: the first when the clock shows it twice; when the clock skips it,
    the first moment behind the jump."""
    if _jump(wall, zone) <= 0:
        return _utc(wall, zone)
    # Read with the offset from before the jump the time lies behind it, with that from after it before it.
    low, high = _utc(wall, zone, fold=1), _utc(wall, zone, fold=0)
    offset = high.astimezone(zone).utcoffset()
    while high - low > dt.timedelta(seconds=1):
        middle = low + dt.timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
