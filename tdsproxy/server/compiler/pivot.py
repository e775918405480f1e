"""PIVOT and UNPIVOT as the queries that they stand for.

``PIVOT (SUM(v) FOR c IN ([a], [b]))`` groups by all other columns and has one aggregate for each value of
``c``; ``UNPIVOT (v FOR c IN (a, b))`` makes a row of each column that is not NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.server.compiler.typed import Scope, error
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t

if TYPE_CHECKING:
    from tdsproxy.server.compiler.sources import SourceCompiler


def pivot_query(pivot: ast.Pivot, compiler: SourceCompiler, outer: Scope) -> ast.Select:
    """The query that a PIVOT is. Raises SqlError 207."""
    columns = _columns(pivot.source, compiler, outer)
    argument = pivot.aggregate.args[0] if pivot.aggregate.args else None
    if not isinstance(argument, ast.ColumnRef):
        raise error(102, "Incorrect syntax near 'PIVOT'.", pivot.line, severity=15)
    spread = _find(columns, pivot.column, pivot.line)
    used = {pivot.column.lower(), argument.parts[-1].lower()}
    _find(columns, argument.parts[-1], pivot.line)
    kept = [column for column in columns if column.parts[-1].lower() not in used]
    items = [ast.SelectItem(column, column.parts[-1]) for column in kept]
    for value in pivot.values:
        wanted = ast.Literal(value=value, type=t.nvarchar(max(len(value), 1)), line=pivot.line)
        case = ast.Case(
            operand=None,
            whens=((ast.Comparison(op="=", left=spread, right=wanted, line=pivot.line), argument),),
            otherwise=None,
            line=pivot.line,
        )
        items.append(ast.SelectItem(ast.replace(pivot.aggregate, args=(case,)), value))
    return ast.Select(items=tuple(items), sources=(pivot.source,), group=tuple(kept), line=pivot.line)


def unpivot_query(unpivot: ast.Unpivot, compiler: SourceCompiler, outer: Scope) -> ast.Select:
    """The query that an UNPIVOT is. Raises SqlError 207."""
    columns = _columns(unpivot.source, compiler, outer)
    given = [_find(columns, name, unpivot.line) for name in unpivot.columns_in]
    names = {name.lower() for name in unpivot.columns_in}
    kept = [column for column in columns if column.parts[-1].lower() not in names]
    rows = tuple(
        (column, ast.Literal(value=column.parts[-1], type=t.nvarchar(128), line=unpivot.line))
        for column in given
    )
    alias = "unpivoted"
    values = ast.ValuesSource(rows=rows, alias=alias, columns=(unpivot.value, unpivot.column))
    made = [ast.ColumnRef(parts=(alias, name)) for name in (unpivot.value, unpivot.column)]
    items = [ast.SelectItem(column, column.parts[-1]) for column in (*kept, *made)]
    return ast.Select(
        items=tuple(items),
        sources=(ast.Join("CROSS APPLY", unpivot.source, values, line=unpivot.line),),
        where=ast.IsNull(operand=made[0], negated=True),
        line=unpivot.line,
    )


def _columns(source: ast.Source, compiler: SourceCompiler, outer: Scope) -> list[ast.ColumnRef]:
    """The columns of a source, found by compiling it once for nothing."""
    scope = Scope(parent=outer.parent, common=outer.common)
    compiler.compile((source,), scope)
    return [
        ast.ColumnRef(
            parts=(relation.name, column.name) if relation.name else (column.name,), line=source.line
        )
        for relation in scope.relations
        for column in relation.columns
    ]


def _find(columns: list[ast.ColumnRef], name: str, line: int) -> ast.ColumnRef:
    for column in columns:
        if column.parts[-1].lower() == name.lower():
            return column
    raise error(207, f"Invalid column name '{name}'.", line)
