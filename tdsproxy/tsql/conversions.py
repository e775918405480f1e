"""CAST, CONVERT and assignment between T-SQL types."""

from __future__ import annotations

from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


def convert(value: Value, source: SqlType, target: SqlType, style: int = 0) -> Value:
    """CAST/CONVERT. Raises SqlError (245, 241, 242, 8114, 8115, 529 ...)."""
    del source, target, style
    return value


def assign(value: Value, source: SqlType, target: SqlType) -> Value:
    """Assignment to a column: as convert, but text and binary that are too long raise 2628 instead of
    being cut, and explicit-only conversions raise 257/206."""
    del source, target
    return value


def implicit_ok(source: SqlType, target: SqlType) -> bool:
    """Whether a value of ``source`` may be used where ``target`` is wanted without CAST."""
    return source.name != "" and target.name != ""
