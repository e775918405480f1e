"""T-SQL's operators: the type of the result, and the result."""

from __future__ import annotations

from collections.abc import Sequence

from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


def binary_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    """The static type of ``left op right``. Raises SqlError 402, 206, 8117."""
    del op, right
    return left


def binary(op: str, lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType) -> Value:
    """``left op right``: NULL when either is. Raises SqlError 8115, 8134 and conversion errors."""
    del op, ltype, rvalue, rtype
    return lvalue


def unary_type(op: str, operand: SqlType) -> SqlType:
    """The static type of ``-x``, ``+x``, ``~x``. Raises SqlError 8117."""
    del op
    return operand


def unary(op: str, value: Value, type_: SqlType) -> Value:
    del op, type_
    return value


def common_type(types: Sequence[SqlType]) -> SqlType:
    """The type of CASE, COALESCE, UNION over ``types``. Raises SqlError 206."""
    return types[0]


def comparison_type(left: SqlType, right: SqlType) -> SqlType:
    """The type in which ``left`` and ``right`` are compared. Raises SqlError 402, 206."""
    return common_type((left, right))


def compare(lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType) -> int | None:
    """-1, 0 or 1; None when either value is NULL."""
    del ltype, rtype
    return None if lvalue is None or rvalue is None else 0


def like(value: str, pattern: str, escape: str | None = None) -> bool:
    """``value LIKE pattern`` under the default collation."""
    del escape
    return value == pattern


def collation_key(text: str) -> str:
    """A key that compares as ``text`` does under SQL_Latin1_General_CP1_CI_AS: case does not count, nor do
    trailing blanks; accents do."""
    return text.rstrip(" ").casefold()
