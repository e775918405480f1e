"""Whole columns of values that are not yet what ``scalars`` takes, but have one plain form throughout: dates
and times as ISO text, decimals as doubles or as text of fixed width, GUIDs as text.

Each encoder takes the non-NULL values of a column and gives the bytes of each, length first; or None when a
value has another form, or needs more thought than this. What it gives equals what ``values`` makes of the
same values.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, Final

from tdsproxy.tds.scalars import FLOATS, INTEGERS
from tdsproxy.tds.temporal import TICKS_PER_DAY
from tdsproxy.tds.types import DECIMALS, TypeId, TypeInfo, decimal_size
from tdsproxy.tds.values import MISFIT, value_encoder

ColumnEncoder = Callable[[Sequence[Any]], list[bytes] | None]

_MOST_KEPT: Final = 50_000
_TICKS: Final = 10_000_000
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]?", re.ASCII)
_TIME: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?", re.ASCII)
_DATE_LENGTH: Final = 10
_LONGEST_SHORT: Final = 8000
_EXACT_DIGITS: Final = 15
"""A double holds so many decimal digits."""
_PREFIXES: Final = tuple(struct.pack("<H", size) for size in range(_LONGEST_SHORT + 1))
_PREFIX: Final = _PREFIXES.__getitem__
_ASCII: Final = partial(str.encode, encoding="ascii")
_DATETIME_UNITS: Final = 300 * 86_400
_SMALL_MINUTES: Final = 1440


@lru_cache(maxsize=128)
def column_encoder(info: TypeInfo) -> ColumnEncoder | None:
    """The encoder of a column of this type, one for all results and threads: what it remembers of dates is
    kept once. None for types that have no plain form."""
    make = _makers().get(TypeId(info.type_id))
    made = None if make is None else make(info)
    return None if made is None else _declining(made)


def _declining(encode: ColumnEncoder) -> ColumnEncoder:
    def tried(column: Sequence[Any]) -> list[bytes] | None:
        try:
            return encode(column)
        except MISFIT:
            return None  # what is wrong with it is said by the usual encoders

    return tried


def _makers() -> dict[TypeId, Callable[[TypeInfo], ColumnEncoder | None]]:
    return {
        **dict.fromkeys((TypeId.INTN, TypeId.TINYINT, TypeId.SMALLINT, TypeId.INT, TypeId.BIGINT), _integers),
        **dict.fromkeys((TypeId.FLTN, TypeId.FLOAT, TypeId.REAL), _floats),
        **dict.fromkeys((TypeId.BITN, TypeId.BIT), _bits),
        **dict.fromkeys((TypeId.VARCHAR, TypeId.CHAR), _characters),
        **dict.fromkeys((TypeId.NVARCHAR, TypeId.NCHAR), _unicode),
        **dict.fromkeys((TypeId.VARBINARY, TypeId.BINARY), _binaries),
        **dict.fromkeys(DECIMALS & {TypeId.DECIMALN, TypeId.NUMERICN}, _decimals),
        **dict.fromkeys((TypeId.MONEYN, TypeId.MONEY), _money),
        TypeId.GUID: _guids,
        TypeId.DATE: _dates,
        TypeId.TIME: _times,
        TypeId.DATETIME2: _moments2,
        **dict.fromkeys((TypeId.DATETIMN, TypeId.DATETIME, TypeId.SMALLDATETIME), _moments),
    }


# ------------------------------------------------------------------ numbers


def _integers(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)
    if info.type_id == TypeId.INTN:
        packed = struct.Struct("<B" + INTEGERS[info.length].format.removeprefix("<"))
        encode = partial(packed.pack, info.length)
    return lambda column: list(map(encode, column)) if set(map(type, column)) == {int} else None


def _floats(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)
    if info.type_id == TypeId.FLTN:
        packed = struct.Struct("<B" + FLOATS[info.length].format.removeprefix("<"))
        encode = partial(packed.pack, info.length)
    return lambda column: list(map(encode, column)) if set(map(type, column)) == {float} else None


def _bits(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)
    no, yes = encode(0), encode(1)
    return lambda column: (
        [yes if value else no for value in column] if set(map(type, column)) == {int} else None
    )


def _decimals(info: TypeInfo) -> ColumnEncoder | None:
    size = decimal_size(info.precision)
    if size > 9:
        return None
    precision, scale = info.precision, info.scale
    pack = struct.Struct("<BB" + ("I" if size == 5 else "Q")).pack
    factor = 10**scale

    def scaled(column: Sequence[Any]) -> list[int] | None:
        kinds = set(map(type, column))
        if kinds <= {int, float} and precision <= _EXACT_DIGITS:
            numbers = [round(value * factor) for value in column]
            # Division rounds correctly: it gives the same double only if the number is what was stored.
            exact = all(map(operator.eq, map(operator.truediv, numbers, repeat(factor)), column))
            return numbers if exact else None
        if kinds == {int} and not scale:
            return list(column)
        return _fixed_width(column, precision, scale) if kinds == {str} else None

    def encode(column: Sequence[Any]) -> list[bytes] | None:
        numbers = scaled(column)
        if numbers is None:
            return None
        return [pack(size, 1, n) if n >= 0 else pack(size, 0, -n) for n in numbers]

    return encode


def _fixed_width(column: Sequence[str], precision: int, scale: int) -> list[int] | None:
    """A sign (0, or - before digits that are all complemented), ``precision`` digits, a point in them."""
    width = precision + 1 + (scale > 0)
    if set(map(len, column)) != {width} or not all(text[0] == "0" for text in column):
        return None
    if not "".join(column).isascii():
        return None
    return [int(text.replace(".", "", 1)) for text in column]


def _money(info: TypeInfo) -> ColumnEncoder | None:
    if info.type_id == TypeId.MONEYN and info.length != 8:
        return None
    prefix = value_encoder(info)(0)[:-8]
    pack = struct.Struct("<iI").pack

    def encode(column: Sequence[Any]) -> list[bytes] | None:
        numbers = _fixed_width(column, 19, 4) if set(map(type, column)) == {str} else None
        if numbers is None:
            return None
        return [prefix + pack(n >> 32, n & 0xFFFFFFFF) for n in numbers]

    return encode


# ------------------------------------------------------------------ characters and bytes


def _characters(info: TypeInfo) -> ColumnEncoder | None:
    if info.is_plp:
        return None

    def encode(column: Sequence[Any]) -> list[bytes] | None:
        if not "".join(column).isascii():
            return None
        return list(map(operator.add, map(_PREFIX, map(len, column)), map(_ASCII, column)))

    return encode


def _unicode(info: TypeInfo) -> ColumnEncoder | None:
    if info.is_plp:
        return None

    def encode(column: Sequence[Any]) -> list[bytes] | None:
        text = "".join(column)
        data = text.encode("utf-16-le", "surrogatepass")
        if len(data) != 2 * len(text):
            return None
        made = []
        start = 0
        for value in column:
            end = start + 2 * len(value)
            made.append(_PREFIX(end - start) + data[start:end])
            start = end
        return made

    return encode


def _binaries(info: TypeInfo) -> ColumnEncoder | None:
    if info.is_plp:
        return None
    return lambda column: (
        list(map(operator.add, map(_PREFIX, map(len, column)), column))
        if set(map(type, column)) == {bytes}
        else None
    )


def _guids(info: TypeInfo) -> ColumnEncoder:
    del info

    def encode(column: Sequence[Any]) -> list[bytes] | None:
        made = []
        for text in column:
            if len(text) != 36 or text[8::5][:4] != "----":
                return None
            raw = bytes.fromhex(text.replace("-", ""))
            if len(raw) != 16:
                return None
            made.append(b"\x10" + raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:])
        return made

    return encode


# ------------------------------------------------------------------ dates and times


class _Known(dict[str, bytes]):
    """Most rows share their days, and there are few seconds in a day: each part is read once."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> bytes:
        if len(self) >= _MOST_KEPT:
            self.clear()
        made = self[text] = self._read(text)
        return made


def _days(text: str) -> int:
    """Days since 0001-01-01. Raises ValueError."""
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    return dt.date.fromisoformat(text[:_DATE_LENGTH]).toordinal() - 1


def _moment_days(text: str) -> int:
    if len(text) != _DATE_LENGTH + 1:
        raise ValueError(text)
    return _days(text)


def _ticks(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    hour, minute, second, fraction = found.groups()
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    ticks = seconds * _TICKS + int((fraction or "0").ljust(7, "0"))
    if int(minute) > 59 or int(second) > 59 or ticks >= TICKS_PER_DAY:
        raise ValueError(text)
    return ticks


def _dates(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)

    def read(text: str) -> bytes:
        if len(text) != _DATE_LENGTH:
            raise ValueError(text)
        return encode((_days(text),))

    known = _Known(read)
    return lambda column: [known[text] for text in column]


def _times(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)
    known = _Known(lambda text: encode((_ticks(text),)))
    return lambda column: [known[text] for text in column]


def _moments2(info: TypeInfo) -> ColumnEncoder:
    encode = value_encoder(info)
    times = _Known(lambda text: encode((0, _ticks(text)))[:-3])
    days = _Known(lambda text: encode((_moment_days(text), 0))[-3:])
    return lambda column: [times[text[11:]] + days[text[:11]] for text in column]


def _moments(info: TypeInfo) -> ColumnEncoder:
    """datetime and smalldatetime, day first. A time that is rounded up to the next day is not for here."""
    encode = value_encoder(info)
    size = 8 if info.type_id == TypeId.DATETIME or info.length == 8 else 4
    if info.type_id == TypeId.SMALLDATETIME:
        size = 4
    noon = 693_595 + 1
    head = len(encode((noon, 0))) - size // 2
    last = encode((noon, 0))[:head]

    def time_of(text: str) -> bytes:
        made = encode((noon, _ticks(text)))
        if made[:head] != last:
            raise ValueError(text)
        return made[head:]

    days = _Known(lambda text: encode((_moment_days(text), 0))[:head])
    times = _Known(time_of)
    return lambda column: [days[text[:11]] + times[text[11:]] for text in column]
