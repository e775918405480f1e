"""CAST, CONVERT and assignment between T-SQL types.

Facts: sql-docs, "CAST and CONVERT (Transact-SQL)"; message texts and states as SQL Server 2022 sends them.
"""

from __future__ import annotations

from tdsproxy.tsql import codepage, failures
from tdsproxy.tsql.converting import rules
from tdsproxy.tsql.converting.binary import to_binary, to_guid
from tdsproxy.tsql.converting.numbers import to_bit, to_decimal, to_float, to_integer, to_money
from tdsproxy.tsql.converting.temporal import to_temporal
from tdsproxy.tsql.converting.text import to_text
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import INTEGER_TYPES, MAX, SqlType
from tdsproxy.tsql.values import Value, Variant

# The errors that say "the value does not convert": what TRY_CAST turns into NULL.
_VALUE_ERRORS = frozenset(
    {220, 232, 234, 235, 241, 242, 244, 245, 248, 281, 295, 517, 8114, 8115, 8169, 8170}
)


class Truncation(SqlError):
    """8152: the text or bytes are longer than the column. ``kept`` is what would have fitted, for 2628."""

    def __init__(self, kept: Value) -> None:
        super().__init__(*failures.truncated().messages)
        self.kept = kept


def convert(
    value: Value,
    source: SqlType,
    target: SqlType,
    style: int | None = None,
    *,
    date_format: str | None = None,
) -> Value:
    """CAST, or CONVERT with ``style`` (None when none was written; 0 is not the same for datetime2).

    Raises SqlError: 245, 8114, 8115 and kin when the value does not convert, 529 when the types never do,
    206 for tables and cursors.
    """
    if source is target and style is None and source.name in INTEGER_TYPES:
        return value
    if source.name == "sql_variant" and isinstance(value, Variant) and target.name != "sql_variant":
        return convert(value.value, value.type, target, style, date_format=date_format)
    if not rules.convertible(source, target):
        raise failures.not_allowed(source, target)
    if value is None:
        return None
    if source == target and style is None:
        return value
    return _convert(value, source, target, style, date_format)


def _convert(
    value: Value, source: SqlType, target: SqlType, style: int | None, date_format: str | None
) -> Value:
    name = target.name
    if target.is_character:
        return to_text(value, source, target, style)
    if target.is_integer:
        return to_integer(value, source, target)
    if target.is_temporal:
        return to_temporal(value, source, target, style or 0, date_format)
    if name == "decimal":
        return to_decimal(value, source, target)
    if name == "bit":
        return to_bit(value, source, target)
    if name in ("float", "real"):
        return to_float(value, source, target)
    if name in ("money", "smallmoney"):
        return to_money(value, source, target)
    if target.is_binary:
        return to_binary(value, source, target, style or 0)
    if name == "uniqueidentifier":
        return to_guid(value, source, target)
    if name == "sql_variant":
        return value if value is None or isinstance(value, Variant) else Variant(source, value)
    return value


def try_convert(
    value: Value,
    source: SqlType,
    target: SqlType,
    style: int | None = None,
    *,
    date_format: str | None = None,
) -> Value:
    """TRY_CAST, TRY_CONVERT: NULL when the value does not convert. Raises SqlError 529 all the same."""
    try:
        return convert(value, source, target, style, date_format=date_format)
    except SqlError as error:
        if error.number in _VALUE_ERRORS:
            return None
        raise


def assign(value: Value, source: SqlType, target: SqlType) -> Value:
    """Assignment to a column: as ``convert``, but text and bytes that do not fit raise ``Truncation`` and
    conversions that need a CAST raise 257, impossible ones 206."""
    if source != target and not rules.implicit(source, target):
        base = value.type if isinstance(value, Variant) else source
        if not rules.convertible(source, target):
            raise failures.clash(source, target)
        raise failures.not_implicit(base if source.name != "sql_variant" else source, target)
    made = convert(value, source, target)
    length = target.length
    if length is None or length == MAX:
        return made
    if isinstance(value, str) and isinstance(made, str):
        text = value.rstrip(" ")
        if (codepage.units(text) if target.is_unicode else len(codepage.narrow(text))) > length:
            raise Truncation(made)
    elif isinstance(value, bytes) and isinstance(made, bytes) and len(value.rstrip(b"\0")) > length:
        raise Truncation(made)
    elif value is not None and isinstance(made, str) and not isinstance(value, str | bytes):
        whole = convert(value, source, SqlType(target.name, MAX))
        if isinstance(whole, str) and len(whole) > length and not made.startswith("*"):
            raise Truncation(made)
    return made


def implicit_ok(source: SqlType, target: SqlType) -> bool:
    """Whether a value of ``source`` may be used where ``target`` is wanted without CAST."""
    return rules.implicit(source, target)
