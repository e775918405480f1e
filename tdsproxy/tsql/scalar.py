"""Scalar expressions and predicates without columns or subqueries, evaluated in Python.

The compiler of queries uses the same functions, operators and conversions, so both paths agree.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert, try_convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.registry import FunctionContext, FunctionDef, Functions, call
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


class TypedValue(NamedTuple):
    value: Value
    type: SqlType


class NeedsQuery(Exception):
    """The expression has a column, a subquery or an aggregate: only a query can evaluate it."""


class Environment(Protocol):
    """Where an expression's names get their values."""

    @property
    def functions(self) -> Functions: ...

    @property
    def context(self) -> FunctionContext: ...

    def variable(self, name: str) -> TypedValue:
        """``@name``; raises SqlError 137 when it is not declared."""

    def global_variable(self, name: str) -> TypedValue:
        """``@@name``; raises SqlError 137 when there is none."""


_SPECIAL = frozenset({"COALESCE", "NULLIF", "IIF", "ISNULL", "CHOOSE"})
_AGGREGATES = frozenset(
    {
        *("COUNT", "COUNT_BIG", "SUM", "MIN", "MAX", "AVG", "STDEV", "STDEVP", "VAR", "VARP", "STRING_AGG"),
        *(
            "CHECKSUM_AGG",
            "GROUPING",
            "GROUPING_ID",
            "ROW_NUMBER",
            "RANK",
            "DENSE_RANK",
            "NTILE",
            "LAG",
            "LEAD",
        ),
        *("FIRST_VALUE", "LAST_VALUE", "PERCENT_RANK", "CUME_DIST"),
    }
)


def undeclared(name: str, line: int = 1) -> SqlError:
    return SqlError.of(137, 15, 2, f'Must declare the scalar variable "{name}".', line)


def unknown_function(name: str, line: int = 1) -> SqlError:
    return SqlError.of(195, 15, 10, f"'{name}' is not a recognized built-in function name.", line)


def check_arguments(function: FunctionDef, count: int, line: int = 1) -> None:
    """Raises SqlError 174 or 189 when a call has the wrong number of arguments."""
    if function.max_args == function.min_args and count != function.min_args:
        text = f"The {function.name.lower()} function requires {function.min_args} argument(s)."
        raise SqlError.of(174, 15, 1, text, line)
    if count < function.min_args or (function.max_args is not None and count > function.max_args):
        most = 254 if function.max_args is None else function.max_args
        text = f"The {function.name.lower()} function requires {function.min_args} to {most} arguments."
        raise SqlError.of(189, 15, 1, text, line)


def function_of(expr: ast.FunctionCall, env: Environment) -> FunctionDef:
    """The scalar function that a call means. Raises NeedsQuery for aggregates and user-defined functions,
    SqlError 195, 174, 189."""
    name = expr.name.object
    if expr.over is not None or expr.within_group or expr.distinct or name.upper() in _AGGREGATES:
        raise NeedsQuery(name)
    if expr.name.schema is not None and expr.name.schema.lower() != "sys":
        raise NeedsQuery(name)
    function = env.functions.lookup(name)
    if function is None:
        raise unknown_function(name, expr.line)
    check_arguments(function, len(expr.args), expr.line)
    return function


# --------------------------------------------------------------------------- types


def static_type(expr: ast.Expr, env: Environment) -> SqlType:
    """The static type of ``expr`` without evaluating it. Raises NeedsQuery, SqlError."""
    match expr:
        case ast.Literal():
            return expr.type
        case ast.Variable():
            return env.variable(expr.name).type
        case ast.GlobalVariable():
            return env.global_variable(expr.name).type
        case ast.Unary():
            return operators.unary_type(expr.op, static_type(expr.operand, env))
        case ast.Binary():
            left, right = _operand_types(expr, env)
            return operators.binary_type(expr.op, left, right)
        case ast.Cast():
            return target_of(expr)
        case ast.Collate():
            return static_type(expr.operand, env)
        case ast.Case():
            return operators.common_type(_branch_types(expr, env))
        case ast.DatePart():
            return t.NULL
        case ast.FunctionCall():
            function = function_of(expr, env)
            return function.result(
                [static_type(arg, env) for arg in expr.args if not _is_test(arg)], expr.args
            )
        case _:
            raise NeedsQuery(type(expr).__name__)


def _is_test(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.Predicate)


def _branch_types(expr: ast.Case, env: Environment) -> list[SqlType]:
    types = [static_type(result, env) for _, result in expr.whens]
    if expr.otherwise is not None:
        types.append(static_type(expr.otherwise, env))
    return types


def _operand_types(expr: ast.Binary, env: Environment) -> tuple[SqlType, SqlType]:
    left, right = static_type(expr.left, env), static_type(expr.right, env)
    return operators.operand_type(expr.left, left, right), operators.operand_type(expr.right, right, left)


def target_of(expr: ast.Cast) -> SqlType:
    """The target of a CAST. Raises NeedsQuery for a user-defined type, which the catalog must resolve."""
    if expr.type.type is None:
        raise NeedsQuery(expr.type.name.object)
    return expr.type.type


# --------------------------------------------------------------------------- values


def evaluate(expr: ast.Expr, env: Environment) -> TypedValue:
    """The value of ``expr`` and its static type. Raises NeedsQuery, SqlError (with the line of ``expr``)."""
    match expr:
        case ast.Literal():
            return TypedValue(expr.value, expr.type)
        case ast.Variable():
            return env.variable(expr.name)
        case ast.GlobalVariable():
            return env.global_variable(expr.name)
        case ast.Binary():
            return _binary(expr, env)
        case ast.FunctionCall():
            return _call(expr, env)
        case ast.Unary():
            inner = evaluate(expr.operand, env)
            type_ = operators.unary_type(expr.op, inner.type)
            return TypedValue(operators.unary(expr.op, inner.value, inner.type), type_)
        case ast.Cast():
            return _cast(expr, env)
        case ast.Case():
            return _case(expr, env)
        case ast.Collate():
            return evaluate(expr.operand, env)
        case ast.DatePart():
            return TypedValue(expr.name.lower(), t.NULL)
        case _:
            raise NeedsQuery(type(expr).__name__)


def _binary(expr: ast.Binary, env: Environment) -> TypedValue:
    # Long concatenations lean to the left: walked with a loop, not by recursion.
    chain = [expr]
    first = expr.left
    while isinstance(first, ast.Binary):
        chain.append(first)
        first = first.left
    made = evaluate(first, env)
    operand: ast.Expr = first
    for link in reversed(chain):
        right = evaluate(link.right, env)
        left_type = operators.operand_type(operand, made.type, right.type)
        right_type = operators.operand_type(link.right, right.type, made.type)
        type_ = operators.binary_type(link.op, left_type, right_type)
        made = TypedValue(operators.binary(link.op, made.value, left_type, right.value, right_type), type_)
        operand = link
    return made


def _cast(expr: ast.Cast, env: Environment) -> TypedValue:
    target = target_of(expr)
    inner = evaluate(expr.operand, env)
    style: int | None = None
    if expr.style is not None:
        given = evaluate(expr.style, env)
        number = convert(given.value, given.type, t.INT)
        if number is None:
            return TypedValue(None, target)
        style = int(str(number))
    change = try_convert if expr.try_ else convert
    return TypedValue(change(inner.value, inner.type, target, style), target)


def _case(expr: ast.Case, env: Environment) -> TypedValue:
    type_ = operators.common_type(_branch_types(expr, env))
    operand = None if expr.operand is None else evaluate(expr.operand, env)
    for condition, result in expr.whens:
        if operand is None:
            hit = test(condition, env) if isinstance(condition, ast.Predicate) else None
        else:
            when = evaluate(condition, env)
            order = operators.compare(operand.value, operand.type, when.value, when.type)
            hit = None if order is None else order == 0
        if hit:
            return _as(evaluate(result, env), type_)
    if expr.otherwise is None:
        return TypedValue(None, type_)
    return _as(evaluate(expr.otherwise, env), type_)


def _as(made: TypedValue, type_: SqlType) -> TypedValue:
    return TypedValue(convert(made.value, made.type, type_), type_)


def _call(expr: ast.FunctionCall, env: Environment) -> TypedValue:
    function = function_of(expr, env)
    name = function.name.upper()
    if name in _SPECIAL:
        return _conditional(name, expr, env)
    args = [evaluate(arg, env) for arg in expr.args]
    types = [arg.type for arg in args]
    type_ = function.result(types, expr.args)
    return TypedValue(call(function, [arg.value for arg in args], types, type_, env.context), type_)


def _conditional(name: str, expr: ast.FunctionCall, env: Environment) -> TypedValue:
    """The functions that evaluate only the arguments they need."""
    args = expr.args
    if name == "IIF":
        condition = args[0]
        type_ = operators.common_type([static_type(arg, env) for arg in args[1:]])
        hit = test(condition, env) if isinstance(condition, ast.Predicate) else None
        return _as(evaluate(args[1 if hit else 2], env), type_)
    if name == "NULLIF":
        first, second = evaluate(args[0], env), evaluate(args[1], env)
        order = operators.compare(first.value, first.type, second.value, second.type)
        return TypedValue(None if order == 0 else first.value, first.type)
    if name == "ISNULL":
        first = evaluate(args[0], env)
        if first.type.name == "null":
            return evaluate(args[1], env)
        return first if first.value is not None else _as(evaluate(args[1], env), first.type)
    if name == "CHOOSE":
        type_ = operators.common_type([static_type(arg, env) for arg in args[1:]])
        index = evaluate(args[0], env)
        number = convert(index.value, index.type, t.INT)
        if not isinstance(number, int) or not 1 <= number < len(args):
            return TypedValue(None, type_)
        return _as(evaluate(args[number], env), type_)
    type_ = operators.common_type([static_type(arg, env) for arg in args])
    for arg in args:
        made = evaluate(arg, env)
        if made.value is not None:
            return _as(made, type_)
    return TypedValue(None, type_)


# --------------------------------------------------------------------------- predicates

_TESTS = {
    "=": (0,),
    "<>": (-1, 1),
    "<": (-1,),
    "<=": (-1, 0),
    ">": (1,),
    ">=": (0, 1),
}


def test(predicate: ast.Predicate, env: Environment) -> bool | None:
    """The truth of ``predicate``: None is UNKNOWN. Raises NeedsQuery, SqlError."""
    match predicate:
        case ast.Comparison():
            return _compare(predicate.op, predicate.left, predicate.right, env)
        case ast.And():
            left = test(predicate.left, env)
            if left is False:
                return False
            right = test(predicate.right, env)
            return False if right is False else None if left is None or right is None else True
        case ast.Or():
            left = test(predicate.left, env)
            if left is True:
                return True
            right = test(predicate.right, env)
            return True if right is True else None if left is None or right is None else False
        case ast.Not():
            return _negate(test(predicate.operand, env), True)
        case ast.IsNull():
            return (evaluate(predicate.operand, env).value is None) != predicate.negated
        case ast.IsDistinct():
            return _distinct(predicate, env) != predicate.negated
        case ast.Between():
            low = _compare(">=", predicate.operand, predicate.low, env)
            high = _compare("<=", predicate.operand, predicate.high, env)
            inside = False if low is False or high is False else None if low is None or high is None else True
            return _negate(inside, predicate.negated)
        case ast.InList():
            return _negate(_in_list(predicate, env), predicate.negated)
        case ast.Like():
            return _negate(_like(predicate, env), predicate.negated)
        case _:
            raise NeedsQuery(type(predicate).__name__)


def _distinct(predicate: ast.IsDistinct, env: Environment) -> bool:
    differ = _compare("<>", predicate.left, predicate.right, env)
    if differ is not None:
        return differ
    left, right = evaluate(predicate.left, env), evaluate(predicate.right, env)
    return (left.value is None) != (right.value is None)


def _negate(truth: bool | None, negated: bool) -> bool | None:
    return truth if truth is None or not negated else not truth


def collation_of(*exprs: ast.Expr) -> str | None:
    """The collation written on one of the operands."""
    for expr in exprs:
        if isinstance(expr, ast.Collate):
            return expr.collation
    return None


def _compare(op: str, left: ast.Expr, right: ast.Expr, env: Environment) -> bool | None:
    one, two = evaluate(left, env), evaluate(right, env)
    order = operators.compare(one.value, one.type, two.value, two.type, collation_of(left, right))
    return None if order is None else order in _TESTS[op]


def _in_list(predicate: ast.InList, env: Environment) -> bool | None:
    unknown = False
    for item in predicate.items:
        hit = _compare("=", predicate.operand, item, env)
        if hit:
            return True
        unknown = unknown or hit is None
    return None if unknown else False


def _like(predicate: ast.Like, env: Environment) -> bool | None:
    made = [evaluate(predicate.operand, env), evaluate(predicate.pattern, env)]
    if predicate.escape is not None:
        made.append(evaluate(predicate.escape, env))
    texts = [convert(item.value, item.type, t.nvarchar(t.MAX)) for item in made]
    if any(text is None for text in texts):
        return None
    escape = str(texts[2]) if len(texts) > 2 else None
    if escape is not None and len(escape) != 1:
        text = f'The invalid escape character "{escape}" was specified in a LIKE predicate.'
        raise SqlError.of(506, 16, 1, text, predicate.line)
    collation = collation_of(predicate.operand, predicate.pattern)
    return operators.like(str(texts[0]), str(texts[1]), escape, collation)
