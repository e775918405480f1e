"""Queries and what their FROM clauses hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.expressions import Expr, FunctionCall, OrderItem, Over, Predicate
    from tdsproxy.tsql.ast.names import Name, TypeName


class SelectItem(Node):
    """One item of a select list. ``variable`` is set for ``@v = expr`` (``assign_op`` ``=``, ``+=`` ...)."""

    expr: Expr
    alias: str | None = None
    variable: str | None = None
    assign_op: str = "="


class Top(Node):
    count: Expr
    percent: bool = False
    with_ties: bool = False


class Source(Node, kw_only=True):
    """Something in a FROM clause."""

    alias: str | None = None
    columns: tuple[str, ...] = ()
    """Column names given after the alias: ``(VALUES ...) v(a, b)``."""
    pos: int = 0
    line: int = 1


class TableSource(Source):
    """A table, view, CTE, temp table or table variable; hints are kept in upper case and change nothing."""

    name: Name
    hints: tuple[str, ...] = ()
    system_time: bool = False
    """With FOR SYSTEM_TIME: only for tables with versions."""


class FunctionSource(Source):
    """A table function; ``xml.nodes()`` has the xml's name as the schema of the call's name. ``schema`` is
    the WITH list of OPENJSON."""

    call: FunctionCall
    schema: tuple[JsonColumn, ...] = ()


class JsonColumn(Node):
    name: str
    type: TypeName
    path: str | None = None
    as_json: bool = False


class DerivedTable(Source):
    query: Query


class ValuesSource(Source):
    rows: tuple[tuple[Expr, ...], ...]


class Join(Source):
    """``kind`` is INNER, LEFT, RIGHT, FULL, CROSS, ``CROSS APPLY`` or ``OUTER APPLY``."""

    kind: str
    left: Source
    right: Source
    on: Predicate | None = None


class Pivot(Source):
    source: Source
    aggregate: FunctionCall
    column: str
    values: tuple[str, ...]


class Unpivot(Source):
    """``UNPIVOT (value FOR column IN (columns))``."""

    source: Source
    value: str
    column: str
    columns_in: tuple[str, ...]


class XmlClause(Node):
    """FOR XML / FOR JSON: ``kind`` XML or JSON, ``mode`` PATH, RAW, AUTO; options in upper case."""

    kind: str
    mode: str
    path: str | None = None
    options: tuple[str, ...] = ()
    root: str | None = None


class Query(Node, kw_only=True):
    """What may stand in parentheses as a table: a select, a set operation, each with its own tail."""

    order: tuple[OrderItem, ...] = ()
    offset: Expr | None = None
    fetch: Expr | None = None
    for_: XmlClause | None = None
    with_: tuple[CommonTable, ...] = ()
    options: tuple[str, ...] = ()
    """OPTION (...) items in upper case, ``MAXRECURSION 0``."""
    pos: int = 0
    line: int = 1


class Select(Query):
    items: tuple[SelectItem, ...]
    sources: tuple[Source, ...] = ()
    """The comma list of FROM; joins are single ``Join`` sources."""
    where: Predicate | None = None
    group: tuple[Expr, ...] = ()
    grouping: tuple[tuple[Expr, ...], ...] | None = None
    """The sets that ROLLUP, CUBE or GROUPING SETS stands for; ``group`` has all of their expressions."""
    having: Predicate | None = None
    distinct: bool = False
    top: Top | None = None
    into: Name | None = None
    windows: tuple[tuple[str, Over], ...] = ()
    """The WINDOW clause."""


class SetOperation(Query):
    """``op`` is UNION, UNION ALL, EXCEPT or INTERSECT."""

    op: str
    left: Query
    right: Query


class CommonTable(Node):
    name: str
    columns: tuple[str, ...]
    query: Query
