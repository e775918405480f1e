"""STOPAT, STOPATMARK and STOPBEFOREMARK: where a roll forward is to end.

Times are those of the server's clock; they are compared with commit times in nanoseconds since 1970, UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from tdsproxy.commands.failure import fail
from tdsproxy.commands.operands import Operands
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.values import TICKS_PER_SECOND, DateTime, DateTimeOffset, Value

_NANOSECONDS_PER_TICK: Final = 100
_LSN_DECIMAL: Final = re.compile(r"lsn:\s*(\d{1,25})\s*$", re.IGNORECASE)
_LSN_HEX: Final = re.compile(r"lsn:\s*(?:0x)?([0-9a-f]{8}):([0-9a-f]{8}):([0-9a-f]{4})\s*$", re.IGNORECASE)
_LSN_PREFIX: Final = re.compile(r"lsn:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StopPoint:
    """One of ``time``, ``mark`` and ``lsn`` is given. ``before`` leaves out the transaction named, ``after``
    is the time (AFTER) from which on a mark counts; both times are ns since 1970."""

    moment: DateTime | None = None
    time: int | None = None
    mark: str | None = None
    lsn: int | None = None
    before: bool = False
    after: int | None = None

    @property
    def named(self) -> str | None:
        """``restorehistory.stop_at_mark_name``."""
        if self.lsn is not None:
            return f"lsn:{self.lsn}"
        return self.mark


def nanoseconds(moment: DateTime) -> int:
    """Local wall-clock time as ns since 1970, UTC. A time that a change of the clock repeats is the first."""
    seconds, ticks = divmod(moment.ticks, TICKS_PER_SECOND)
    whole = dt.datetime.fromordinal(moment.days + 1) + dt.timedelta(seconds=seconds)
    return int(whole.timestamp()) * 10**9 + ticks * _NANOSECONDS_PER_TICK


def local_time(ns: int) -> DateTime:
    """The server's wall clock at ``ns``, in steps of 100 ns."""
    seconds, rest = divmod(ns, 10**9)
    moment = DateTime.of(dt.datetime.fromtimestamp(seconds))
    return DateTime(moment.days, moment.ticks + rest // _NANOSECONDS_PER_TICK)


def time_text(ns: int) -> str:
    """As messages show it: ISO 8601 with seven digits behind the second."""
    moment = local_time(ns)
    seconds, ticks = divmod(moment.ticks, TICKS_PER_SECOND)
    day = dt.date.fromordinal(moment.days + 1)
    return f"{day}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ticks:07}"


def read_moment(value: Value) -> DateTime | None:
    """A date and time as a variable or a string has it, to 100 ns. Raises SqlError 241, 242; 3217."""
    if value is None:
        return None
    if isinstance(value, str):
        value = convert(value, t.nvarchar(4000), t.datetime2(7))
    elif isinstance(value, DateTimeOffset):
        value = convert(value, t.datetimeoffset(7), t.datetime2(7))
    if isinstance(value, DateTime):
        return value
    raise fail(3217, "STOPAT")


def read_stop_point(option: ast.Option, operands: Operands) -> StopPoint | None:
    """The point that an option names; None for STOPAT = NULL. Raises CommandError 3217, 4334, SqlError."""
    if not option.values:
        raise fail(3217, option.name)
    value = operands.value(option.values[0])
    if option.name == "STOPAT":
        moment = read_moment(value)
        return None if moment is None else StopPoint(moment, time=nanoseconds(moment))
    before = option.name == "STOPBEFOREMARK"
    text = "" if value is None else str(value)
    if _LSN_PREFIX.match(text):
        return StopPoint(lsn=_lsn(text), before=before)
    after = None
    if len(option.values) > 1:
        moment = read_moment(operands.value(option.values[1]))
        after = None if moment is None else nanoseconds(moment)
    return StopPoint(mark=text, before=before, after=after)


def _lsn(text: str) -> int:
    decimal = _LSN_DECIMAL.match(text)
    if decimal is not None:
        return int(decimal[1])
    parts = _LSN_HEX.match(text)
    if parts is None:
        raise fail(4334)
    file, block, slot = (int(part, 16) for part in parts.groups())
    return file * 10**15 + block * 10**5 + slot
