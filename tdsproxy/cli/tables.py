"""Values and result sets as text."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Final
from uuid import UUID

from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.types import TypeId, TypeInfo
from tdsproxy.tds.variant import VariantValue

LOOKED_AT: Final = 500
"""Rows that are read before the first is written, for the widths of the columns."""

_RIGHT: Final = frozenset(
    {TypeId.INTN, TypeId.TINYINT, TypeId.SMALLINT, TypeId.INT, TypeId.BIGINT, TypeId.DECIMALN,
     TypeId.NUMERICN, TypeId.FLTN, TypeId.FLOAT, TypeId.REAL, TypeId.MONEY, TypeId.MONEYN, TypeId.SMALLMONEY}
)  # fmt: skip
_OLD_MOMENTS: Final = frozenset({TypeId.DATETIME, TypeId.SMALLDATETIME, TypeId.DATETIMN})
_SMALL: Final = 4
"""The length of smalldatetime."""
_TICKS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are written: ``separator`` between columns, ``headers`` above them, ``trim`` for columns only
    as wide as each value."""

    separator: str = " "
    headers: bool = True
    trim: bool = False


def text_of(value: Any, info: TypeInfo) -> str:
    """A value of the wire as text; NULL for None. Times have as many digits as their type."""
    if value is None:
        return "NULL"
    if isinstance(value, VariantValue):
        return text_of(value.value, value.type_info)
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex().upper()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, UUID):
        return str(value).upper()
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        return _moment(value, info)
    return str(value)


def plain(value: Any, info: TypeInfo) -> Any:
    """A value as JSON has it; what JSON does not know is text."""
    if isinstance(value, VariantValue):
        return plain(value.value, value.type_info)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return text_of(value, info)


def _moment(value: tuple[int, ...], info: TypeInfo) -> str:
    type_id, scale = info.type_id, info.scale
    if type_id == TypeId.DATE:
        return _day(value[0])
    if type_id == TypeId.TIME:
        return _clock(value[0], scale)
    if type_id in _OLD_MOMENTS:
        scale = 0 if info.length == _SMALL or type_id == TypeId.SMALLDATETIME else 3
    if len(value) == 3:
        days, ticks = divmod(value[0] * 86_400 * _TICKS + value[1] + value[2] * 60 * _TICKS, 86_400 * _TICKS)
        sign = "-" if value[2] < 0 else "+"
        hours, minutes = divmod(abs(value[2]), 60)
        return f"{_day(days)} {_clock(ticks, scale)} {sign}{hours:02}:{minutes:02}"
    return f"{_day(value[0])} {_clock(value[1], scale)}"


def _day(days: int) -> str:
    return dt.date.fromordinal(days + 1).isoformat()


def _clock(ticks: int, scale: int) -> str:
    seconds, rest = divmod(ticks, _TICKS)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{f'{rest:07}'[:scale]}" if scale else text


def lines(columns: Sequence[ColumnMeta], rows: Iterable[Sequence[Any]], layout: Layout) -> Iterator[str]:
    """The lines of a result set: names, a rule, the rows. Widths follow from the first rows."""
    texts = (
        [text_of(value, column.type_info) for value, column in zip(row, columns, strict=True)] for row in rows
    )
    first = [] if layout.trim else list(islice(texts, LOOKED_AT))
    names = [column.name for column in columns]
    widths = [0] * len(names)
    for row in [names, *first] if layout.headers and not layout.trim else first:
        widths = [max(width, _width(text)) for width, text in zip(widths, row, strict=True)]
    right = [not layout.trim and column.type_info.type_id in _RIGHT for column in columns]

    def line(row: Sequence[str]) -> str:
        cells = [
            " " * (width - _width(text)) + text if to_right else text + " " * (width - _width(text))
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        return (
            layout.separator.join(cells).rstrip()
            if layout.separator.isspace()
            else layout.separator.join(cells)
        )

    if layout.headers:
        yield line(names)
        if not layout.trim:
            yield layout.separator.join("-" * max(width, 1) for width in widths)
    for row in chain(first, texts):
        yield line(row)


def _width(text: str) -> int:
    """Places on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
