"""DEFAULT and CHECK expressions that plain SQLite computes just as T-SQL does.

Only these go into the stored schema, so that any SQLite tool can write the file; everything else is
computed and checked by the server. So the translation is narrow on purpose: text comparisons, for one, stay
out, since SQLite's NOCASE knows ASCII only.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from tdsproxy.server.schema import ColumnInfo
from tdsproxy.server.workspace import quoted, text_literal
from tdsproxy.store.encoding import is_sortable_text, to_storage
from tdsproxy.tsql import ast
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType

_NOW: Final = {
    "datetime": "(strftime('%Y-%m-%d %H:%M:%f', 'now', 'localtime'))",
    "date": "(date('now', 'localtime'))",
}
_CLOCKS: Final = frozenset({"GETDATE", "SYSDATETIME", "CURRENT_TIMESTAMP"})


def native_default(expr: ast.Expr, type_: SqlType) -> str | None:
    """A DEFAULT as SQLite SQL; None when SQLite can't compute it."""
    if isinstance(expr, ast.FunctionCall) and expr.name.object.upper() in _CLOCKS and not expr.args:
        return _NOW.get(type_.name)
    return _literal(expr, type_)


def _literal(expr: ast.Expr, type_: SqlType) -> str | None:
    negative = False
    while isinstance(expr, ast.Unary) and expr.op in "+-":
        negative = negative != (expr.op == "-")
        expr = expr.operand
    if not isinstance(expr, ast.Literal):
        return None
    value = expr.value
    if value is None:
        return "NULL"
    if negative:
        if not isinstance(value, int | float | Decimal):
            return None
        value = -value
    try:
        raw = to_storage(convert(value, expr.type, type_), type_)
    except SqlError:
        return None
    if isinstance(raw, str):
        return None if "\0" in raw else text_literal(raw)
    if isinstance(raw, bytes):
        return f"x'{raw.hex()}'"
    return repr(raw)


def native_check(expr: ast.Expr, columns: Sequence[ColumnInfo]) -> str | None:
    """A CHECK as SQLite SQL; None when SQLite can't decide it as T-SQL does."""
    by_name = {column.name.lower(): column for column in columns}
    return _Checks(by_name).predicate(expr)


class _Checks:
    def __init__(self, columns: dict[str, ColumnInfo]) -> None:
        self._columns = columns

    def predicate(self, expr: ast.Expr) -> str | None:
        match expr:
            case ast.And() | ast.Or():
                left, right = self.predicate(expr.left), self.predicate(expr.right)
                word = "AND" if isinstance(expr, ast.And) else "OR"
                return f"({left} {word} {right})" if left and right else None
            case ast.Not():
                inner = self.predicate(expr.operand)
                return f"(NOT {inner})" if inner else None
            case ast.IsNull():
                column = self._column(expr.operand)
                word = "NOT NULL" if expr.negated else "NULL"
                return f"({quoted(column.name)} IS {word})" if column else None
            case ast.Comparison():
                return self._comparison(expr.op, expr.left, expr.right)
            case ast.Between():
                low = self._comparison(">=", expr.operand, expr.low)
                high = self._comparison("<=", expr.operand, expr.high)
                if not low or not high:
                    return None
                return f"({'NOT ' if expr.negated else ''}({low} AND {high}))"
            case ast.InList():
                parts = [self._comparison("=", expr.operand, item) for item in expr.items]
                if any(part is None for part in parts):
                    return None
                joined = " OR ".join(part for part in parts if part)
                return f"({'NOT ' if expr.negated else ''}({joined}))"
        return None

    def _comparison(self, op: str, left: ast.Expr, right: ast.Expr) -> str | None:
        a, b = self._column(left), self._column(right)
        if a is not None and b is not None:
            same = a.type == b.type or (a.type.is_integer and b.type.is_integer)
            return f"({quoted(a.name)} {op} {quoted(b.name)})" if same and _ordered(a.type) else None
        if a is not None:
            literal = self._operand(right, a.type)
            return f"({quoted(a.name)} {op} {literal})" if literal else None
        if b is not None:
            literal = self._operand(left, b.type)
            return f"({literal} {op} {quoted(b.name)})" if literal else None
        return None

    def _operand(self, expr: ast.Expr, type_: SqlType) -> str | None:
        if not _ordered(type_):
            return None
        inner = expr.operand if isinstance(expr, ast.Unary) else expr
        if isinstance(inner, ast.Literal) and type_.is_number and not is_sortable_text(type_):
            if not isinstance(inner.value, int | Decimal):
                return None
            sign = "-" if isinstance(expr, ast.Unary) and expr.op == "-" else ""
            return f"{sign}{inner.value}"
        return _literal(expr, type_)

    def _column(self, expr: ast.Expr) -> ColumnInfo | None:
        if isinstance(expr, ast.ColumnRef):
            return self._columns.get(expr.parts[-1].lower())
        return None


def _ordered(type_: SqlType) -> bool:
    return type_.is_number or type_.name in ("date", "datetime", "datetime2", "smalldatetime", "time")
