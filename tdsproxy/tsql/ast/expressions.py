"""Expressions, and the predicates of conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node

if TYPE_CHECKING:
    from decimal import Decimal

    from tdsproxy.tsql.ast.names import Name, TypeName
    from tdsproxy.tsql.ast.queries import Query
    from tdsproxy.tsql.types import SqlType


class Expr(Node, kw_only=True):
    pos: int = 0
    line: int = 1


class Literal(Expr):
    """``value`` is int, Decimal (``1.5``), float (``1e0``), str, bytes (``0x``) or None (NULL).

    ``type``: int or bigint-sized integers are int / decimal as T-SQL types them (a literal beyond int is
    decimal(n,0)); ``'x'`` varchar(n), ``N'x'`` nvarchar(n), ``0x`` varbinary(n), ``$1`` money.
    """

    value: int | Decimal | float | str | bytes | None
    type: SqlType


class Variable(Expr):
    """``@name`` (with its sign)."""

    name: str


class GlobalVariable(Expr):
    """``@@name`` (with its signs)."""

    name: str


class ColumnRef(Expr):
    """``parts`` from the left: (column,), (table, column), (schema, table, column) ..."""

    parts: tuple[str, ...]


class Star(Expr):
    """``*`` or ``t.*`` in a select list, and the argument of COUNT(*)."""

    qualifier: tuple[str, ...] = ()


class Unary(Expr):
    """``op`` is ``-``, ``+`` or ``~``."""

    op: str
    operand: Expr


class Binary(Expr):
    """``op`` is one of ``+ - * / % & | ^``."""

    op: str
    left: Expr
    right: Expr


class FunctionCall(Expr):
    """A function by name; ``name.object`` keeps its spelling. ``args`` may hold ``Star`` for COUNT(*), and
    a ``DatePart`` where the syntax wants one. ``distinct`` for COUNT(DISTINCT x)."""

    name: Name
    args: tuple[Expr, ...]
    distinct: bool = False
    over: Over | None = None
    within_group: tuple[OrderItem, ...] = ()


class DatePart(Expr):
    """The bare word of DATEADD(day, ...), normalised to lower case, as written (``dd``, ``day``)."""

    name: str


class Cast(Expr):
    """CAST, CONVERT, TRY_CAST, TRY_CONVERT, PARSE is not among them."""

    operand: Expr
    type: TypeName
    style: Expr | None = None
    try_: bool = False


class Case(Expr):
    """``operand`` None for the searched form, whose conditions are predicates (``Predicate`` nodes); in the
    simple form they are values."""

    operand: Expr | None
    whens: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr | None


class Subquery(Expr):
    """A scalar subquery."""

    query: Query


class Collate(Expr):
    operand: Expr
    collation: str


class MethodCall(Expr):
    """``expr.value('.', 'nvarchar(max)')`` and its kin on xml."""

    operand: Expr
    method: str
    args: tuple[Expr, ...]


class NextValue(Expr):
    sequence: Name


class Default(Expr):
    """The word DEFAULT as an argument of a table function."""


class Over(Node):
    partition: tuple[Expr, ...] = ()
    order: tuple[OrderItem, ...] = ()
    frame: str | None = None
    """The frame clause as SQLite takes it too: ``ROWS BETWEEN 1 PRECEDING AND CURRENT ROW``."""
    window: str | None = None
    """The window of the query's WINDOW clause that this one goes on from."""
    ignore_nulls: bool = False


class OrderItem(Node):
    expr: Expr
    descending: bool = False


class Predicate(Expr):
    pass


class Comparison(Predicate):
    """``op`` is ``= <> < <= > >=`` (``!=``, ``!<``, ``!>`` are normalised)."""

    op: str
    left: Expr
    right: Expr


class QuantifiedComparison(Predicate):
    """``x > ALL (SELECT ...)``; ``quantifier`` is ALL or ANY."""

    op: str
    left: Expr
    quantifier: str
    query: Query


class And(Predicate):
    left: Predicate
    right: Predicate


class Or(Predicate):
    left: Predicate
    right: Predicate


class Not(Predicate):
    operand: Predicate


class IsNull(Predicate):
    operand: Expr
    negated: bool = False


class IsDistinct(Predicate):
    """``left IS [NOT] DISTINCT FROM right``; never unknown."""

    left: Expr
    right: Expr
    negated: bool = False


class Between(Predicate):
    operand: Expr
    low: Expr
    high: Expr
    negated: bool = False


class InList(Predicate):
    operand: Expr
    items: tuple[Expr, ...]
    negated: bool = False


class InQuery(Predicate):
    operand: Expr
    query: Query
    negated: bool = False


class Like(Predicate):
    operand: Expr
    pattern: Expr
    escape: Expr | None = None
    negated: bool = False


class Exists(Predicate):
    query: Query


class UpdatePredicate(Predicate):
    """``UPDATE(column)`` inside a trigger."""

    column: str
