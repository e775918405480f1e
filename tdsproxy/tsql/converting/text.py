"""Conversions to the character types."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.tsql import codepage, date_text, failures
from tdsproxy.tsql.calendar_math import local
from tdsproxy.tsql.converting.numbers import quantise
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value

_EXPONENT: Final = re.compile(r"e([+-])(\d+)$")
_SMALL_INTEGERS: Final = frozenset({"bit", "tinyint", "smallint", "int"})


def float_text(value: float, style: int = 0) -> str:
    """CONVERT styles 0 (six digits, scientific when it must be), 1 (eight), 2 (sixteen), 3 (seventeen)."""
    if style in (1, 2, 3):
        text = f"{value:.{ {1: 7, 2: 15, 3: 16}[style] }e}"
    else:
        text = f"{value:.6g}"
    text = "0" if text == "-0" else text
    return _EXPONENT.sub(lambda found: f"e{found[1]}{int(found[2]):03}", text)


def money_text(value: Decimal, style: int = 0) -> str:
    """CONVERT styles 0 (two digits), 1 (commas too), 2 (four digits)."""
    if style == 2 or style == 126:
        return f"{quantise(value, 4):f}"
    return f"{quantise(value, 2):,f}" if style == 1 else f"{quantise(value, 2):f}"


def guid_text(value: UUID) -> str:
    return str(value).upper()


def bytes_text(value: bytes, target: SqlType, style: int) -> str:
    if style in (1, 2):
        text = value.hex().upper()
        return "0x" + text if style == 1 else text
    if target.is_unicode:
        return (value + b"\0" * (len(value) % 2)).decode("utf-16-le", "replace")
    return codepage.decode(value)


def temporal_text(value: Value, source: SqlType, target: SqlType, style: int | None) -> str:
    """A date or time in a CONVERT style; without a style, 0 for datetime and smalldatetime, 121 else."""
    legacy = source.name in ("datetime", "smalldatetime")
    if style is None:
        style = 0 if legacy else 121
    if not date_text.is_style(style):
        raise failures.bad_style(style, source)
    digits = 3 if legacy else 7 if source.scale is None else source.scale
    text: str | None = None
    if isinstance(value, Date):
        text = date_text.render(style, value.days, None, 0)
    elif isinstance(value, Time):
        text = date_text.render(style, None, value.ticks, digits)
    elif isinstance(value, DateTimeOffset):
        here = DateTime(value.days, value.ticks) if style == 127 else local(value)
        text = date_text.render(style, here.days, here.ticks, digits, value.offset)
    elif isinstance(value, DateTime):
        text = date_text.render(style, value.days, value.ticks, digits, legacy=legacy)
    if text is None:
        raise failures.cannot_convert(source, target)
    return text


def to_text(value: Value, source: SqlType, target: SqlType, style: int | None) -> str:
    """Text of ``target``: cut or padded to its length. Raises SqlError when a number has no room."""
    exact = True
    if isinstance(value, str):
        text, exact = value, False
    elif isinstance(value, bytes):
        text, exact = bytes_text(value, target, style or 0), False
    elif isinstance(value, int):
        text = str(value)
    elif isinstance(value, Decimal):
        text = money_text(value, style or 0) if source.name.endswith("money") else f"{value:f}"
    elif isinstance(value, float):
        text = float_text(value, style or 0)
    elif isinstance(value, UUID):
        text = guid_text(value)
    else:
        text, exact = temporal_text(value, source, target, style), False
    return fit_text(text, source, target, exact=exact)


def fit_text(text: str, source: SqlType, target: SqlType, *, exact: bool = False) -> str:
    """Cut or pad ``text`` to the length of ``target``; with ``exact`` (numbers) it must not be cut."""
    if not target.is_unicode:
        text = codepage.narrow(text)
    length = target.length
    if length is None or length == MAX:
        return text
    size = codepage.units(text) if target.is_unicode else len(text)
    if size > length:
        if exact:
            return _no_room(source, target)
        text = codepage.cut(text, length) if target.is_unicode else text[:length]
    elif size < length and target.name in ("char", "nchar"):
        text += " " * (length - size)
    return text


def _no_room(source: SqlType, target: SqlType) -> str:
    """SQL Server writes ``*`` for the small integers in char and varchar, and refuses the rest."""
    if source.name in _SMALL_INTEGERS:
        if not target.is_unicode:
            return "*" if target.name == "varchar" else "*".ljust(target.length or 1)
        raise failures.overflow(target)
    if source.name.endswith("money"):
        raise failures.no_room("money", target)
    if source.name == "uniqueidentifier":
        raise failures.no_room("uniqueidentifier", target)
    raise failures.overflow(target, None if source.name in ("bigint", "float", "real") else source)
