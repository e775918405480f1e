"""AT TIME ZONE, and the names of time zones that it takes: those of Windows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tdsproxy.tsql import failures
from tdsproxy.tsql.calendar_math import at_offset
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import invalid_argument, text
from tdsproxy.tsql.functions.dates import moment, offset_type
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value

_TICKS_PER_SECOND: Final = 10_000_000
_MINUTE: Final = dt.timedelta(minutes=1)


@lru_cache(maxsize=1)
def zone_names() -> Mapping[str, str]:
    """The names of Windows' time zones as they are written, each with its zone of the tz database."""
    from tzlocal.windows_tz import win_tz

    return dict(win_tz)


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo | None:
    """The zone of a name of Windows in any case; None when there is none."""
    known = next((place for found, place in zone_names().items() if found.lower() == name.lower()), None)
    try:
        return None if known is None else ZoneInfo(known)
    except ZoneInfoNotFoundError:
        return None


def offset_at(zone: ZoneInfo, wall: DateTime) -> int:
    """The minutes that a wall clock of ``zone`` is ahead of UTC. The hour that comes twice is the first one;
    for one that is skipped it is the offset before the change."""
    offset = _clock(wall).replace(tzinfo=zone).utcoffset()
    return 0 if offset is None else round(offset / _MINUTE)


def _clock(moment: DateTime) -> dt.datetime:
    return dt.datetime.fromordinal(moment.days + 1) + dt.timedelta(seconds=moment.ticks // _TICKS_PER_SECOND)


def _at_zone(
    value: Value, name: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> DateTimeOffset:
    """Raises SqlError 8116, 9820."""
    given = arg_types[0]
    if given.name not in ("datetime", "smalldatetime", "datetime2", "datetimeoffset"):
        raise invalid_argument(given, 1, "AT TIME ZONE")
    written = text(name, arg_types[1])
    found = zone(written)
    if found is None:
        words = f"The time zone parameter '{written}' provided to AT TIME ZONE clause is invalid."
        raise SqlError.of(9820, 16, 1, words)
    try:
        made = value
        if not isinstance(made, DateTimeOffset):
            here, _ = moment(value, given)
            made = at_offset(here, offset_at(found, here))
        instant = _clock(DateTime(made.days, made.ticks)).replace(tzinfo=dt.UTC)
        offset = instant.astimezone(found).utcoffset() or dt.timedelta(0)
    except (OverflowError, ValueError):  # over an end of the calendar
        raise failures.date_overflow(result_type) from None
    return DateTimeOffset(made.days, made.ticks, round(offset / _MINUTE))


FUNCTIONS: Final = (FunctionDef("AT TIME ZONE", 2, 2, offset_type, _at_zone, wants_types=True),)
