"""WAITFOR: how long, and waiting that can be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import local
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.values import TICKS_PER_DAY, TICKS_PER_SECOND, DateTimeOffset, Time

_SLICE: Final = 0.05
"""Seconds between two looks at the cancel flag."""


def wait_seconds(kind: str, made: TypedValue, now: DateTimeOffset) -> float:
    """Seconds to wait for DELAY or until TIME. Raises SqlError 148."""
    try:
        value = convert(made.value, made.type, t.time(7) if made.type.is_character else t.DATETIME)
        moment = convert(value, t.time(7) if isinstance(value, Time) else t.DATETIME, t.time(7))
    except SqlError:
        shown = made.value if isinstance(made.value, str) else ""
        text = f"Incorrect time syntax in time string '{shown}' used with WAITFOR."
        raise SqlError.of(148, 15, 1, text) from None
    if not isinstance(moment, Time):
        return 0.0
    if kind == "DELAY":
        return moment.ticks / TICKS_PER_SECOND
    here = local(now)
    return ((moment.ticks - here.ticks) % TICKS_PER_DAY) / TICKS_PER_SECOND


def sleep(seconds: float, cancelled: Callable[[], bool]) -> None:
    """Wait ``seconds``, or less when ``cancelled`` says so."""
    end = time.monotonic() + seconds
    while not cancelled():
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _SLICE))
