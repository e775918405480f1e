"""Functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final

from tdsproxy.tsql import ast, failures
from tdsproxy.tsql import types as t
from tdsproxy.tsql.converting.numbers import CONTEXT, RANGES, fit_decimal, fit_money
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import always, integer, invalid_argument, real
from tdsproxy.tsql.functions.registry import FunctionContext, FunctionDef
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

Types = Sequence[SqlType]


def _number_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    """Small integers grow to int; text becomes float."""
    kind = types[0]
    if kind.name in ("tinyint", "smallint"):
        return t.INT
    if kind.name == "bit" or kind.is_character or kind.name == "null":
        return t.FLOAT
    if not kind.is_number:
        raise invalid_argument(kind, 1, "abs")
    if kind.name == "smallmoney":
        return t.MONEY
    return t.FLOAT if kind.name == "real" else kind


def _whole_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    made = _number_type(types, exprs)
    return t.decimal(made.precision or 18, 0, numeric=made.numeric) if made.name == "decimal" else made


def _fit(value: int | float | Decimal, type_: SqlType) -> Value:
    """A result in its type. Raises SqlError 8115."""
    if type_.is_integer:
        low, high = RANGES[type_.name]
        if not low <= value <= high:
            raise failures.overflow(type_)
        return int(value)
    if type_.name == "decimal":
        return fit_decimal(Decimal(value), type_)
    if type_.name == "money":
        return fit_money(Decimal(value), type_)
    made = float(value)
    if math.isinf(made):
        raise failures.overflow(type_)
    return made


def _given(value: Value, type_: SqlType) -> int | float | Decimal:
    return value if isinstance(value, int | float | Decimal) else real(value, type_)


def _abs(value: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    number = _given(value, arg_types[0])
    if isinstance(number, Decimal):
        return _fit(number.copy_abs(), result_type)
    return _fit(-number if number < 0 else number, result_type)


def _sign(value: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    number = _given(value, arg_types[0])
    return _fit(1 if number > 0 else -1 if number < 0 else 0, result_type)


def _ceiling(value: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    number = _given(value, arg_types[0])
    if isinstance(number, Decimal):
        return _fit(number.quantize(Decimal(1), ROUND_CEILING, CONTEXT), result_type)
    return _fit(math.ceil(number) if isinstance(number, float) else number, result_type)


def _floor(value: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    number = _given(value, arg_types[0])
    if isinstance(number, Decimal):
        return _fit(number.quantize(Decimal(1), ROUND_FLOOR, CONTEXT), result_type)
    return _fit(math.floor(number) if isinstance(number, float) else number, result_type)


def _round(value: Value, places: Value, cut: Value = 0, *, arg_types: Types, result_type: SqlType) -> Value:
    number, digits = _given(value, arg_types[0]), integer(places)
    rounding = ROUND_DOWN if integer(cut) else ROUND_HALF_UP
    if isinstance(number, float):
        if abs(digits) > 30:
            return 0.0 if digits < 0 else number
        exact = Decimal(repr(number))
        return _fit(float(exact.quantize(Decimal(1).scaleb(-digits), rounding, CONTEXT)), result_type)
    exact = Decimal(number)
    if digits >= -exact.as_tuple().exponent:  # type: ignore[operator]
        return _fit(exact, result_type)
    if digits < -50:
        return _fit(Decimal(0), result_type)
    return _fit(exact.quantize(Decimal(1).scaleb(-digits), rounding, CONTEXT), result_type)


def _power(value: Value, exponent: Value, *, arg_types: Types, result_type: SqlType) -> Value:
    base, power = _given(value, arg_types[0]), _given(exponent, arg_types[1])
    if isinstance(base, int) and isinstance(power, int) and 0 <= power <= 4096:
        return _fit(int(base**power), result_type)
    try:
        made = float(base) ** float(power)
    except ZeroDivisionError:
        raise failures.divide_by_zero() from None
    except OverflowError:
        raise failures.overflow(result_type) from None
    if isinstance(made, complex):
        raise _domain()
    return _fit(Decimal(repr(made)) if result_type.name in ("decimal", "money") else made, result_type)


def _domain() -> SqlError:
    return SqlError.of(3623, 16, 1, "An invalid floating point operation occurred.")


def _float_function(function: Callable[[float], float]) -> Callable[..., Value]:
    def run(value: Value, *, arg_types: Types, result_type: SqlType) -> Value:
        try:
            return _fit(function(real(value, arg_types[0])), t.FLOAT)
        except (ValueError, ZeroDivisionError):
            raise _domain() from None
        except OverflowError:
            raise failures.overflow(t.FLOAT) from None

    return run


def _log(value: Value, base: Value = None, *, arg_types: Types, result_type: SqlType) -> Value:
    try:
        made = math.log(real(value, arg_types[0]))
        return made if base is None else made / math.log(real(base, arg_types[-1]))
    except (ValueError, ZeroDivisionError):
        raise _domain() from None


def _atn2(one: Value, two: Value, *, arg_types: Types, result_type: SqlType) -> float:
    return math.atan2(real(one, arg_types[0]), real(two, arg_types[1]))


def _rand(context: FunctionContext, seed: Value = None) -> float:
    return context.random(None if seed is None else integer(seed))


def _one(name: str, function: Callable[[float], float]) -> FunctionDef:
    return FunctionDef(name, 1, 1, always(t.FLOAT), _float_function(function), wants_types=True)


def _cot(x: float) -> float:
    return 1 / math.tan(x)


def _square(x: float) -> float:
    return x * x


FUNCTIONS: Final = (
    FunctionDef("ABS", 1, 1, _number_type, _abs, wants_types=True),
    FunctionDef("SIGN", 1, 1, _number_type, _sign, wants_types=True),
    FunctionDef("CEILING", 1, 1, _whole_type, _ceiling, wants_types=True),
    FunctionDef("FLOOR", 1, 1, _whole_type, _floor, wants_types=True),
    FunctionDef("ROUND", 2, 3, _number_type, _round, wants_types=True),
    FunctionDef("POWER", 2, 2, _number_type, _power, wants_types=True),
    FunctionDef("LOG", 1, 2, always(t.FLOAT), _log, wants_types=True),
    FunctionDef("ATN2", 2, 2, always(t.FLOAT), _atn2, wants_types=True),
    FunctionDef("PI", 0, 0, always(t.FLOAT), lambda: math.pi),
    FunctionDef("RAND", 0, 1, always(t.FLOAT), _rand, needs_context=True, deterministic=False),
    _one("SQRT", math.sqrt),
    _one("SQUARE", _square),
    _one("EXP", math.exp),
    _one("LOG10", math.log10),
    _one("SIN", math.sin),
    _one("COS", math.cos),
    _one("TAN", math.tan),
    _one("COT", _cot),
    _one("ASIN", math.asin),
    _one("ACOS", math.acos),
    _one("ATAN", math.atan),
    _one("DEGREES", math.degrees),
    _one("RADIANS", math.radians),
)
