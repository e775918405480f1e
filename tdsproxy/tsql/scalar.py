"""Scalar expressions and predicates without columns or subqueries, evaluated in Python.

The compiler of queries uses the same functions, operators and conversions, so both paths agree.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tdsproxy.tsql import ast
from tdsproxy.tsql.functions.registry import FunctionContext, Functions
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


def evaluate(expr: ast.Expr, env: Environment) -> TypedValue:
    """The value of ``expr`` and its static type. Raises NeedsQuery, SqlError."""
    del env
    raise NeedsQuery(str(type(expr)))


def test(predicate: ast.Predicate, env: Environment) -> bool | None:
    """The truth of ``predicate``: None is UNKNOWN. Raises NeedsQuery, SqlError."""
    del env
    raise NeedsQuery(str(type(predicate)))


def static_type(expr: ast.Expr, env: Environment) -> SqlType:
    """The static type of ``expr`` without evaluating it. Raises NeedsQuery, SqlError."""
    del env
    raise NeedsQuery(str(type(expr)))
