"""Values as T-SQL, for handing variables from one batch to the next."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from tdsproxy.frontend.values import temporal_text
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value, Variant


def literal(value: Value, type_: SqlType) -> str:
    """An expression that has this value; assigned to a variable of ``type_`` it stays what it is."""
    if value is None:
        return "NULL"
    if isinstance(value, Variant):
        return f"CAST({literal(value.value, value.type)} AS {value.type})"
    if isinstance(value, str):
        return ("N'" if type_.is_unicode or not value.isascii() else "'") + value.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, UUID):
        return f"'{str(value).upper()}'"
    if isinstance(value, Date | Time | DateTime | DateTimeOffset):
        return _temporal(value, type_)
    if isinstance(value, float):
        return repr(value) if "e" in repr(value) else f"{value!r}e0"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(int(value))


def _temporal(value: Date | Time | DateTime | DateTimeOffset, type_: SqlType) -> str:
    # 'T' between date and time reads the same under every DATEFORMAT; datetime takes three digits.
    digits = 3 if type_.name in ("datetime", "smalldatetime") else 7 if type_.scale is None else type_.scale
    text = temporal_text(value, digits)
    return "'" + (text.replace(" ", "T", 1) if isinstance(value, DateTime) else text) + "'"
