"""Arguments as functions want them, and the result rules that several functions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.converting.numbers import to_float, to_integer
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.registry import ResultRule
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value


def text(value: Value, type_: SqlType) -> str:
    """A value as text, as an implicit conversion would make it."""
    if isinstance(value, str):
        return value
    return str(convert(value, type_, t.nvarchar(MAX) if type_.is_unicode else t.varchar(MAX)))


def integer(value: Value, type_: SqlType = t.INT) -> int:
    """A value as int. Raises SqlError 245, 8115."""
    return value if isinstance(value, int) else to_integer(value, type_, t.INT)


def real(value: Value, type_: SqlType = t.FLOAT) -> float:
    if isinstance(value, int | float | Decimal):
        return float(value)
    return to_float(value, type_, t.FLOAT)


def invalid_argument(type_: SqlType, number: int, function: str) -> SqlError:
    """8116."""
    name = "numeric" if type_.name == "decimal" else type_.name
    words = f"Argument data type {name} is invalid for argument {number} of {function} function."
    return SqlError.of(8116, 16, 1, words)


def varying(type_: SqlType) -> SqlType:
    """The varchar or nvarchar that holds a value of ``type_`` as text."""
    if type_.name in ("text", "ntext", "xml"):
        return t.nvarchar(MAX) if type_.is_unicode else t.varchar(MAX)
    if type_.is_character:
        return SqlType("nvarchar" if type_.is_unicode else "varchar", type_.length)
    return t.varchar(SIZES.get(type_.name, 8000))


SIZES = {
    "bit": 1,
    "tinyint": 4,
    "smallint": 6,
    "int": 12,
    "bigint": 24,
    "decimal": 41,
    "money": 30,
    "smallmoney": 30,
    "float": 32,
    "real": 32,
    "date": 10,
    "time": 16,
    "datetime": 23,
    "smalldatetime": 19,
    "datetime2": 27,
    "datetimeoffset": 34,
    "uniqueidentifier": 36,
    "null": 1,
}
"""The longest text of a value of the type."""


def same_text(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    """Result rule: n/varchar as long as the first argument."""
    return varying(types[0])


def long_text(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    """Result rule: n/varchar(8000 or 4000), (max) when an argument is."""
    wide = any(type_.is_unicode for type_ in types)
    if any(type_.length == MAX for type_ in types):
        return t.nvarchar(MAX) if wide else t.varchar(MAX)
    return t.nvarchar(4000) if wide else t.varchar(8000)


def literal_int(expr: ast.Expr) -> int | None:
    """The value of an integer literal."""
    if isinstance(expr, ast.Literal) and isinstance(expr.value, int):
        return expr.value
    return None


def position(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    """Result rule of LEN and DATALENGTH: bigint for (max)."""
    return t.BIGINT if types[0].length == MAX else t.INT


def second_position(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
    """Result rule of CHARINDEX and PATINDEX: bigint when the text searched is (max)."""
    return t.BIGINT if types[1].length == MAX else t.INT


def common_of(first: int = 0) -> ResultRule:
    """Result rule: the common type of the arguments from ``first`` on."""

    def rule(types: Sequence[SqlType], exprs: Sequence[ast.Expr]) -> SqlType:
        return operators.common_type(types[first:])

    return rule


def always(type_: SqlType) -> Callable[[Sequence[SqlType], Sequence[ast.Expr]], SqlType]:
    return lambda types, exprs: type_
