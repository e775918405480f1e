"""ISNULL, COALESCE, NULLIF, IIF, CHOOSE, GREATEST, LEAST.

The scalar evaluator runs the first five itself, for only the arguments that are needed are evaluated; what
is here types them, and runs them where the arguments are values already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql import ast, operators
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.functions.arguments import common_of, integer
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

Types = Sequence[SqlType]


def _isnull_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    return operators.common_type([types[1]]) if types[0].name == "null" else types[0]


def _isnull(value: Value, other: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    return value if value is not None else convert(other, arg_types[1], result_type)


def _coalesce(*values: Value, arg_types: Types, result_type: SqlType) -> Value:
    for value, type_ in zip(values, arg_types, strict=True):
        if value is not None:
            return convert(value, type_, result_type)
    return None


def _nullif(value: Value, other: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    return None if operators.compare(value, arg_types[0], other, arg_types[1]) == 0 else value


def _iif_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    """The condition, a predicate, has no type: callers may leave it out."""
    return operators.common_type(types[-2:])


def _iif(truth: Value, yes: Value, no: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    return convert(yes, arg_types[-2], result_type) if truth else convert(no, arg_types[-1], result_type)


def _choose(index: Value, *values: Value, arg_types: Types, result_type: SqlType) -> Value:
    if index is None:
        return None
    place = integer(index, arg_types[0])
    if not 1 <= place <= len(values):
        return None
    return convert(values[place - 1], arg_types[place], result_type)


def _extreme(sign: int, values: Sequence[Value], types: Types, result_type: SqlType) -> Value:
    best: Value = None
    for value, type_ in zip(values, types, strict=True):
        made = convert(value, type_, result_type)
        if made is not None and (
            best is None or operators.compare(made, result_type, best, result_type) == sign
        ):
            best = made
    return best


def _greatest(*values: Value, arg_types: Types, result_type: SqlType) -> Value:
    return _extreme(1, values, arg_types, result_type)


def _least(*values: Value, arg_types: Types, result_type: SqlType) -> Value:
    return _extreme(-1, values, arg_types, result_type)


FUNCTIONS: Final = (
    FunctionDef("ISNULL", 2, 2, _isnull_type, _isnull, strict=False, wants_types=True),
    FunctionDef("COALESCE", 2, None, common_of(), _coalesce, strict=False, wants_types=True),
    FunctionDef("NULLIF", 2, 2, lambda types, exprs: types[0], _nullif, strict=False, wants_types=True),
    FunctionDef("IIF", 3, 3, _iif_type, _iif, strict=False, wants_types=True),
    FunctionDef("CHOOSE", 2, None, common_of(1), _choose, strict=False, wants_types=True),
    FunctionDef("GREATEST", 1, None, common_of(), _greatest, strict=False, wants_types=True),
    FunctionDef("LEAST", 1, None, common_of(), _least, strict=False, wants_types=True),
)
