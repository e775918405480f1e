"""Functions of date and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql import ast, date_text, failures
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import (
    DAY_1753,
    MAX_DAYS,
    TICKS_PER_HOUR,
    TICKS_PER_MINUTE,
    add_months,
    at_offset,
    civil,
    clock,
    days_of,
    local,
    month_length,
    round_datetime,
    round_minute,
    round_scale,
    split,
    ticks_of,
    total,
    weekday,
)
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import always, integer, literal_int
from tdsproxy.tsql.functions.registry import FunctionContext, FunctionDef, ResultRule
from tdsproxy.tsql.languages import LANGUAGE
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import (
    TICKS_PER_DAY,
    TICKS_PER_SECOND,
    Date,
    DateTime,
    DateTimeOffset,
    Time,
    Value,
)

_PARTS: Final = {
    **dict.fromkeys(("year", "yy", "yyyy"), "year"),
    **dict.fromkeys(("quarter", "qq", "q"), "quarter"),
    **dict.fromkeys(("month", "mm", "m"), "month"),
    **dict.fromkeys(("dayofyear", "dy", "y"), "dayofyear"),
    **dict.fromkeys(("day", "dd", "d"), "day"),
    **dict.fromkeys(("week", "wk", "ww"), "week"),
    **dict.fromkeys(("weekday", "dw", "w"), "weekday"),
    **dict.fromkeys(("hour", "hh"), "hour"),
    **dict.fromkeys(("minute", "mi", "n"), "minute"),
    **dict.fromkeys(("second", "ss", "s"), "second"),
    **dict.fromkeys(("millisecond", "ms"), "millisecond"),
    **dict.fromkeys(("microsecond", "mcs"), "microsecond"),
    **dict.fromkeys(("nanosecond", "ns"), "nanosecond"),
    **dict.fromkeys(("tzoffset", "tz"), "tzoffset"),
    **dict.fromkeys(("iso_week", "isowk", "isoww"), "iso_week"),
}
UNITS: Final = {
    "hour": TICKS_PER_HOUR,
    "minute": TICKS_PER_MINUTE,
    "second": TICKS_PER_SECOND,
    "millisecond": TICKS_PER_SECOND // 1000,
    "microsecond": 10,
}


def part_of(name: str, function: str) -> str:
    """The canonical name of a datepart. Raises SqlError 155."""
    part = _PARTS.get(name.lower())
    if part is None:
        raise SqlError.of(155, 15, 1, f"'{name}' is not a recognized {function} option.")
    return part


def moment(value: Value, type_: SqlType) -> tuple[DateTime, SqlType]:
    """A temporal argument as a wall clock, with its type; text and numbers are taken as datetime (text with
    more digits as datetime2)."""
    if isinstance(value, DateTime):
        return value, type_
    if isinstance(value, Date):
        return DateTime(value.days, 0), type_
    if isinstance(value, Time):
        return DateTime(days_of(1900, 1, 1) or 0, value.ticks), type_
    if isinstance(value, DateTimeOffset):
        return local(value), type_
    if isinstance(value, str):
        wide = convert(value, type_, t.datetimeoffset(7))
        if isinstance(wide, DateTimeOffset):
            return local(wide), t.datetimeoffset(7)
    made = convert(value, type_, t.DATETIME)
    if not isinstance(made, DateTime):
        raise failures.bad_date()
    return made, t.DATETIME


# --------------------------------------------------------------------------- the time now


def _now(context: FunctionContext) -> DateTime:
    here = local(context.now())
    return round_datetime(here.days, here.ticks)


def _utc_now(context: FunctionContext) -> DateTime:
    now = context.now()
    return round_datetime(now.days, now.ticks)


def _system_now(context: FunctionContext) -> DateTime:
    return local(context.now())


def _system_utc(context: FunctionContext) -> DateTime:
    now = context.now()
    return DateTime(now.days, now.ticks)


def _system_offset(context: FunctionContext) -> DateTimeOffset:
    return context.now()


# --------------------------------------------------------------------------- DATEADD


def _dateadd_type(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    return types[2] if types[2].is_temporal else t.DATETIME


def dateadd(
    part: str, number: Value, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    """Raises SqlError 155, 517, 9810."""
    unit = part_of(part, "dateadd")
    count = integer(number, arg_types[1])
    if isinstance(value, str):
        value = convert(value, arg_types[2], t.DATETIME)
    here, _ = moment(value, arg_types[2] if not isinstance(value, DateTime) else result_type)
    _check_part(unit, result_type, "dateadd")
    if unit in ("year", "quarter", "month"):
        months = count * {"year": 12, "quarter": 3, "month": 1}[unit]
        days = add_months(here.days, months)
        if days is None:
            raise failures.date_overflow(result_type)
        return in_shape(DateTime(days, here.ticks), value, result_type)
    if unit in ("day", "dayofyear", "weekday", "week"):
        step = count * (7 if unit == "week" else 1) * TICKS_PER_DAY
    elif unit == "nanosecond":
        step = (count + 50) // 100 if count >= 0 else -((50 - count) // 100)
    else:
        step = count * UNITS[unit]
    if isinstance(value, Time):
        return Time(round_scale((value.ticks + step) % TICKS_PER_DAY, _scale(result_type)) % TICKS_PER_DAY)
    return in_shape(split(total(here.days, here.ticks) + step), value, result_type)


def _scale(type_: SqlType) -> int:
    return 7 if type_.scale is None else type_.scale


def _check_part(unit: str, type_: SqlType, function: str) -> None:
    clock_part = unit in ("hour", "minute", "second", "millisecond", "microsecond", "nanosecond")
    if (type_.name == "date" and clock_part) or (type_.name == "time" and not clock_part):
        text = f"The datepart {unit} is not supported by date function {function} for data type {type_.name}."
        raise SqlError.of(9810, 16, 1, text)


def in_shape(made: DateTime, value: Value, type_: SqlType) -> Value:
    """A wall clock in the shape of the original value."""
    low = DAY_1753 if type_.name == "datetime" else 0
    if not low <= made.days <= MAX_DAYS:
        raise failures.date_overflow(type_)
    if type_.name == "date":
        return Date(made.days)
    if type_.name == "datetime":
        return round_datetime(made.days, made.ticks)
    if type_.name == "smalldatetime":
        return round_minute(made.days, made.ticks)
    if isinstance(value, DateTimeOffset):
        return at_offset(made, value.offset)
    return made


# --------------------------------------------------------------------------- DATEDIFF


def _boundaries(part: str, function: str, one: Value, two: Value, types: Sequence[SqlType]) -> int:
    unit = part_of(part, function)
    start, end = _instant(one, types[1]), _instant(two, types[2])
    if unit in ("year", "quarter", "month"):
        (y1, m1, _), (y2, m2, _) = civil(start.days), civil(end.days)
        if unit == "year":
            return y2 - y1
        if unit == "quarter":
            return (y2 * 4 + (m2 - 1) // 3) - (y1 * 4 + (m1 - 1) // 3)
        return (y2 * 12 + m2) - (y1 * 12 + m1)
    if unit in ("day", "dayofyear", "weekday"):
        return end.days - start.days
    if unit in ("week", "iso_week"):  # weeks begin on Sunday, whatever DATEFIRST says
        return (end.days + 1) // 7 - (start.days + 1) // 7
    first, last = total(start.days, start.ticks), total(end.days, end.ticks)
    if unit == "nanosecond":
        return (last - first) * 100
    if unit not in UNITS:
        raise SqlError.of(9806, 16, 1, f"The datepart {unit} is not supported by date function {function}.")
    size = UNITS[unit]
    return last // size - first // size


def _instant(value: Value, type_: SqlType) -> DateTime:
    """DATEDIFF compares the instants of datetimeoffsets, in UTC."""
    if isinstance(value, DateTimeOffset):
        return DateTime(value.days, value.ticks)
    if isinstance(value, str):
        wide = convert(value, type_, t.datetimeoffset(7))
        if isinstance(wide, DateTimeOffset):
            return DateTime(wide.days, wide.ticks)
    return moment(value, type_)[0]


def datediff(part: str, one: Value, two: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> int:
    count = _boundaries(part, "datediff", one, two, arg_types)
    if not -(2**31) <= count < 2**31:
        text = (
            "The datediff function resulted in an overflow. The number of dateparts separating two date/time "
            "instances is too large. Try to use datediff with a less precise datepart."
        )
        raise SqlError.of(535, 16, 0, text)
    return count


def datediff_big(
    part: str, one: Value, two: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> int:
    return _boundaries(part, "datediff_big", one, two, arg_types)


# --------------------------------------------------------------------------- DATEPART and its kin


def extract(part: str, value: Value, type_: SqlType, date_first: int, function: str = "datepart") -> int:
    """The number that DATEPART answers. Raises SqlError 155, 9810."""
    unit = part_of(part, function)
    here, kind = moment(value, type_)
    if unit == "tzoffset":
        return value.offset if isinstance(value, DateTimeOffset) else 0
    _check_part(unit, kind, function)
    year, month, day = civil(here.days)
    time = clock(here.ticks)
    match unit:
        case "year":
            return year
        case "quarter":
            return (month + 2) // 3
        case "month":
            return month
        case "day":
            return day
        case "dayofyear":
            return here.days - (days_of(year, 1, 1) or 0) + 1
        case "weekday":
            return (weekday(here.days) + 1 - date_first) % 7 + 1
        case "week":
            first = days_of(year, 1, 1) or 0
            lead = (weekday(first) + 1 - date_first) % 7
            return (here.days - first + lead) // 7 + 1
        case "iso_week":
            thursday = here.days - weekday(here.days) + 3
            start = days_of(civil(min(thursday, MAX_DAYS))[0], 1, 1) or 0
            return (thursday - start) // 7 + 1
        case "hour":
            return time.hour
        case "minute":
            return time.minute
        case "second":
            return time.second
        case "millisecond":
            return time.fraction // 10_000
        case "microsecond":
            return time.fraction // 10
        case _:
            return time.fraction * 100


def _datepart(
    context: FunctionContext, part: str, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> int:
    return extract(part, value, arg_types[1], context.date_first)


def _datename(
    context: FunctionContext, part: str, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> str:
    unit = part_of(part, "datename")
    if unit == "month":
        return LANGUAGE.get().months[civil(moment(value, arg_types[1])[0].days)[1] - 1]
    if unit == "weekday":
        return LANGUAGE.get().days[weekday(moment(value, arg_types[1])[0].days)]
    number = extract(part, value, arg_types[1], context.date_first, "datename")
    if unit == "tzoffset":
        sign = "-" if number < 0 else "+"
        return f"{sign}{abs(number) // 60:02}:{abs(number) % 60:02}"
    return str(number)


def _year(value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> int:
    return extract("year", value, arg_types[0], 7)


def _month(value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> int:
    return extract("month", value, arg_types[0], 7)


def _day(value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> int:
    return extract("day", value, arg_types[0], 7)


# --------------------------------------------------------------------------- making and changing


def _eomonth_of(value: Value, months: int, type_: SqlType) -> Date:
    days = add_months(moment(value, type_)[0].days, months)
    if days is None:
        raise failures.date_overflow(t.DATE)
    year, month, _ = civil(days)
    return Date(days_of(year, month, month_length(year, month)) or 0)


def _eomonth(
    value: Value, months: Value = 0, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Date | None:
    if value is None:
        return None
    return _eomonth_of(value, 0 if months is None else integer(months, arg_types[-1]), arg_types[0])


def _parts_error(type_name: str) -> SqlError:
    text = f"Cannot construct data type {type_name}, some of the arguments have values which are not valid."
    return SqlError.of(289, 16, 1, text)


def _date_of(year: Value, month: Value, day: Value, type_name: str) -> int:
    days = days_of(integer(year), integer(month), integer(day))
    if days is None:
        raise _parts_error(type_name)
    return days


def _ticks_of(hour: Value, minute: Value, second: Value, fraction: int, type_name: str) -> int:
    h, m, s = integer(hour), integer(minute), integer(second)
    if not (0 <= h < 24 and 0 <= m < 60 and 0 <= s < 60 and 0 <= fraction < TICKS_PER_SECOND):
        raise _parts_error(type_name)
    return ticks_of(h, m, s, fraction)


def _datefromparts(year: Value, month: Value, day: Value) -> Date:
    return Date(_date_of(year, month, day, "date"))


def _datetimefromparts(y: Value, mo: Value, d: Value, h: Value, mi: Value, s: Value, ms: Value) -> DateTime:
    days = _date_of(y, mo, d, "datetime")
    if days < DAY_1753:
        raise _parts_error("datetime")
    return round_datetime(days, _ticks_of(h, mi, s, integer(ms) * 10_000, "datetime"))


def _smalldatetimefromparts(y: Value, mo: Value, d: Value, h: Value, mi: Value) -> DateTime:
    return DateTime(_date_of(y, mo, d, "smalldatetime"), _ticks_of(h, mi, 0, 0, "smalldatetime"))


def _fraction(fraction: Value, precision: Value) -> int:
    return integer(fraction) * int(10 ** (7 - integer(precision)))


def _datetime2fromparts(
    y: Value, mo: Value, d: Value, h: Value, mi: Value, s: Value, f: Value, p: Value
) -> DateTime:
    return DateTime(_date_of(y, mo, d, "datetime2"), _ticks_of(h, mi, s, _fraction(f, p), "datetime2"))


def _timefromparts(h: Value, mi: Value, s: Value, f: Value, p: Value) -> Time:
    return Time(_ticks_of(h, mi, s, _fraction(f, p), "time"))


def _datetimeoffsetfromparts(
    y: Value, mo: Value, d: Value, h: Value, mi: Value, s: Value, f: Value, oh: Value, om: Value, p: Value
) -> DateTimeOffset:
    here = DateTime(
        _date_of(y, mo, d, "datetimeoffset"), _ticks_of(h, mi, s, _fraction(f, p), "datetimeoffset")
    )
    return at_offset(here, integer(oh) * 60 + integer(om))


def _scaled(name: str, index: int) -> ResultRule:
    """Result rule: the precision is a literal argument."""

    def rule(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
        scale = literal_int(exprs[index])
        return SqlType(name, scale=7 if scale is None else scale)

    return rule


def offset_of(value: Value, function: str) -> int:
    """A time zone's minutes from ``'+02:00'`` or a number. Raises SqlError 9812."""
    if isinstance(value, int):
        return value
    try:
        return date_text.parse("2000-01-01T00:00:00" + str(value).strip()).offset or 0
    except ValueError:
        text = f"The timezone provided to builtin function {function} is invalid."
        raise SqlError.of(9812, 16, 1, text) from None


def _switchoffset(value: Value, zone: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    made = convert(value, arg_types[0], t.datetimeoffset(7))
    if not isinstance(made, DateTimeOffset):
        return None
    return DateTimeOffset(made.days, made.ticks, offset_of(zone, "switchoffset"))


def _todatetimeoffset(
    value: Value, zone: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    here, _ = moment(value, arg_types[0])
    return at_offset(here, offset_of(zone, "todatetimeoffset"))


def offset_type(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    """The datetimeoffset that a wall clock becomes: as many digits as it had."""
    known = types[0].scale if types[0].name in ("datetimeoffset", "datetime2", "time") else None
    return t.datetimeoffset(7 if known is None else known)


def _isdate(value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> int:
    type_ = arg_types[0]
    if value is None or not (type_.is_character or type_.name in ("datetime", "smalldatetime")):
        return 0
    if isinstance(value, str) and not value.strip():
        return 0
    try:
        convert(value, type_, t.DATETIME)
    except SqlError:
        return 0
    return 1


def _datetrunc(part: str, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    unit = part_of(part, "datetrunc")
    here, _ = moment(value, arg_types[1])
    year, month, _ = civil(here.days)
    days, ticks = here.days, 0
    if unit in UNITS:
        ticks = here.ticks - here.ticks % UNITS[unit]
    elif unit == "year":
        days = days_of(year, 1, 1) or 0
    elif unit == "quarter":
        days = days_of(year, (month - 1) // 3 * 3 + 1, 1) or 0
    elif unit == "month":
        days = days_of(year, month, 1) or 0
    elif unit == "iso_week":
        days -= weekday(days)
    elif unit == "week":
        days -= (weekday(days) + 1) % 7
    made = DateTime(days, ticks)
    if isinstance(value, Time):
        return Time(ticks)
    return in_shape(made, value, result_type)


FUNCTIONS: Final = (
    FunctionDef("GETDATE", 0, 0, always(t.DATETIME), _now, needs_context=True, deterministic=False),
    FunctionDef("CURRENT_TIMESTAMP", 0, 0, always(t.DATETIME), _now, needs_context=True, deterministic=False),
    FunctionDef("GETUTCDATE", 0, 0, always(t.DATETIME), _utc_now, needs_context=True, deterministic=False),
    FunctionDef(
        "SYSDATETIME", 0, 0, always(t.datetime2(7)), _system_now, needs_context=True, deterministic=False
    ),
    FunctionDef(
        "SYSUTCDATETIME", 0, 0, always(t.datetime2(7)), _system_utc, needs_context=True, deterministic=False
    ),
    FunctionDef(
        "SYSDATETIMEOFFSET",
        0,
        0,
        always(t.datetimeoffset(7)),
        _system_offset,
        needs_context=True,
        deterministic=False,
    ),
    FunctionDef("DATEADD", 3, 3, _dateadd_type, dateadd, wants_types=True),
    FunctionDef("DATEDIFF", 3, 3, always(t.INT), datediff, wants_types=True),
    FunctionDef("DATEDIFF_BIG", 3, 3, always(t.BIGINT), datediff_big, wants_types=True),
    FunctionDef("DATEPART", 2, 2, always(t.INT), _datepart, needs_context=True, wants_types=True),
    FunctionDef("DATENAME", 2, 2, always(t.nvarchar(30)), _datename, needs_context=True, wants_types=True),
    FunctionDef("DATETRUNC", 2, 2, lambda types, exprs: types[1], _datetrunc, wants_types=True),
    FunctionDef("YEAR", 1, 1, always(t.INT), _year, wants_types=True),
    FunctionDef("MONTH", 1, 1, always(t.INT), _month, wants_types=True),
    FunctionDef("DAY", 1, 1, always(t.INT), _day, wants_types=True),
    FunctionDef("EOMONTH", 1, 2, always(t.DATE), _eomonth, strict=False, wants_types=True),
    FunctionDef("DATEFROMPARTS", 3, 3, always(t.DATE), _datefromparts),
    FunctionDef("DATETIMEFROMPARTS", 7, 7, always(t.DATETIME), _datetimefromparts),
    FunctionDef("SMALLDATETIMEFROMPARTS", 5, 5, always(t.SMALLDATETIME), _smalldatetimefromparts),
    FunctionDef("DATETIME2FROMPARTS", 8, 8, _scaled("datetime2", 7), _datetime2fromparts),
    FunctionDef("TIMEFROMPARTS", 5, 5, _scaled("time", 4), _timefromparts),
    FunctionDef(
        "DATETIMEOFFSETFROMPARTS",
        10,
        10,
        _scaled("datetimeoffset", 9),
        _datetimeoffsetfromparts,
    ),
    FunctionDef("SWITCHOFFSET", 2, 2, offset_type, _switchoffset, wants_types=True),
    FunctionDef("TODATETIMEOFFSET", 2, 2, offset_type, _todatetimeoffset, wants_types=True),
    FunctionDef("ISDATE", 1, 1, always(t.INT), _isdate, strict=False, wants_types=True, deterministic=False),
)
