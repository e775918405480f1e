"""WITH: common table expressions, also recursive ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from tdsproxy.server.compiler.compiled import CompiledQuery
from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.inspect import expressions_of
from tdsproxy.server.compiler.typed import BoundColumn, CommonTableBinding, Scope, Typed, error
from tdsproxy.tsql import ast
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.queries import QueryCompiler


class CommonTableCompiler:
    def __init__(self, context: Context, queries: QueryCompiler) -> None:
        self._context = context
        self._queries = queries

    def compile(self, tables: tuple[ast.CommonTable, ...], scope: Scope) -> str:
        parts = []
        recursive = False
        for table in tables:
            if table.name.lower() in scope.common:
                raise error(
                    422, f"Common table expression defined but not used: '{table.name}'.", table.query.line
                )
            sql_name = self._context.alias("w")
            if _refers_to(table.query, table.name):
                recursive = True
                inner = self._recursive(table, sql_name, scope)
            else:
                inner = self._queries.query(
                    table.query, Scope(parent=scope.parent, common=dict(scope.common))
                )
            columns = self._queries.column_names(table.columns, inner.columns, table.name, table.query.line)
            scope.common[table.name.lower()] = CommonTableBinding(
                sql_name,
                tuple(
                    BoundColumn(
                        name,
                        f"c{number}",
                        output.type,
                        output.nullable,
                        identity=output.described().identity,
                        updatable=output.described().updatable_unknown,
                        aggregate=output.typed.aggregate,
                        collation=output.typed.collation,
                        base=output.base,
                    )
                    for number, (name, output) in enumerate(zip(columns, inner.columns, strict=True), 1)
                ),
                inner.table,
                inner.keys,
            )
            listed = [f"c{number}" for number in range(1, len(columns) + 1)]
            listed += [f"k{number}" for number in range(1, inner.keys + 1)]
            names = ", ".join(listed)
            parts.append(f"{sql_name}({names}) AS ({inner.sql})")
        return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(parts)}"

    def _recursive(self, table: ast.CommonTable, sql_name: str, scope: Scope) -> CompiledQuery:
        """A CTE that refers to itself: the anchor gives the types."""
        query = table.query
        if not isinstance(query, ast.SetOperation) or query.op != "UNION ALL":
            raise error(
                252,
                f"Recursive common table expression '{table.name}' does not contain a top-level UNION ALL"
                " operator.",
                query.line,
            )
        inner_scope = Scope(parent=scope.parent, common=dict(scope.common))
        anchors: list[ast.Query] = []
        recursives: list[ast.Query] = []
        for part in _flattened(query):
            (recursives if _refers_to(part, table.name) else anchors).append(part)
        with self._context.without_keys():
            compiled = [self._queries.body(part, inner_scope) for part in anchors]
        first = compiled[0]
        names = self._queries.column_names(table.columns, first.columns, table.name, query.line)
        inner_scope.common[table.name.lower()] = CommonTableBinding(
            sql_name,
            tuple(
                BoundColumn(name, f"c{number}", output.type, True, collation=output.typed.collation)
                for number, (name, output) in enumerate(zip(names, first.columns, strict=True), 1)
            ),
        )
        types = [output.type for output in first.columns]
        parts = [self._queries.as_types(item, types).sql for item in compiled]
        for part in recursives:
            with self._context.without_keys():
                made = self._queries.body(part, inner_scope)
            self._queries.same_width(first.columns, made.columns, query.line)
            for output, wanted in zip(made.columns, types, strict=True):
                if not _recursion_type_ok(output.type, wanted):
                    raise error(
                        240,
                        "Types don't match between the anchor and the recursive part in column"
                        f' "{output.name}" of recursive query "{table.name}".',
                        query.line,
                    )
            parts.append(self._queries.as_types(made, types).sql)
        outputs = tuple(
            replace(
                output, typed=Typed(output.typed.sql, output.type, True, collation=output.typed.collation)
            )
            for output in first.columns
        )
        return CompiledQuery(" UNION ALL ".join(parts), outputs)


def _flattened(query: ast.Query) -> list[ast.Query]:
    if isinstance(query, ast.SetOperation) and query.op == "UNION ALL" and not query.order:
        return [*_flattened(query.left), *_flattened(query.right)]
    return [query]


def _refers_to(query: ast.Query, name: str) -> bool:
    """Whether a FROM clause anywhere in ``query`` names the one-part table ``name``."""
    lowered = name.lower()
    return any(
        isinstance(node, ast.TableSource)
        and node.name.object.lower() == lowered
        and node.name.schema is None
        and node.name.database is None
        for node in expressions_of(query)
    )


def _recursion_type_ok(found: SqlType, wanted: SqlType) -> bool:
    if found.name == "null" or found.name == wanted.name:
        return True
    return found.is_number and wanted.is_number and found.is_integer == wanted.is_integer
