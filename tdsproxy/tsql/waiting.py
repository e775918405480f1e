"""WAITFOR: how long, and waiting that can be cancelled."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import local
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.failures import bad_date
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.values import TICKS_PER_DAY, TICKS_PER_SECOND, DateTimeOffset, Time

SECONDS_PER_DAY: Final = TICKS_PER_DAY // TICKS_PER_SECOND
_TIME_OF_DAY: Final = re.compile(
    r"\s*(\d\d?):([0-5]?\d)(?::[0-5]?\d(?:[.:]\d{1,3})?)?\s*(AM|PM)?\s*", re.IGNORECASE
)
_SLICE: Final = 0.05
"""Seconds between two looks at the cancel flag."""


def is_time_of_day(text: str) -> bool:
    """Whether WAITFOR takes ``text``: a time of day, at most to the millisecond; blank is midnight."""
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        return not text.strip()
    hour, half = int(found[1]), (found[3] or "").upper()
    return hour < 24 and not (half == "PM" and hour == 0) and not (half == "AM" and hour > 12)


def wait_seconds(kind: str, made: TypedValue, now: DateTimeOffset) -> float:
    """Seconds to wait for DELAY or until TIME. An integer counts seconds, from now or from midnight; NULL
    waits not at all. Raises SqlError 241, 9815 (captured)."""
    if made.value is None:
        return 0.0
    seconds = _seconds(made)
    if kind == "DELAY":
        return max(seconds, 0.0)
    return (seconds - local(now).ticks / TICKS_PER_SECOND) % SECONDS_PER_DAY


def _seconds(made: TypedValue) -> float:
    if made.type.name in ("int", "smallint"):
        return float(str(made.value))
    if made.type.is_character:
        if made.type.length == t.MAX or not is_time_of_day(str(made.value)):
            raise bad_date()
    elif made.type.name != "datetime":
        text = f"Waitfor delay and waitfor time cannot be of type {made.type.name}."
        raise SqlError.of(9815, 16, 0, text)
    moment = convert(made.value, made.type, t.time(7))
    return moment.ticks / TICKS_PER_SECOND if isinstance(moment, Time) else 0.0


def sleep(seconds: float, cancelled: Callable[[], bool]) -> None:
    """Wait ``seconds``, or less when ``cancelled`` says so."""
    end = time.monotonic() + seconds
    while not cancelled():
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _SLICE))
