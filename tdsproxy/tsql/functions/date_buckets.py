"""DATE_BUCKET: the beginning of the bucket of fixed width that a moment falls into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql import ast, failures
from tdsproxy.tsql.calendar_math import add_months, civil, days_of, split, total
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import integer, invalid_argument
from tdsproxy.tsql.functions.dates import UNITS, in_shape, moment, part_of
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import TICKS_PER_DAY, DateTime, Time, Value

_MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}
_TICKS: Final = {"week": 7 * TICKS_PER_DAY, "day": TICKS_PER_DAY, **UNITS}
_ORIGIN: Final = DateTime(days_of(1900, 1, 1) or 0, 0)
"""A Monday."""


def _type(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    if not types[2].is_temporal:
        raise invalid_argument(types[2], 3, "date_bucket")
    return types[2]


def _date_bucket(
    part: str,
    width: Value,
    value: Value,
    *origin: Value,
    arg_types: Sequence[SqlType],
    result_type: SqlType,
) -> Value:
    """Raises SqlError 155, 517, 9810, 9834."""
    unit = part_of(part, "date_bucket")
    if unit == "microsecond" or (unit not in _MONTHS and unit not in _TICKS):
        words = f"The datepart {unit} is not supported by date function date_bucket for data type"
        raise SqlError.of(9810, 16, 1, f"{words} {result_type.name}.")
    size = integer(width, arg_types[1])
    if size <= 0:
        words = "Invalid bucket width value passed to date_bucket function. Only positive values are allowed."
        raise SqlError.of(9834, 16, 1, words)
    here = moment(value, result_type)[0]
    first = moment(origin[0], arg_types[3])[0] if origin else _ORIGIN
    if unit in _MONTHS:
        made = _by_months(first, here, size * _MONTHS[unit])
    else:
        made = _by_ticks(first, here, size * _TICKS[unit])
    if made is None:
        raise failures.date_overflow(result_type)
    return Time(made.ticks) if isinstance(value, Time) else in_shape(made, value, result_type)


def _by_ticks(first: DateTime, here: DateTime, width: int) -> DateTime:
    start, now = total(first.days, first.ticks), total(here.days, here.ticks)
    return split(start + (now - start) // width * width)


def _by_months(first: DateTime, here: DateTime, width: int) -> DateTime | None:
    """None past an end of the calendar."""
    (first_year, first_month, _), (year, month, _) = civil(first.days), civil(here.days)
    steps = ((year - first_year) * 12 + month - first_month) // width
    days = add_months(first.days, steps * width)
    if days is not None and (days, first.ticks) > here:
        days = add_months(first.days, (steps - 1) * width)
    return None if days is None else DateTime(days, first.ticks)


FUNCTIONS: Final = (FunctionDef("DATE_BUCKET", 3, 4, _type, _date_bucket, wants_types=True),)
