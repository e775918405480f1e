"""CROSS APPLY and OUTER APPLY over derived tables.

SQLite has no LATERAL: only the arguments of a table function see the tables to their left. So an applied
query without FROM becomes plain expressions, a simple correlated SELECT becomes a join, and everything else
passes its rows as JSON through ``json_each``, whose argument is a correlated subquery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.inspect import contains_aggregate
from tdsproxy.server.compiler.typed import BoundColumn, Relation, Scope
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.compiled import Output
    from tdsproxy.server.compiler.queries import QueryCompiler
    from tdsproxy.server.compiler.sources import SourceCompiler


class ApplyCompiler:
    def __init__(self, context: Context, queries: QueryCompiler, sources: SourceCompiler) -> None:
        self._context = context
        self._queries = queries
        self._sources = sources

    def compile(self, left: str, right: ast.DerivedTable, outer: bool, scope: Scope) -> str:
        """The FROM text of ``left APPLY right``; adds the relation of the right side to ``scope``."""
        query = right.query
        if isinstance(query, ast.Select) and _simple(query):
            if not query.sources and query.where is None:
                return self._expressions(left, right, query, scope)
            if query.sources and not outer:
                return self._joined(left, right, query, scope)
        return self._rows(left, right, outer, scope)

    def _expressions(self, left: str, right: ast.DerivedTable, query: ast.Select, scope: Scope) -> str:
        outputs, _ = self._queries.select_list(query, scope)
        self._relate(right, outputs, [output.typed.sql for output in outputs], scope, False)
        return left

    def _joined(self, left: str, right: ast.DerivedTable, query: ast.Select, scope: Scope) -> str:
        inner = Scope(parent=scope)
        source = self._sources.compile(query.sources, inner)
        condition = "1"
        if query.where is not None:
            condition = self._queries.expressions.predicate(query.where, inner)
        outputs, _ = self._queries.select_list(query, inner)
        self._relate(right, outputs, [output.typed.sql for output in outputs], scope, False)
        # Parentheses around one table would hide its alias.
        group = f"({source})" if " JOIN " in source else source
        return f"{left} JOIN {group} ON {condition}"

    def _rows(self, left: str, right: ast.DerivedTable, outer: bool, scope: Scope) -> str:
        inner = self._queries.query(right.query, scope)
        row, rows = self._context.alias(), self._context.alias()
        packed, read = [], []
        for number, output in enumerate(inner.columns, 1):
            packed.append(_pack(f"{row}.c{number}", output.type))
            read.append(_unpack(f"json_extract({rows}.value, '$[{number - 1}]')", output.type))
        self._relate(right, list(inner.columns), read, scope, outer)
        argument = f"(SELECT json_group_array(json_array({', '.join(packed)})) FROM ({inner.sql}) AS {row})"
        if outer:
            return f"{left} LEFT JOIN json_each({argument}) AS {rows} ON 1"
        return f"{left} CROSS JOIN json_each({argument}) AS {rows}"

    def _relate(
        self, right: ast.DerivedTable, outputs: list[Output], sql: list[str], scope: Scope, outer: bool
    ) -> None:
        names = self._queries.column_names(right.columns, outputs, right.alias or "", right.line)
        columns = tuple(
            BoundColumn(
                name,
                text,
                output.type if output.type.name != "null" else t.INT,
                output.nullable or outer,
                aggregate=output.typed.aggregate,
                collation=output.typed.collation,
            )
            for name, text, output in zip(names, sql, outputs, strict=True)
        )
        scope.relations.append(Relation(right.alias or "", columns))


def _simple(query: ast.Select) -> bool:
    """Whether each combination of its sources gives one row of its own."""
    return not (
        query.group
        or query.having is not None
        or query.distinct
        or query.top is not None
        or query.order
        or query.offset is not None
        or query.with_
        or any(contains_aggregate(item.expr) or _windowed(item.expr) for item in query.items)
    )


def _windowed(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.FunctionCall) and expr.over is not None


def _pack(sql: str, type_: SqlType) -> str:
    """A stored value in a form that JSON keeps exactly."""
    if type_.is_binary:
        return f"hex({sql})"
    if type_.name in t.APPROXIMATE_TYPES:
        return f"CASE WHEN {sql} IS NULL THEN NULL ELSE format('%!.17g', {sql}) END"
    return sql


def _unpack(sql: str, type_: SqlType) -> str:
    if type_.is_binary:
        return f"unhex({sql})"
    if type_.name in t.APPROXIMATE_TYPES:
        return f"CAST({sql} AS REAL)"
    return sql
