"""Statements that read and change rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node
from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.ddl import ColumnDefinition
    from tdsproxy.tsql.ast.expressions import Expr, Predicate
    from tdsproxy.tsql.ast.flow import Execute, ExecuteString
    from tdsproxy.tsql.ast.names import Name
    from tdsproxy.tsql.ast.queries import CommonTable, Query, SelectItem, Source, Top


class QueryStatement(Statement):
    """SELECT as a statement, also with INTO or with variable assignment."""

    query: Query


class OutputClause(Node):
    items: tuple[SelectItem, ...]
    into: Name | None = None
    into_columns: tuple[str, ...] = ()


class Insert(Statement):
    """Exactly one of ``rows``, ``query``, ``execute`` is set, or ``default_values``. In ``rows`` a None
    stands for DEFAULT."""

    target: Name
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Expr | None, ...], ...] | None = None
    query: Query | None = None
    execute: Execute | ExecuteString | None = None
    default_values: bool = False
    output: OutputClause | None = None
    top: Top | None = None
    with_: tuple[CommonTable, ...] = ()


class SetColumn(Node):
    """``column = value`` or ``@v = column = value`` of UPDATE; ``value`` None is DEFAULT; ``column`` None
    when only a variable is set."""

    column: tuple[str, ...] | None
    value: Expr | None
    op: str = "="
    variable: str | None = None


class Update(Statement):
    """``target`` may be a table name or an alias of ``sources``."""

    target: Name
    assignments: tuple[SetColumn, ...]
    sources: tuple[Source, ...] = ()
    where: Predicate | None = None
    top: Top | None = None
    output: OutputClause | None = None
    with_: tuple[CommonTable, ...] = ()
    current_of: str | None = None


class Delete(Statement):
    target: Name
    sources: tuple[Source, ...] = ()
    where: Predicate | None = None
    top: Top | None = None
    output: OutputClause | None = None
    with_: tuple[CommonTable, ...] = ()
    current_of: str | None = None


class MergeAction(Node):
    """One WHEN clause. ``when`` is MATCHED, ``NOT MATCHED`` (by the target) or ``NOT MATCHED BY SOURCE``;
    ``kind`` UPDATE, DELETE or INSERT. ``values`` None is DEFAULT VALUES; a None in it is DEFAULT."""

    when: str
    kind: str
    condition: Predicate | None = None
    assignments: tuple[SetColumn, ...] = ()
    columns: tuple[str, ...] = ()
    values: tuple[Expr | None, ...] | None = None


class Merge(Statement):
    target: Name
    source: Source
    on: Predicate
    actions: tuple[MergeAction, ...]
    alias: str | None = None
    output: OutputClause | None = None
    top: Top | None = None
    with_: tuple[CommonTable, ...] = ()


class Truncate(Statement):
    target: Name


class InsertBulk(Statement):
    """INSERT BULK, which drivers send before a bulk load message; ``columns`` as it names them."""

    target: Name
    text: str
    columns: tuple[ColumnDefinition, ...] = ()


class BulkInsert(Statement):
    """BULK INSERT from a file; ``options`` by their names in upper case, with the values written."""

    target: Name
    file: str
    options: tuple[tuple[str, str | int | None], ...] = ()
