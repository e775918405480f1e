"""How a T-SQL value lies in a SQLite column: readable by any SQLite tool, sorting as T-SQL sorts.

==========================  ==========================  ==================================================
T-SQL                       declared in SQLite          stored as
==========================  ==========================  ==================================================
bit, tinyint .. bigint      BIT, TINYINT .. BIGINT      INTEGER
decimal up to 15 digits     DECIMAL(p,s)                INTEGER or REAL: exact, a double holds 15 digits
decimal(16..18, 0)          DECIMAL(p,0)                INTEGER
other decimals, money       DECIMAL_TEXT(p,s), MONEY_TEXT  text of fixed width that sorts as the number does
smallmoney                  SMALLMONEY                  as decimal(10,4)
float, real                 FLOAT, REAL                 REAL
n/char, n/varchar(n)        NVARCHAR(n) ...             TEXT
(max), text, ntext, xml     NVARCHAR_MAX, TEXT, XML_TEXT  TEXT
binary types                VARBINARY(n), VARBINARY_MAX, IMAGE  BLOB
uniqueidentifier            UNIQUEIDENTIFIER            TEXT, upper case with dashes
date .. datetimeoffset      DATE, DATETIME2(7) ...      TEXT ``YYYY-MM-DD HH:MM:SS.fffffff +HH:MM``
sql_variant                 SQL_VARIANT_TEXT            TEXT, ``type|text``, of binary ones ``type|0x..``
==========================  ==========================  ==================================================

The declared names are chosen for SQLite's affinity rules (datatype3, section 3.1): none of them makes
SQLite change a value that is stored as above. A datetimeoffset is stored as its local time and offset, as
people write it, so it does not sort by instant: comparisons go through ``instant_key``.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final
from uuid import UUID

from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import (
    TICKS_PER_DAY,
    TICKS_PER_SECOND,
    Date,
    DateTime,
    DateTimeOffset,
    Time,
    Value,
    Variant,
)

Stored = int | float | str | bytes | None

_EXACT_DOUBLE_DIGITS = 15
_CONTEXT = Context(prec=77)
_MINUTE = 60 * TICKS_PER_SECOND
_MOMENT = re.compile(
    r"\s*(?:(\d{4})-(\d{1,2})-(\d{1,2}))?[T ]?(?:(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?\s*$"
)


def is_sortable_text(type_: SqlType) -> bool:
    """Whether a decimal or money type is stored as text of fixed width."""
    if type_.name == "money":
        return True
    if type_.name != "decimal":
        return False
    precision = type_.precision or 18
    return precision > _EXACT_DOUBLE_DIGITS and not (precision <= 18 and not type_.scale)


def declare(type_: SqlType) -> str:
    """The SQLite column type that stands for ``type_``."""
    name = type_.name
    if name in t.LENGTH_TYPES:
        return f"{name.upper()}_MAX" if type_.length == MAX else f"{name.upper()}({type_.length})"
    if name == "decimal":
        word = "NUMERIC" if type_.numeric else "DECIMAL"
        text = "_TEXT" if is_sortable_text(type_) else ""
        return f"{word}{text}({type_.precision},{type_.scale})"
    if name in t.SCALED_TIME_TYPES:
        return f"{name.upper()}({type_.scale})"
    return {"money": "MONEY_TEXT", "xml": "XML_TEXT", "sql_variant": "SQL_VARIANT_TEXT"}.get(
        name, name.upper()
    )


_DECLARED = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_ ]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*$")
_PLAIN = {
    "bit": t.BIT,
    "boolean": t.BIT,
    "tinyint": t.TINYINT,
    "smallint": t.SMALLINT,
    "int": t.INT,
    "integer": t.BIGINT,
    "bigint": t.BIGINT,
    "money_text": t.MONEY,
    "money": t.MONEY,
    "smallmoney": t.SMALLMONEY,
    "float": t.FLOAT,
    "double": t.FLOAT,
    "double precision": t.FLOAT,
    "real": t.REAL,
    "date": t.DATE,
    "datetime": t.DATETIME,
    "smalldatetime": t.SMALLDATETIME,
    "timestamp": t.TIMESTAMP,
    "uniqueidentifier": t.UNIQUEIDENTIFIER,
    "text": t.nvarchar(MAX),
    "clob": t.nvarchar(MAX),
    "ntext": t.NTEXT,
    "image": t.IMAGE,
    "blob": t.varbinary(MAX),
    "xml_text": t.XML,
    "sql_variant_text": t.SQL_VARIANT,
}


def parse_declared(text: str) -> SqlType:
    """The T-SQL type of a column that SQLite declares as ``text``; also for files that we did not make.

    A type that means nothing to us is taken by SQLite's affinity rules: integers are bigint, REAL is
    float, BLOB is varbinary(max), everything else nvarchar(max).
    """
    match = _DECLARED.match(text or "")
    if match is None:
        return t.nvarchar(MAX)
    word = match[1].lower()
    first = int(match[2]) if match[2] else None
    second = int(match[3]) if match[3] else None
    if word.endswith("_max") and word[:-4] in t.LENGTH_TYPES:
        return SqlType(word[:-4], MAX)
    if word in t.LENGTH_TYPES:
        return SqlType(word, first if first else MAX)
    if word in ("decimal", "numeric", "decimal_text", "numeric_text"):
        numeric = word.startswith("numeric")
        if first is None:
            return t.FLOAT
        return SqlType("decimal", precision=min(first, 38), scale=second or 0, numeric=numeric)
    if word in t.SCALED_TIME_TYPES:
        return SqlType(word, scale=7 if first is None else first)
    if word in _PLAIN:
        return _PLAIN[word]
    upper = word.upper()
    if "INT" in upper:
        return t.BIGINT
    if "CHAR" in upper or "CLOB" in upper or "TEXT" in upper:
        return t.nvarchar(first if first and first <= 4000 else MAX)
    if "BLOB" in upper:
        return t.varbinary(MAX)
    if "REAL" in upper or "FLOA" in upper or "DOUB" in upper:
        return t.FLOAT
    return t.nvarchar(MAX)


_UNITS: Final = tuple(Decimal(1).scaleb(-scale) for scale in range(39))
"""One unit of the last place, by scale."""


def _quantise(value: Decimal, scale: int) -> Decimal:
    return value.quantize(_UNITS[scale], ROUND_HALF_UP, _CONTEXT)


def _sortable(value: Decimal, precision: int, scale: int) -> str:
    units = int(_quantise(value, scale).scaleb(scale, _CONTEXT))
    digits = str(abs(units)).rjust(precision, "0")
    sign = "0"
    if units < 0:
        sign = "-"
        digits = digits.translate(_NINES)
    return f"{sign}{digits[: precision - scale]}.{digits[precision - scale :]}" if scale else sign + digits


_NINES = str.maketrans("0123456789", "9876543210")


def _from_sortable(text: str, precision: int, scale: int) -> Decimal:
    if text.startswith("-") and len(text) == precision + 1 + (1 if scale else 0):
        # Decimal's own minus would round to the context's 28 digits
        return Decimal(text[1:].translate(_NINES)).copy_negate()
    return Decimal(text)


def to_storage(value: Value, type_: SqlType) -> Stored:
    """``value`` of ``type_`` as it is bound to SQLite. The value must already have the type's shape."""
    if value is None or isinstance(value, str | bytes):
        return value
    name = type_.name
    if isinstance(value, Decimal):
        if is_sortable_text(type_):
            return _sortable(value, type_.precision or 18, type_.scale or 0)
        if not type_.scale:
            return int(value)
        return float(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, UUID):
        return str(value).upper()
    if isinstance(value, DateTime):
        return _date_text(value.days) + " " + _time_text(value.ticks, _digits(type_))
    if isinstance(value, Date):
        return _date_text(value.days)
    if isinstance(value, Time):
        return _time_text(value.ticks, _digits(type_))
    if isinstance(value, DateTimeOffset):
        total = value.days * TICKS_PER_DAY + value.ticks + value.offset * _MINUTE
        days, ticks = divmod(total, TICKS_PER_DAY)
        sign = "-" if value.offset < 0 else "+"
        hours, minutes = divmod(abs(value.offset), 60)
        return f"{_date_text(days)} {_time_text(ticks, _digits(type_))} {sign}{hours:02}:{minutes:02}"
    if isinstance(value, Variant):
        inner = to_storage(value.value, value.type)
        return f"{value.type}|{_binary_text(inner) if isinstance(inner, bytes) else inner}"
    raise TypeError(f"a value of {name} cannot be a {type(value).__name__}")


def _binary_text(data: bytes) -> str:
    return f"0x{data.hex().upper()}"


def _from_binary_text(text: str) -> bytes | str:
    """What is not of that form is left as it is."""
    try:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else text
    except ValueError:
        return text


def storable_text(text: str) -> str:
    """``text`` as SQLite can keep it, in UTF-8: halves of UTF-16 pairs become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _digits(type_: SqlType) -> int:
    if type_.name == "datetime":
        return 3
    if type_.name == "smalldatetime":
        return 0
    return 7 if type_.scale is None else type_.scale


def _date_text(days: int) -> str:
    return dt.date.fromordinal(days + 1).isoformat()


def _time_text(ticks: int, digits: int) -> str:
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour:02}:{minute:02}:{second:02}"
    return f"{text}.{fraction:07}"[: 9 + digits] if digits else text


def from_storage(raw: Stored, type_: SqlType) -> Value:
    """The T-SQL value of a stored one; lenient towards what other tools have written.

    Raises ValueError when the stored value has no reading as ``type_``.
    """
    if raw is None:
        return None
    name = type_.name
    if name in t.CHARACTER_TYPES:
        return raw if isinstance(raw, str) else _text_of(raw)
    if name in t.INTEGER_TYPES:
        return int(raw)
    if name == "bit":
        return 1 if raw not in (0, "0", "") else 0
    if name in ("decimal", "money", "smallmoney"):
        scale = type_.scale or 0
        if not isinstance(raw, str):
            return _quantise(Decimal(repr(raw)), scale)
        text = raw.strip()
        if is_sortable_text(type_):
            return _quantise(_from_sortable(text, type_.precision or 18, scale), scale)
        return _quantise(Decimal(text), scale)
    if name in t.APPROXIMATE_TYPES:
        return float(raw)
    if name in t.BINARY_TYPES:
        return raw if isinstance(raw, bytes) else _text_of(raw).encode("utf-16-le")
    if name == "uniqueidentifier":
        return UUID(bytes_le=raw) if isinstance(raw, bytes) else UUID(str(raw))
    if name in t.TEMPORAL_TYPES:
        return _moment(raw, name)
    if name == "sql_variant":
        if not isinstance(raw, str) or "|" not in raw:
            return Variant(t.nvarchar(4000), _text_of(raw))
        word, _, text = raw.partition("|")
        inner = parse_declared(word)
        stored = _from_binary_text(text) if inner.is_binary else text
        return Variant(inner, from_storage(stored, inner))  # type: ignore[arg-type]
    return _text_of(raw)


def _text_of(raw: int | float | str | bytes) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


_WALL_CLOCK: Final = frozenset({"datetime", "datetime2", "smalldatetime"})


def _usual_moment(raw: str) -> DateTime | None:
    """``YYYY-MM-DD HH:MM:SS[.fraction]``, as this package writes it, read by the standard library's C; None
    for any other form."""
    if len(raw) < 19 or raw[10] not in " T" or (raw[4], raw[7], raw[13], raw[16]) != ("-", "-", ":", ":"):
        return None
    ticks = 0
    if len(raw) > 19:
        fraction = raw[20:]
        if raw[19] != "." or not (fraction.isascii() and fraction.isdigit()):
            return None
        ticks = int(fraction.ljust(7, "0")[:7])
    try:
        moment = dt.datetime.fromisoformat(raw[:19])
    except ValueError:
        return None
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return DateTime(moment.toordinal() - 1, seconds * TICKS_PER_SECOND + ticks)


def _moment(raw: int | float | str | bytes, name: str) -> Value:
    if name in _WALL_CLOCK and isinstance(raw, str) and (usual := _usual_moment(raw)) is not None:
        return usual
    match = _MOMENT.match(_text_of(raw))
    if match is None:
        raise ValueError(f"{raw!r} is not a date or time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    days = (
        dt.date(int(year), int(month), int(day)).toordinal() - 1
        if year
        else dt.date(1900, 1, 1).toordinal() - 1
    )
    seconds = int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    ticks = seconds * TICKS_PER_SECOND + int((fraction or "0").ljust(7, "0")[:7])
    if name == "date":
        return Date(days)
    if name == "time":
        return Time(ticks)
    if name != "datetimeoffset":
        return DateTime(days, ticks)
    offset = 0
    if zone and zone != "Z":
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    days, ticks = divmod(days * TICKS_PER_DAY + ticks - offset * _MINUTE, TICKS_PER_DAY)
    return DateTimeOffset(days, ticks, offset)


def instant_key(raw: Stored) -> str | None:
    """A stored datetimeoffset as text that sorts by instant."""
    value = from_storage(raw, t.datetimeoffset())
    if not isinstance(value, DateTimeOffset):
        return None
    return f"{_date_text(value.days)} {_time_text(value.ticks, 7)}"
