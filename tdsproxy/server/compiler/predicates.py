"""Conditions: three-valued, as SQLite booleans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdsproxy.server.compiler.binder import is_plain_text
from tdsproxy.server.compiler.collations import collation_name, seek_range, stronger
from tdsproxy.server.compiler.storage_rules import both_exact
from tdsproxy.server.compiler.typed import CASE_INSENSITIVE, Scope, Typed, error
from tdsproxy.server.schema import DEFAULT_COLLATION
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t

if TYPE_CHECKING:
    from tdsproxy.server.compiler.expressions import ExpressionCompiler

_COMPARED_AS_STORED: Final = t.INTEGER_TYPES | {
    "bit",
    "decimal",
    "money",
    "smallmoney",
    "float",
    "real",
    "date",
    "time",
    "datetime",
    "datetime2",
    "smalldatetime",
    "binary",
    "varbinary",
    "timestamp",
}
_OPERATOR_WORDS: Final = {
    "=": "equal to",
    "<>": "not equal to",
    "<": "less than",
    "<=": "less than or equal to",
    ">": "greater than",
    ">=": "greater than or equal to",
}


def _low(raw: Stored) -> Stored:
    return seek_range(raw)[0] if isinstance(raw, str) else None


def _high(raw: Stored) -> Stored:
    return seek_range(raw)[1] if isinstance(raw, str) else None


class PredicateCompiler:
    """Compiles conditions; ``expressions`` compiles the values in them."""

    def __init__(self, expressions: ExpressionCompiler) -> None:
        self._expressions = expressions

    def predicate(self, expr: ast.Expr, scope: Scope) -> str:
        """A condition as SQLite boolean: 1, 0 or NULL for UNKNOWN."""
        match expr:
            case ast.Comparison():
                return self.compare(
                    expr.op,
                    self._expressions.value(expr.left, scope),
                    self._expressions.value(expr.right, scope),
                    expr.line,
                )
            case ast.And():
                return f"({self.predicate(expr.left, scope)} AND {self.predicate(expr.right, scope)})"
            case ast.Or():
                return f"({self.predicate(expr.left, scope)} OR {self.predicate(expr.right, scope)})"
            case ast.Not():
                return f"(NOT {self.predicate(expr.operand, scope)})"
            case ast.IsNull():
                word = "IS NOT NULL" if expr.negated else "IS NULL"
                return f"({self._expressions.value(expr.operand, scope).sql} {word})"
            case ast.IsDistinct():
                left = self._expressions.value(expr.left, scope)
                right = self._expressions.value(expr.right, scope)
                differ = self.compare("<>", left, right, expr.line)
                distinct = f"COALESCE({differ}, ({left.sql} IS NULL) <> ({right.sql} IS NULL))"
                return f"(NOT {distinct})" if expr.negated else f"({distinct})"
            case ast.Between():
                operand = self._expressions.value(expr.operand, scope)
                low = self.compare(">=", operand, self._expressions.value(expr.low, scope))
                high = self.compare("<=", operand, self._expressions.value(expr.high, scope))
                return f"(NOT ({low} AND {high}))" if expr.negated else f"({low} AND {high})"
            case ast.InList():
                return self._in_list(expr, scope)
            case ast.InQuery():
                return self._in_query(expr, scope)
            case ast.Like():
                return self._like(expr, scope)
            case ast.Exists():
                return f"EXISTS ({self._expressions.queries.subquery(expr.query, scope).sql})"
            case ast.QuantifiedComparison():
                return self._quantified(expr, scope)
        raise error(
            4145,
            "An expression of non-boolean type specified in a context where a condition is expected.",
            expr.line,
            severity=15,
        )

    def compare(self, op: str, left: Typed, right: Typed, line: int = 1) -> str:
        """``left op right`` under T-SQL's rules of types and collation."""
        if left.type.name == "null" or right.type.name == "null":
            return "NULL"
        common = operators.comparison_type(left.type, right.type)
        if common.name in _COMPARED_AS_STORED and both_exact(left.type, right.type):
            # Numbers that lie in SQLite as numbers compare as such, whatever their precision.
            return f"({left.sql} {op} {right.sql})"
        seek = self._seek(op, left, right) if is_plain_text(common) else None
        if seek is not None:
            return seek
        left, right = self._expressions.converted(left, common), self._expressions.converted(right, common)
        if is_plain_text(common):
            return f"({left.sql} COLLATE {self.collation(left, right, op, line)} {op} {right.sql})"
        if common.name == "uniqueidentifier":
            if op in ("=", "<>"):
                return f"({left.sql} {op} {right.sql})"
            order = self._expressions.binder.guid_order()
            return f"({order}({left.sql}) {op} {order}({right.sql}))"
        if common.name == "datetimeoffset":
            instant = self._expressions.binder.instant()
            return f"({instant}({left.sql}) {op} {instant}({right.sql}))"
        if common.name in _COMPARED_AS_STORED:
            return f"({left.sql} {op} {right.sql})"
        if common.name in ("text", "ntext", "image", "xml"):
            raise error(
                402,
                f"The data types {left.type.name} and {right.type.name} are incompatible in the"
                f" {_OPERATOR_WORDS[op]} operator.",
                line,
            )
        function = self._expressions.binder.comparison(common, common)
        return f"({function}({left.sql}, {right.sql}) {op} 0)"

    def _seek(self, op: str, left: Typed, right: Typed) -> str | None:
        """``column = constant`` under the default collation, in a form that can use the column's index."""
        if right.column is not None:
            left, right = right, left
        column = left.column
        if op != "=" or column is None or column.base is None or left.collation != CASE_INSENSITIVE:
            return None
        if right.source is None or right.explicit or not right.type.is_character:
            return None
        parameters = self._expressions.context.parameters
        low = parameters.bind(right.source, right.type, _low)
        high = parameters.bind(right.source, right.type, _high)
        sql = column.sql
        return (
            f"({sql} COLLATE NOCASE >= {low} AND {sql} COLLATE NOCASE < {high}"
            f" AND {sql} COLLATE {CASE_INSENSITIVE} = {right.sql})"
        )

    @staticmethod
    def collation(left: Typed, right: Typed, op: str, line: int) -> str:
        """The collation of a comparison: an explicit one, else a column's. Raises 468 when both sides are
        columns with different ones."""
        if left.explicit or right.explicit:
            return left.collation if left.explicit else right.collation
        if left.column is not None and right.column is not None and left.collation != right.collation:
            names = [collation_name(side.collation) or DEFAULT_COLLATION for side in (right, left)]
            raise error(
                468,
                f'Cannot resolve the collation conflict between "{names[0]}" and "{names[1]}" in the'
                f" {_OPERATOR_WORDS[op]} operation.",
                line,
                state=9,
            )
        return stronger(left, right)

    def _in_list(self, expr: ast.InList, scope: Scope) -> str:
        operand = self._expressions.value(expr.operand, scope)
        items = [self._expressions.value(item, scope) for item in expr.items]
        typed = [item.type for item in items if item.type.name != "null"]
        common = operators.common_type([operand.type, *typed]) if typed else operand.type
        simple = is_plain_text(common) or (
            common.name in _COMPARED_AS_STORED and common.name != "datetimeoffset"
        )
        if simple and operand.type.name != "null":
            left = self._expressions.converted(operand, common)
            collate = f" COLLATE {operand.collation}" if is_plain_text(common) else ""
            inner = ", ".join(self._expressions.converted(item, common).sql for item in items)
            word = "NOT IN" if expr.negated else "IN"
            return f"({left.sql}{collate} {word} ({inner}))"
        parts = " OR ".join(self.compare("=", operand, item) for item in items)
        return f"(NOT ({parts}))" if expr.negated else f"({parts})"

    def _in_query(self, expr: ast.InQuery, scope: Scope) -> str:
        operand = self._expressions.value(expr.operand, scope)
        inner = self._expressions.queries.subquery(expr.query, scope)
        if len(inner.columns) != 1:
            raise error(
                116,
                "Only one expression can be specified in the select list when the subquery is not"
                " introduced with EXISTS.",
                expr.line,
            )
        column = inner.columns[0]
        common = operators.comparison_type(operand.type, column.type)
        left = self._expressions.converted(operand, common)
        alias = self._expressions.context.alias()
        right = self._expressions.converted(Typed(f"{alias}.c1", column.type), common)
        word = "NOT IN" if expr.negated else "IN"
        if common.name == "datetimeoffset":
            instant = self._expressions.binder.instant()
            source = f"SELECT {instant}({right.sql}) FROM ({inner.sql}) AS {alias}"
            return f"({instant}({left.sql}) {word} ({source}))"
        collate = f" COLLATE {operand.collation}" if is_plain_text(common) else ""
        return f"({left.sql}{collate} {word} (SELECT {right.sql} FROM ({inner.sql}) AS {alias}))"

    def _like(self, expr: ast.Like, scope: Scope) -> str:
        operand = self._as_text(self._expressions.value(expr.operand, scope))
        pattern = self._as_text(self._expressions.value(expr.pattern, scope))
        function = self._expressions.binder.like(collation_name(stronger(operand, pattern)))
        if expr.escape is None:
            call = f"{function}({operand.sql}, {pattern.sql})"
        else:
            escape = self._as_text(self._expressions.value(expr.escape, scope))
            call = f"{function}({operand.sql}, {pattern.sql}, {escape.sql}, 1)"
        return f"(NOT {call})" if expr.negated else f"{call}"

    def _as_text(self, operand: Typed) -> Typed:
        if operand.type.is_character:
            return operand
        return self._expressions.converted(operand, t.nvarchar(4000))

    def _quantified(self, expr: ast.QuantifiedComparison, scope: Scope) -> str:
        inner = self._expressions.queries.subquery(expr.query, scope)
        alias = self._expressions.context.alias()
        column = inner.columns[0]
        each = self.compare(
            expr.op,
            self._expressions.value(expr.left, scope),
            Typed(f"{alias}.c1", column.type, column.nullable),
        )
        source = f"FROM ({inner.sql}) AS {alias}"
        if expr.quantifier == "ALL":
            return (
                f"(CASE WHEN EXISTS (SELECT 1 {source} WHERE NOT {each}) THEN 0"
                f" WHEN EXISTS (SELECT 1 {source} WHERE {each} IS NULL) THEN NULL ELSE 1 END)"
            )
        return (
            f"(CASE WHEN EXISTS (SELECT 1 {source} WHERE {each}) THEN 1"
            f" WHEN EXISTS (SELECT 1 {source} WHERE {each} IS NULL) THEN NULL ELSE 0 END)"
        )
