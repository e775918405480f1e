"""Functions of the bits of whole numbers and binary values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql import ast, failures
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.arguments import always, integer, invalid_argument
from tdsproxy.tsql.functions.registry import FunctionDef, ResultRule
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

Types = Sequence[SqlType]
_SIZES: Final = {"bit": 1, "tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}


def _same(function: str) -> ResultRule:
    """The result has the type of the first argument."""

    def rule(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
        kind = types[0]
        if kind.name not in _SIZES and not kind.is_binary:
            raise invalid_argument(kind, 1, function)
        return kind

    return rule


def _counted(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    _same("bit_count")(types, exprs)
    return t.BIGINT


def _read(value: Value, type_: SqlType) -> tuple[int, int]:
    """The bits as a number that is not negative, and how many there are."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big"), 8 * len(value)
    size = _SIZES[type_.name]
    return int(value) & ((1 << size) - 1), size  # type: ignore[arg-type]


def _written(bits: int, size: int, type_: SqlType) -> Value:
    bits &= (1 << size) - 1
    if type_.is_binary:
        return bits.to_bytes(size // 8, "big")
    if type_.name not in ("bit", "tinyint") and bits >> (size - 1):
        return bits - (1 << size)
    return bits


def _shifted(value: Value, places: int, type_: SqlType) -> Value:
    """To the left; a negative number of places is to the right. The sign moves as any other bit."""
    bits, size = _read(value, type_)
    if abs(places) >= size:
        return _written(0, size, type_)
    return _written(bits << places if places >= 0 else bits >> -places, size, type_)


def _left_shift(value: Value, places: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    return _shifted(value, integer(places, arg_types[1]), arg_types[0])


def _right_shift(value: Value, places: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    return _shifted(value, -integer(places, arg_types[1]), arg_types[0])


def _bit_count(value: Value, *, arg_types: Types, result_type: SqlType) -> int:
    return _read(value, arg_types[0])[0].bit_count()


def _position(offset: Value, size: int, type_: SqlType) -> int:
    found = integer(offset, type_)
    if not 0 <= found < size:
        raise failures.overflow(type_)
    return found


def _get_bit(value: Value, offset: Value, *, arg_types: Types, result_type: SqlType) -> int:
    bits, size = _read(value, arg_types[0])
    return bits >> _position(offset, size, arg_types[1]) & 1


def _set_bit(value: Value, offset: Value, to: Value = 1, *, arg_types: Types, result_type: SqlType) -> Value:
    bits, size = _read(value, arg_types[0])
    mask = 1 << _position(offset, size, arg_types[1])
    return _written(bits | mask if integer(to) else bits & ~mask, size, arg_types[0])


FUNCTIONS: Final = (
    FunctionDef("LEFT_SHIFT", 2, 2, _same("left_shift"), _left_shift, wants_types=True),
    FunctionDef("RIGHT_SHIFT", 2, 2, _same("right_shift"), _right_shift, wants_types=True),
    FunctionDef("BIT_COUNT", 1, 1, _counted, _bit_count, wants_types=True),
    FunctionDef("GET_BIT", 2, 2, always(t.BIT), _get_bit, wants_types=True),
    FunctionDef("SET_BIT", 2, 3, _same("set_bit"), _set_bit, wants_types=True),
)
