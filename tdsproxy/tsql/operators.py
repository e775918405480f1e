"""T-SQL's operators: the static type of the result, and the result.

Facts: sql-docs, "Data type precedence" and "Precision, scale, and length".
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Final
from uuid import UUID

from tdsproxy.tsql import ast, failures
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import DAY_1753, DAY_1900, MAX_DAYS, SMALL_LAST, round_datetime, round_minute
from tdsproxy.tsql.collation import collation_key, key, like
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.converting import rules
from tdsproxy.tsql.converting.numbers import CONTEXT, RANGES, fit_decimal, fit_money, to_single
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import TICKS_PER_DAY, DateTime, DateTimeOffset, Value, Variant

__all__ = [
    "binary",
    "binary_type",
    "collation_key",
    "common_type",
    "compare",
    "comparison_type",
    "key",
    "like",
    "operand_type",
    "unary",
    "unary_type",
]

_PRECEDENCE: Final = (
    *("sql_variant", "xml", "datetimeoffset", "datetime2", "datetime", "smalldatetime", "date", "time"),
    *("float", "real", "decimal", "money", "smallmoney", "bigint", "int", "smallint", "tinyint", "bit"),
    *("ntext", "text", "image", "timestamp", "uniqueidentifier"),
    *("nvarchar", "nchar", "varchar", "char", "varbinary", "binary"),
)
_RANK: Final = {name: rank for rank, name in enumerate(_PRECEDENCE)}
_INTEGER_DIGITS: Final = {"bit": 1, "tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
_MAX_PRECISION: Final = 38
_BIG: Final = frozenset({"text", "ntext", "image", "xml"})
_LEGACY: Final = frozenset({"datetime", "smalldatetime"})
_NEWER: Final = frozenset({"date", "time", "datetime2", "datetimeoffset"})
_BITWISE: Final = "&|^"
_ARITHMETIC: Final = frozenset("+-*/%")


def operand_type(expr: ast.Expr, own: SqlType, other: SqlType) -> SqlType:
    """The type with which ``expr`` (of type ``own``) meets ``other`` in an operator: an integer literal
    beside a decimal counts its own digits (``1.0 / 3`` is numeric(7,6)), not those of int."""
    inner = expr.operand if isinstance(expr, ast.Unary) else expr
    if not isinstance(inner, ast.Literal) or not isinstance(inner.value, int):
        return own
    if own.name == "int" and other.name == "decimal":
        return t.numeric(len(str(abs(inner.value))), 0)
    return own


# --------------------------------------------------------------------------- types of results


def binary_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    """The static type of ``left op right``. Raises SqlError 402, 206, 8117."""
    if left.name == right.name and left.name in t.INTEGER_TYPES:
        return left
    if left.name == "null" and right.name == "null":
        return t.INT
    if left.name == "null":
        left = right
    elif right.name == "null":
        right = left
    if op in _BITWISE:
        return _bitwise_type(op, left, right)
    if op == "+":
        if left.is_character and right.is_character:
            return _concat_type(left, right)
        if left.is_binary and right.is_binary and not {left.name, right.name} & {"image", "timestamp"}:
            return t.varbinary(_added_length(left, right, 8000))
    if left.is_temporal or right.is_temporal:
        return _temporal_type(op, left, right)
    return _arithmetic_type(op, left, right)


def _added_length(left: SqlType, right: SqlType, cap: int) -> int:
    one, two = left.length or 0, right.length or 0
    return MAX if MAX in (one, two) else max(1, min(one + two, cap))


def _concat_type(left: SqlType, right: SqlType) -> SqlType:
    for side in (left, right):
        if side.name in _BIG:
            raise failures.incompatible(left, right, "+")
    if left.is_unicode or right.is_unicode:
        name = "nchar" if {left.name, right.name} <= {"char", "nchar"} else "nvarchar"
        return SqlType(name, _added_length(left, right, 4000))
    name = "char" if {left.name, right.name} == {"char"} else "varchar"
    return SqlType(name, _added_length(left, right, 8000))


def _bitwise_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    for side in (left, right):
        if not (side.is_integer or side.name == "bit" or side.name in ("binary", "varbinary")):
            raise failures.incompatible(left, right, op)
    if left.is_binary and right.is_binary:
        raise failures.incompatible(left, right, op)
    if left.is_binary or right.is_binary:
        return right if left.is_binary else left
    return min(left, right, key=lambda side: _RANK[side.name])


def _temporal_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    names = {left.name, right.name}
    if names & _NEWER:
        other = right if left.name in _NEWER else left
        if other.is_number:
            raise failures.clash(left, right)
        raise failures.incompatible(left, right, op)
    kind = left if left.name in _LEGACY else right
    other = right if kind is left else left
    if op not in "+-":
        raise failures.invalid_operand(kind, op)
    if not (other.is_number or other.name in _LEGACY or other.is_character or other.is_binary):
        raise failures.incompatible(left, right, op)
    return t.DATETIME if "datetime" in names else t.SMALLDATETIME


def _arithmetic_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    if not left.is_number and not right.is_number:
        if (left.is_binary and right.is_character) or (left.is_character and right.is_binary):
            raise failures.incompatible(left, right, op)
        raise failures.invalid_operand(left, op)
    for side in (left, right):
        if not side.is_number and not side.is_character and side.name not in ("binary", "varbinary"):
            raise failures.clash(side, right if side is left else left)
    if not left.is_number:
        left = right
    elif not right.is_number:
        right = left
    names = {left.name, right.name}
    if names == {"bit"}:
        raise failures.incompatible(left, right, op)
    if names & t.APPROXIMATE_TYPES:
        if op == "%":
            raise failures.incompatible(left, right, op)
        return t.REAL if names == {"real"} else t.FLOAT
    if "decimal" in names:
        return decimal_type(op, as_decimal(left), as_decimal(right))
    return min(left, right, key=lambda side: _RANK[side.name])


def as_decimal(type_: SqlType) -> SqlType:
    """An exact type as the decimal that holds it."""
    if type_.name == "decimal":
        return type_
    if type_.name in ("money", "smallmoney"):
        return t.numeric(19 if type_.name == "money" else 10, 4)
    return t.numeric(_INTEGER_DIGITS.get(type_.name, 10), 0)


def decimal_type(op: str, left: SqlType, right: SqlType) -> SqlType:
    """Precision and scale of decimal arithmetic, brought down to 38 digits as SQL Server does."""
    p1, s1 = left.precision or 18, left.scale or 0
    p2, s2 = right.precision or 18, right.scale or 0
    numeric = left.numeric or right.numeric
    if op in "+-":
        scale = max(s1, s2)
        whole = max(p1 - s1, p2 - s2)
        precision = whole + scale + 1
        if precision > _MAX_PRECISION:
            precision, scale = _MAX_PRECISION, min(scale, _MAX_PRECISION - whole)
        return t.decimal(precision, max(scale, 0), numeric=numeric)
    if op == "*":
        precision, scale = p1 + p2 + 1, s1 + s2
    elif op == "/":
        scale = max(6, s1 + p2 + 1)
        precision = p1 - s1 + s2 + scale
    else:
        scale = max(s1, s2)
        precision = min(p1 - s1, p2 - s2) + scale
    if precision > _MAX_PRECISION:
        whole = precision - scale
        if whole < 32:
            scale = min(scale, _MAX_PRECISION - whole)
        elif scale > 6:
            scale = 6
        precision = _MAX_PRECISION
    return t.decimal(max(precision, 1), scale, numeric=numeric)


def unary_type(op: str, operand: SqlType) -> SqlType:
    """The static type of ``-x``, ``+x``, ``~x``. Raises SqlError 8117."""
    if op == "+":
        return t.INT if operand.name == "null" else operand
    if op == "~":
        if operand.is_integer or operand.name == "bit":
            return operand
        raise failures.invalid_operand(operand, "'~'")
    if operand.name == "null":
        return t.INT
    if not operand.is_number or operand.name == "bit":
        raise failures.invalid_operand(operand, "minus")
    return t.SMALLINT if operand.name == "tinyint" else operand


# --------------------------------------------------------------------------- results


def unary(op: str, value: Value, type_: SqlType) -> Value:
    """Raises SqlError 8115, 8117."""
    result = unary_type(op, type_)
    if value is None or op == "+":
        return value
    if op == "~":
        if not isinstance(value, int):
            raise failures.invalid_operand(type_, "'~'")
        if type_.name == "bit":
            return 1 - value
        return 255 - value if type_.name == "tinyint" else ~value
    if isinstance(value, int):
        return _checked(-value, result)
    if isinstance(value, Decimal):
        # not Python's minus, which rounds to its context's 28 digits; and there is no -0
        return value.copy_negate() if value else value.copy_abs()
    if isinstance(value, float):
        return -value
    raise failures.invalid_operand(type_, "minus")


def binary(op: str, lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType) -> Value:
    """``left op right``: NULL when either is. Raises SqlError 8115, 8134, 517 and conversion errors."""
    same = ltype.name == rtype.name and ltype.name in t.INTEGER_TYPES
    if same and op in _ARITHMETIC and isinstance(lvalue, int) and isinstance(rvalue, int):
        return _integer(op, lvalue, rvalue, ltype)
    result = binary_type(op, ltype, rtype)
    if lvalue is None or rvalue is None:
        return None
    if result.is_character:
        return _concat(str(lvalue), str(rvalue), result)
    if isinstance(lvalue, bytes) and isinstance(rvalue, bytes):
        joined = lvalue + rvalue
        return joined if result.length == MAX else joined[: result.length]
    if result.name in _LEGACY:
        return _date_arithmetic(op, lvalue, ltype, rvalue, rtype, result)
    if op in _BITWISE:
        return _bitwise(op, lvalue, ltype, rvalue, rtype, result)
    if result.name in t.APPROXIMATE_TYPES:
        return _float(op, convert(lvalue, ltype, t.FLOAT), convert(rvalue, rtype, t.FLOAT), result)
    if result.name == "decimal":
        left = lvalue if ltype.is_exact else convert(lvalue, ltype, rtype)
        right = rvalue if rtype.is_exact else convert(rvalue, rtype, ltype)
        return _exact(op, left, right, result)
    left, right = convert(lvalue, ltype, result), convert(rvalue, rtype, result)
    if isinstance(left, int) and isinstance(right, int):
        return _integer(op, left, right, result)
    return _exact(op, left, right, result)


def _concat(left: str, right: str, result: SqlType) -> str:
    text = left + right
    if result.length == MAX or len(text) <= (result.length or 0):
        return text
    made = convert(
        text, SqlType(result.name, MAX), SqlType(result.name.replace("nchar", "nvarchar"), result.length)
    )
    return str(made)


def _checked(value: int, type_: SqlType) -> int:
    low, high = RANGES[type_.name]
    if not low <= value <= high:
        raise failures.overflow(type_)
    return value


def _integer(op: str, left: int, right: int, result: SqlType) -> int:
    if op == "+":
        return _checked(left + right, result)
    if op == "-":
        return _checked(left - right, result)
    if op == "*":
        return _checked(left * right, result)
    if right == 0:
        raise failures.divide_by_zero()
    quotient = abs(left) // abs(right)
    if (left < 0) != (right < 0):
        quotient = -quotient
    return _checked(quotient if op == "/" else left - quotient * right, result)


def _float(op: str, left: Value, right: Value, result: SqlType) -> float:
    if not isinstance(left, float) or not isinstance(right, float):
        raise failures.overflow(result)
    if op == "/" and right == 0:
        raise failures.divide_by_zero()
    made = (
        left + right
        if op == "+"
        else left - right
        if op == "-"
        else left * right
        if op == "*"
        else left / right
    )
    if made in (float("inf"), float("-inf")) or made != made:
        raise failures.overflow(result)
    return to_single(made, result) if result.name == "real" else made


def _exact(op: str, left: Value, right: Value, result: SqlType) -> Decimal:
    """Decimal and money. Quotients are cut, not rounded."""
    if not isinstance(left, int | Decimal) or not isinstance(right, int | Decimal):
        raise failures.overflow(result)
    one, two = Decimal(left), Decimal(right)
    scale = 4 if result.name != "decimal" else result.scale or 0
    if op in "/%" and two == 0:
        raise failures.divide_by_zero()
    if op == "+":
        made = CONTEXT.add(one, two)
    elif op == "-":
        made = CONTEXT.subtract(one, two)
    elif op == "*":
        made = CONTEXT.multiply(one, two)
    elif op == "/":
        made = CONTEXT.divide(one, two).quantize(Decimal(1).scaleb(-scale), ROUND_DOWN, CONTEXT)
    else:
        made = CONTEXT.remainder(one, two)
    return fit_decimal(made, result) if result.name == "decimal" else fit_money(made, result)


def _bitwise(op: str, lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType, result: SqlType) -> int:
    left = convert(lvalue, ltype, result) if ltype.is_binary else lvalue
    right = convert(rvalue, rtype, result) if rtype.is_binary else rvalue
    if not isinstance(left, int) or not isinstance(right, int):
        raise failures.incompatible(ltype, rtype, op)
    return left & right if op == "&" else left | right if op == "|" else left ^ right


def _date_arithmetic(
    op: str, lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType, result: SqlType
) -> DateTime:
    """datetime and smalldatetime count days from 1900-01-01."""
    left, right = _as_ticks(lvalue, ltype, result), _as_ticks(rvalue, rtype, result)
    days, ticks = divmod(left + right if op == "+" else left - right, TICKS_PER_DAY)
    days += DAY_1900
    if result.name == "datetime":
        made = round_datetime(days, ticks)
        if not DAY_1753 <= made.days <= MAX_DAYS:
            raise failures.overflow(result)
        return made
    made = round_minute(days, ticks)
    if not DAY_1900 <= made.days <= SMALL_LAST:
        raise failures.overflow(result)
    return made


def _as_ticks(value: Value, type_: SqlType, result: SqlType) -> int:
    """100 ns ticks since 1900-01-01."""
    if isinstance(value, int):
        return value * TICKS_PER_DAY
    if isinstance(value, float | Decimal):
        moment = CONTEXT.multiply(Decimal(value), Decimal(TICKS_PER_DAY))
        return int(moment.quantize(Decimal(1), ROUND_HALF_UP, CONTEXT))
    moment_value = value if isinstance(value, DateTime) else convert(value, type_, result)
    if not isinstance(moment_value, DateTime):
        raise failures.overflow(result)
    return (moment_value.days - DAY_1900) * TICKS_PER_DAY + moment_value.ticks


# --------------------------------------------------------------------------- common types and comparison


def common_type(types: Sequence[SqlType]) -> SqlType:
    """The type of CASE, COALESCE, UNION over ``types``: the highest in precedence, wide enough for all.

    Raises SqlError 206 when one of them does not convert to it. All NULL gives int.
    """
    known = [type_ for type_ in types if type_.name != "null"]
    if not known:
        return t.INT
    result = known[0]
    for type_ in known[1:]:
        result = _wider(result, type_)
    return result


def _wider(left: SqlType, right: SqlType) -> SqlType:
    if left == right:
        return left
    high, low = (left, right) if _RANK.get(left.name, 0) <= _RANK.get(right.name, 0) else (right, left)
    if not rules.implicit(low, high):
        raise failures.clash(left, right)
    if high.name == "decimal" and low.is_exact:
        return _wider_decimal(high, as_decimal(low))
    if high.name in t.LENGTH_TYPES and low.name in t.LENGTH_TYPES:
        return _wider_text(high, low)
    if high.name in t.SCALED_TIME_TYPES:
        other = 3 if low.name == "datetime" else low.scale or 0
        return SqlType(high.name, scale=max(high.scale or 0, other))
    return high


def _wider_decimal(left: SqlType, right: SqlType) -> SqlType:
    scale = max(left.scale or 0, right.scale or 0)
    whole = max((left.precision or 18) - (left.scale or 0), (right.precision or 18) - (right.scale or 0))
    if whole + scale > _MAX_PRECISION:
        scale = max(_MAX_PRECISION - whole, 0)
    numeric = left.numeric or right.numeric
    return t.decimal(min(whole + scale, _MAX_PRECISION), scale, numeric=numeric)


def _wider_text(high: SqlType, low: SqlType) -> SqlType:
    varying = {"nchar": "nvarchar", "char": "varchar", "binary": "varbinary"}
    name = high.name
    if low.name in varying.values() and name in varying:
        name = varying[name]
    if MAX in (high.length, low.length):
        return SqlType(varying.get(name, name), MAX)
    cap = 4000 if high.is_unicode else 8000
    return SqlType(name, min(max(high.length or 1, low.length or 1), cap))


def comparison_type(left: SqlType, right: SqlType) -> SqlType:
    """The type in which ``left`` and ``right`` are compared. Raises SqlError 402, 206."""
    for side in (left, right):
        if side.name in ("text", "ntext", "image") and not (left.name == "null" or right.name == "null"):
            raise failures.incompatible(left, right, "=")
        if side.name == "xml":
            raise failures.incompatible(left, right, "=")
    return common_type((left, right))


def compare(
    lvalue: Value, ltype: SqlType, rvalue: Value, rtype: SqlType, collation: str | None = None
) -> int | None:
    """-1, 0 or 1; None when either value is NULL. Raises SqlError when a side does not convert."""
    if lvalue is None or rvalue is None:
        return None
    if isinstance(lvalue, int) and isinstance(rvalue, int):
        return (lvalue > rvalue) - (lvalue < rvalue)
    if isinstance(lvalue, str) and isinstance(rvalue, str):
        return _order(key(lvalue, collation), key(rvalue, collation))
    if isinstance(lvalue, Decimal | int) and isinstance(rvalue, Decimal | int):
        return (lvalue > rvalue) - (lvalue < rvalue)
    type_ = comparison_type(ltype, rtype)
    left = convert(lvalue, ltype, _roomy(type_, rtype, ltype))
    right = convert(rvalue, rtype, _roomy(type_, ltype, rtype))
    return _order(sort_key(left, collation), sort_key(right, collation))


def _roomy(type_: SqlType, other: SqlType, own: SqlType) -> SqlType:
    """Exact numbers beside a decimal keep all their digits; text takes the other side's scale."""
    if type_.name != "decimal":
        return type_
    if own.is_exact:
        return t.numeric(38, as_decimal(own).scale or 0)
    return other if other.name == "decimal" else type_


def _order(left: object, right: object) -> int:
    if left == right:
        return 0
    return -1 if left < right else 1  # type: ignore[operator]


def sort_key(value: Value, collation: str | None = None) -> object:
    """What a value that is not NULL sorts by among values of its type."""
    if isinstance(value, str):
        return key(value, collation)
    if isinstance(value, bytes):
        return value.rstrip(b"\0")
    if isinstance(value, UUID):
        raw = value.bytes_le
        return raw[10:16] + raw[8:10] + raw[6:8] + raw[4:6] + raw[0:4]
    if isinstance(value, DateTimeOffset):
        return (value.days, value.ticks)
    if isinstance(value, Variant):
        family = -_RANK.get(value.type.name, 99) if not value.type.is_character else -90
        numbers = isinstance(value.value, int | float | Decimal)
        return (-17 if numbers else family, sort_key(value.value, collation))
    return value
