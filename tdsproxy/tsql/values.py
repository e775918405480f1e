"""T-SQL values as Python holds them, between SQLite's storage and the wire.

========================================  =======================================================
T-SQL type                                Python value (NULL is None everywhere)
========================================  =======================================================
bit, tinyint, smallint, int, bigint       int (bit: 0 or 1)
decimal, numeric, money, smallmoney       decimal.Decimal, quantised to the type's scale
float, real                               float
char, varchar, nchar, nvarchar, text, xml str
binary, varbinary, image, timestamp       bytes
uniqueidentifier                          uuid.UUID
date                                      Date
time                                      Time
datetime, smalldatetime, datetime2        DateTime
datetimeoffset                            DateTimeOffset (the instant in UTC, and the zone's minutes)
sql_variant                               Variant
========================================  =======================================================

The temporal values are tuples of integers: they sort as T-SQL sorts them, keep 100 ns, and the wire
codec, which knows nothing of this module, takes and gives tuples of the same shape.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from tdsproxy.tsql.types import SqlType

TICKS_PER_SECOND = 10_000_000
TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND


class Date(NamedTuple):
    """Days since 0001-01-01."""

    days: int


class Time(NamedTuple):
    """100 ns ticks since midnight."""

    ticks: int


class DateTime(NamedTuple):
    """Days since 0001-01-01 and 100 ns ticks since midnight."""

    days: int
    ticks: int

    @classmethod
    def of(cls, moment: dt.datetime) -> DateTime:
        """The same wall-clock time; any time zone is dropped."""
        midnight = moment.hour * 3600 + moment.minute * 60 + moment.second
        return cls(moment.toordinal() - 1, midnight * TICKS_PER_SECOND + moment.microsecond * 10)

    def to_python(self) -> dt.datetime:
        """Truncated to microseconds."""
        seconds, ticks = divmod(self.ticks, TICKS_PER_SECOND)
        return dt.datetime.fromordinal(self.days + 1) + dt.timedelta(
            seconds=seconds, microseconds=ticks // 10
        )


class DateTimeOffset(NamedTuple):
    """An instant (UTC days and ticks) and the offset in minutes with which it is shown."""

    days: int
    ticks: int
    offset: int


class Variant(NamedTuple):
    """A value inside sql_variant, with its base type."""

    type: SqlType
    value: int | Decimal | float | str | bytes | UUID | Date | Time | DateTime | DateTimeOffset


Value = int | Decimal | float | str | bytes | UUID | Date | Time | DateTime | DateTimeOffset | Variant | None
