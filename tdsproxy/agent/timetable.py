"""Times in words: what policies say instead of the numbers of sysschedules.

``hourly``, ``hourly :15``, ``daily 02:00``, ``weekly sun 02:00``, ``weekly mon,thu 22:30``,
``monthly 1 03:00``, ``every 15m`` (or ``s``, ``h``), or five fields of cron as Debian reads them.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from tdsproxy.agent.schedule import Frequency, Schedule

CRON: Final = "cron "
"""A schedule whose name begins so runs by the cron expression behind it."""

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})$")
_EVERY: Final = re.compile(r"(\d+)\s*([smh])$")
_SUBDAY: Final = {"s": 2, "m": 4, "h": 8}
_LEAST_SECONDS: Final = 10


def parse_timetable(text: str) -> Schedule | str:
    """The schedule that the words mean, or a cron expression as it is. Raises ValueError with a sentence."""
    words = text.strip().lower().split()
    match words:
        case ["hourly"]:
            return Schedule(Frequency.DAILY, 1, 8, 1)
        case ["hourly", minute] if re.fullmatch(r":\d{2}", minute) and int(minute[1:]) < 60:
            return Schedule(Frequency.DAILY, 1, 8, 1, active_start_time=int(minute[1:]) * 100)
        case ["daily", *rest] if len(rest) <= 1:
            return Schedule(Frequency.DAILY, active_start_time=_time(rest, text))
        case ["weekly", days, *rest] if len(rest) <= 1:
            return Schedule(Frequency.WEEKLY, _bits(days, text), active_start_time=_time(rest, text))
        case ["monthly", day, *rest] if len(rest) <= 1 and day.isdecimal() and 1 <= int(day) <= 31:
            return Schedule(Frequency.MONTHLY, int(day), active_start_time=_time(rest, text))
        case ["every", *rest]:
            return _every("".join(rest), text)
    if len(words) == 5:
        from cronsim import CronSim, CronSimError

        try:
            CronSim(text.strip(), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        except CronSimError as error:
            raise ValueError(f"'{text}' is no cron expression: {error}.") from error
        return text.strip()
    raise _wrong(text)


def next_cron(expression: str, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    """The first time of a cron expression later than ``after``, in UTC."""
    from cronsim import CronSim, CronSimError

    try:
        return next(CronSim(expression, after.astimezone(zone))).astimezone(dt.UTC)
    except (CronSimError, StopIteration):
        return None


def _every(text: str, whole: str) -> Schedule:
    match = _EVERY.match(text)
    if match is None:
        raise _wrong(whole)
    number, unit = int(match[1]), match[2]
    if number < 1 or (unit == "s" and number < _LEAST_SECONDS):
        raise ValueError(f"'{whole}' is too often: every 10s at most.")
    return Schedule(Frequency.DAILY, 1, _SUBDAY[unit], number)


def _time(words: list[str], text: str) -> int:
    if not words:
        return 0
    match = _TIME.match(words[0])
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise _wrong(text)
    return int(match[1]) * 10000 + int(match[2]) * 100


def _bits(days: str, text: str) -> int:
    bits = 0
    for day in days.split(","):
        if day[:3] not in _DAYS:
            raise _wrong(text)
        bits |= 1 << _DAYS.index(day[:3])
    return bits


def _wrong(text: str) -> ValueError:
    return ValueError(
        f"'{text}' is no timetable such as 'hourly', 'daily 02:00', 'weekly sun 02:00', 'monthly 1 03:00',"
        " 'every 15m' or '0 2 * * 0'."
    )
