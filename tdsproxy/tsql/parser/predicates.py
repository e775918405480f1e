"""Conditions: comparisons, AND, OR, NOT and the predicates of WHERE, IF and CASE WHEN.

T-SQL's booleans are no values. Behind an opening parenthesis it is only seen at its end whether it held a
condition or a value, so one routine reads both and its callers check which one they got.
"""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.lexer import Token, error, shown
from tdsproxy.tsql.parser.expressions import Expressions

_COMPARISONS: Final = {
    "=": "=",
    "<>": "<>",
    "!=": "<>",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
    "!<": ">=",
    "!>": "<=",
}
_SPLIT: Final = {
    ("<", "="): "<=",
    (">", "="): ">=",
    ("<", ">"): "<>",
    ("!", "="): "<>",
    ("!", "<"): ">=",
    ("!", ">"): "<=",
}


class Predicates(Expressions):
    """Reads conditions."""

    def predicate(self) -> ast.Predicate:
        """A condition; a bare value is error 4145."""
        return self._condition(self._or())

    def _condition(self, found: ast.Expr) -> ast.Predicate:
        if isinstance(found, ast.Predicate):
            return found
        raise self._not_boolean()

    def _not_boolean(self) -> SyntaxError_:
        token: Token = self.last if self.at_end else self.tok
        return error(
            4145,
            "An expression of non-boolean type specified in a context where a condition is expected, near "
            f"'{shown(token)}'.",
            token.line,
        )

    def _or(self) -> ast.Expr:
        found = self._and()
        while self.at("OR"):
            left = self._condition(found)
            self.advance()
            right = self._condition(self._and())
            found = ast.Or(left, right, pos=left.pos, line=left.line)
        return found

    def _and(self) -> ast.Expr:
        found = self._not()
        while self.at("AND"):
            left = self._condition(found)
            self.advance()
            right = self._condition(self._not())
            found = ast.And(left, right, pos=left.pos, line=left.line)
        return found

    def _not(self) -> ast.Expr:
        if not self.at("NOT"):
            return self._simple()
        start = self.advance()
        self.deeper()
        operand = self._condition(self._not())
        self.shallower()
        return ast.Not(operand, pos=start.pos, line=start.line)

    def _simple(self) -> ast.Expr:
        """A predicate without AND, OR, NOT, or a value that no comparison follows."""
        start = self.tok
        if start.word == "EXISTS":
            self.advance()
            return ast.Exists(self.parenthesised_query(), pos=start.pos, line=start.line)
        if start.word == "UPDATE" and self.peek().word == "(":
            self.advance()
            (column,) = self.name_list()
            return ast.UpdatePredicate(column, pos=start.pos, line=start.line)
        if start.word in ("CONTAINS", "FREETEXT") and self.peek().word == "(":
            return self._full_text()
        if start.word == "(" and not self.at_query:
            self.deeper()
            self.advance()
            inner = self._or()
            self.expect(")")
            self.shallower()
            if isinstance(inner, ast.Predicate):
                return inner
            left = self.binary_rest(self.postfix(inner), 1)
        else:
            left = self.expression()
        return self._tail(left)

    def _full_text(self) -> ast.Predicate:
        """CONTAINS or FREETEXT: a comparison with a function that is found to be unknown when it runs."""
        token = self.advance()
        self.skip_parentheses()
        name = ast.Name(token.text, pos=token.pos, line=token.line)
        called = ast.FunctionCall(name, (), pos=token.pos, line=token.line)
        one = ast.Literal(1, types.INT, pos=token.pos, line=token.line)
        return ast.Comparison("=", called, one, pos=token.pos, line=token.line)

    def _tail(self, left: ast.Expr) -> ast.Expr:
        word = self.tok.word
        if word in _COMPARISONS or word == "!":
            return self._comparison(left)
        if word == "IS":
            self.advance()
            negated = self.accept("NOT")
            if self.accept("DISTINCT"):
                self.expect("FROM")
                right = self.expression()
                return ast.IsDistinct(left, right, negated, pos=left.pos, line=left.line)
            self.expect("NULL")
            return ast.IsNull(left, negated, pos=left.pos, line=left.line)
        negated = word == "NOT" and self.peek().word in ("BETWEEN", "IN", "LIKE")
        if negated:
            self.advance()
        if self.accept("BETWEEN"):
            low = self.expression()
            self.expect("AND")
            return ast.Between(left, low, self.expression(), negated, pos=left.pos, line=left.line)
        if self.accept("LIKE"):
            pattern = self.expression()
            escape = self.expression() if self.accept("ESCAPE") else None
            return ast.Like(left, pattern, escape, negated, pos=left.pos, line=left.line)
        if self.accept("IN"):
            if self.at_query:
                return ast.InQuery(left, self.parenthesised_query(), negated, pos=left.pos, line=left.line)
            self.expect("(")
            items = self.expressions()
            self.expect(")")
            return ast.InList(left, items, negated, pos=left.pos, line=left.line)
        return left

    def _comparison(self, left: ast.Expr) -> ast.Expr:
        first = self.advance().word
        split = _SPLIT.get((first, self.tok.word))
        if split is not None:
            self.advance()
            operator = split
        elif first == "!":
            raise self.error(self.last)
        else:
            operator = _COMPARISONS[first]
        if self.at("ALL", "ANY", "SOME"):
            quantifier = "ALL" if self.advance().word == "ALL" else "ANY"
            query = self.parenthesised_query()
            return ast.QuantifiedComparison(operator, left, quantifier, query, pos=left.pos, line=left.line)
        return ast.Comparison(operator, left, self.expression(), pos=left.pos, line=left.line)
