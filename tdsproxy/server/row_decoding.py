"""Stored rows as rows of T-SQL values, column by column: what SQLite hands over in the right form already is
found out for a whole column at once, and passed on as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from tdsproxy.server.compiler.binder import loader
from tdsproxy.store.encoding import Stored, from_storage
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, Value

ColumnLoader = Callable[[Sequence[Stored]], Sequence[Value]]
_NONE: Final = type(None)
_INTEGERS: Final[frozenset[type]] = frozenset({int, _NONE})
_TEXTS: Final[frozenset[type]] = frozenset({str, _NONE})
_TICKS: Final = 10_000_000
_MOST_DIGITS: Final = 15
"""Up to here a decimal comes back from the nearest double."""
_MOST_KEPT: Final = 100_000


class RowDecoder:
    """Decodes the rows of one result."""

    def __init__(self, types: Sequence[SqlType]) -> None:
        self._loaders = [_column_loader(type_) for type_ in types]

    def column(self, place: int, stored: Sequence[Stored]) -> Sequence[Value]:
        """The values of one column."""
        return self._loaders[place](stored)

    def __call__(self, rows: Sequence[Sequence[Stored]]) -> list[tuple[Value, ...]]:
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        return list(zip(*[load(c) for load, c in zip(self._loaders, columns, strict=True)], strict=True))


def _column_loader(type_: SqlType) -> ColumnLoader:
    load = loader(type_)
    if type_.is_integer:
        return _unchanged(_INTEGERS, load)
    if type_.is_character:
        return _unchanged(_TEXTS, load)
    if type_.name in ("datetime", "datetime2", "smalldatetime"):
        return _moments(type_)
    if type_.name == "decimal" and (type_.precision or 18) <= _MOST_DIGITS:
        return _decimals(type_.scale or 0, load)

    def each(column: Sequence[Stored]) -> list[Value]:
        return [None if raw is None else load(raw) for raw in column]

    return each


def _unchanged(kinds: frozenset[type], load: Callable[[Stored], Value]) -> ColumnLoader:
    def column_of(column: Sequence[Stored]) -> Sequence[Value]:
        if kinds.issuperset(map(type, column)):
            return column
        return [None if raw is None else load(raw) for raw in column]

    return column_of


def _decimals(scale: int, load: Callable[[Stored], Value]) -> ColumnLoader:
    form = f"{{:.{scale}f}}".format

    def one(raw: Stored) -> Value:
        if type(raw) is not float:
            return None if raw is None else load(raw)
        text = form(raw)
        # Only what another tool has stored has more digits.
        return Decimal(text) if float(text) == raw else load(raw)

    return lambda column: [one(raw) for raw in column]


def _moments(type_: SqlType) -> ColumnLoader:
    """Most rows share their days, and there are few seconds in a day: the parts are read once."""
    days: dict[str, int] = {}
    seconds: dict[str, int] = {}

    def whole(raw: Stored) -> Value:
        made = from_storage(raw, type_)
        if isinstance(raw, str) and len(raw) > 18 and isinstance(made, DateTime):
            if len(days) + len(seconds) > _MOST_KEPT:
                days.clear()
                seconds.clear()
            days[raw[:11]] = made.days
            seconds[raw[11:19]] = made.ticks // _TICKS
        return made

    def one(raw: Stored) -> Value:
        if type(raw) is not str:
            return None if raw is None else whole(raw)
        day, second = days.get(raw[:11]), seconds.get(raw[11:19])
        if day is None or second is None:
            return whole(raw)
        fraction = raw[20:]
        if not fraction:
            return DateTime(day, second * _TICKS) if len(raw) == 19 else whole(raw)
        if raw[19] != "." or len(fraction) > 7 or not (fraction.isascii() and fraction.isdigit()):
            return whole(raw)
        return DateTime(day, second * _TICKS + int(fraction) * 10 ** (7 - len(fraction)))

    return lambda column: [one(raw) for raw in column]
