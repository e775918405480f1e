"""Queries: SELECT, set operations, FROM, common table expressions and their tails."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, error
from tdsproxy.tsql.parser.cursor import NAME_KINDS, STRING_KINDS
from tdsproxy.tsql.parser.expressions import literal
from tdsproxy.tsql.parser.sources import Sources

_ASSIGNMENTS: Final = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|="})
_SET_OPERATORS: Final = frozenset({"UNION", "EXCEPT"})

_FOR_OPTIONS: Final = {
    "XML": ("TYPE", "ROOT", "ELEMENTS", "BINARY", "XMLDATA", "XMLSCHEMA"),
    "JSON": ("ROOT", "INCLUDE_NULL_VALUES", "WITHOUT_ARRAY_WRAPPER"),
}


class Queries(Sources):
    """Reads query expressions."""

    def query(self) -> ast.Query:
        """WITH, body, ORDER BY, OFFSET, FETCH, FOR and OPTION."""
        with_ = self.common_tables() if self.at("WITH") else ()
        self.deeper()
        query = self.query_body()
        self.shallower()
        query = self.query_tail(query)
        if isinstance(query, ast.SetOperation):
            query = _whole_into(query)
        return ast.replace(query, with_=with_) if with_ else query

    def common_tables(self) -> tuple[ast.CommonTable, ...]:
        """``WITH name [(columns)] AS (query), ...``."""
        self.expect("WITH")
        tables: list[ast.CommonTable] = []
        while True:
            if self.at("XMLNAMESPACES") and not tables and self.last.word == "WITH":
                self.advance()
                self.skip_parentheses()
            else:
                name = self.name()
                columns = self.name_list() if self.at("(") else ()
                self.expect("AS")
                tables.append(ast.CommonTable(name, columns, self.parenthesised_query()))
            if not self.accept(","):
                return tuple(tables)

    def query_body(self) -> ast.Query:
        """Set operations, INTERSECT before UNION and EXCEPT."""
        left = self._intersections()
        while self.tok.word in _SET_OPERATORS:
            operator = self.advance().word
            if operator == "UNION" and self.accept("ALL"):
                operator = "UNION ALL"
            right = _without_own_into(self._intersections())
            left = ast.SetOperation(operator, left, right, pos=left.pos, line=left.line)
        return left

    def _intersections(self) -> ast.Query:
        left = self._query_primary()
        while self.accept("INTERSECT"):
            right = _without_own_into(self._query_primary())
            left = ast.SetOperation("INTERSECT", left, right, pos=left.pos, line=left.line)
        return left

    def _query_primary(self) -> ast.Query:
        if self.at("("):
            return self.parenthesised_query()
        return self._select()

    def query_tail(self, query: ast.Query) -> ast.Query:
        """ORDER BY, OFFSET, FETCH, FOR and OPTION behind a query; FOR UPDATE and the like are a cursor's."""
        order: tuple[ast.OrderItem, ...] = ()
        offset = fetch = None
        if self.accept("ORDER"):
            self.expect("BY")
            order = self.order_items()
            if self.at("OFFSET") and self.peek().word != ":":
                self.advance()
                offset = self.expression()
                self.expect("ROW", "ROWS")
                if self.at("FETCH") and self.peek().word in ("NEXT", "FIRST") and not self._at_cursor_fetch():
                    self.advance()
                    self.expect("NEXT", "FIRST")
                    fetch = self.expression()
                    self.expect("ROW", "ROWS")
                    self.expect("ONLY")
        for_ = self._for_clause() if self.at("FOR") else None
        options = self.option_clause()
        if order or for_ or options:
            return ast.replace(
                query,
                order=order or query.order,
                offset=offset or query.offset,
                fetch=fetch or query.fetch,
                for_=for_ or query.for_,
                options=options or query.options,
            )
        return query

    def _at_cursor_fetch(self) -> bool:
        """``FETCH NEXT FROM c``: a statement, not the clause ``FETCH NEXT n ROWS ONLY``."""
        return self.peek(2).word in ("FROM", "INTO") or self.peek(2).kind in NAME_KINDS

    def order_items(self) -> tuple[ast.OrderItem, ...]:
        items: list[ast.OrderItem] = []
        while True:
            expr = self.expression()
            descending = self.accept("DESC")
            if not descending:
                self.accept("ASC")
            items.append(ast.OrderItem(expr, descending))
            if not self.accept(","):
                return tuple(items)

    def option_clause(self) -> tuple[str, ...]:
        """``OPTION (MAXRECURSION 0, RECOMPILE)``: the items in upper case."""
        if not (self.at("OPTION") and self.peek().word == "("):
            return ()
        self.advance()
        self.advance()
        items: list[str] = []
        words: list[str] = []
        depth = 0
        while depth or not self.at(")"):
            if self.at_end:
                raise self.error()
            token = self.advance()
            depth += {"(": 1, ")": -1}.get(token.word, 0)
            if token.word == "," and not depth:
                items.append(" ".join(words))
                words = []
            else:
                words.append(token.word or token.text)
        self.advance()
        items.append(" ".join(words))
        return tuple(items)

    def _for_clause(self) -> ast.XmlClause | None:
        kind = self.peek().word
        if kind == "BROWSE":
            self.advance()
            self.advance()
            return None
        if kind not in ("XML", "JSON"):
            return None
        self.advance()
        self.advance()
        modes = ("PATH", "AUTO") if kind == "JSON" else ("PATH", "RAW", "AUTO", "EXPLICIT")
        mode = self.expect(*modes).word
        path = None
        if kind == "XML" and mode in ("PATH", "RAW") and self.accept("("):
            path = self.string()
            self.expect(")")
        options: list[str] = []
        root = None
        while self.accept(","):
            word = self.expect(*_FOR_OPTIONS[kind]).word
            if word == "BINARY":
                self.expect("BASE64")
                word = "BINARY BASE64"
            elif word == "ELEMENTS" and self.at("XSINIL", "ABSENT"):
                word = f"ELEMENTS {self.advance().word}"
            elif word == "ROOT":
                root = "root"
                if self.accept("("):
                    root = self.string()
                    self.expect(")")
            elif word == "XMLSCHEMA" and self.accept("("):
                self.string()
                self.expect(")")
            options.append(word)
        return ast.XmlClause(kind, mode, path, tuple(options), root)

    # ------------------------------------------------------------------ SELECT

    def _select(self) -> ast.Select:
        start = self.expect("SELECT")
        distinct = self.accept("DISTINCT")
        if not distinct:
            self.accept("ALL")
        top = self.top() if self.at("TOP") else None
        items = self.select_items()
        into = self.object_name(3) if self.accept("INTO") else None
        if into is not None and self.accept("ON"):
            self.name()
        sources = self.sources() if self.accept("FROM") else ()
        where = self.predicate() if self.accept("WHERE") else None
        group: tuple[ast.Expr, ...] = ()
        grouping: tuple[tuple[ast.Expr, ...], ...] | None = None
        if self.accept("GROUP"):
            self.expect("BY")
            group, grouping = self._group()
        having = self.predicate() if self.accept("HAVING") else None
        windows = self._windows() if self.accept("WINDOW") else ()
        return ast.Select(
            items,
            sources,
            where,
            group,
            grouping,
            having,
            distinct,
            top,
            into,
            windows,
            pos=start.pos,
            line=start.line,
        )

    def _windows(self) -> tuple[tuple[str, ast.Over], ...]:
        """``name AS (...), ...``."""
        found = []
        while True:
            name = self.name()
            self.expect("AS")
            found.append((name, self.window()))
            if not self.accept(","):
                return tuple(found)

    def top(self, *, of_rows: bool = False) -> ast.Top:
        """``TOP (n) [PERCENT] [WITH TIES]``; in a SELECT a number may do without parentheses. ``of_rows``: of
        the rows that a statement changes, which know no ties."""
        self.expect("TOP")
        if self.at("("):
            self.advance()
            count = self.subquery_or_expression()
            self.expect(")")
        elif self.tok.kind in (Kind.INT, Kind.DECIMAL, Kind.FLOAT) and not of_rows:
            count = literal(self.advance())
        else:
            raise self.error()
        percent = self.accept("PERCENT")
        with_ties = not of_rows and self.accept_words("WITH", "TIES")
        return ast.Top(count, percent, with_ties)

    def subquery_or_expression(self) -> ast.Expr:
        """What stands inside TOP's parentheses, which may be a query without parentheses of its own."""
        if self.at("SELECT"):
            token = self.tok
            return ast.Subquery(self.query(), pos=token.pos, line=token.line)
        return self.expression()

    def select_items(self) -> tuple[ast.SelectItem, ...]:
        items = [self._select_item()]
        while self.accept(","):
            items.append(self._select_item())
        return tuple(items)

    def _select_item(self) -> ast.SelectItem:
        token = self.tok
        if token.word == "*":
            self.advance()
            return ast.SelectItem(ast.Star(pos=token.pos, line=token.line))
        following = self.peek().word
        if token.kind is Kind.VARIABLE and following in _ASSIGNMENTS:
            self.advance()
            operator = self.advance().word
            return ast.SelectItem(self.expression(), None, str(token.value), operator)
        if following == "=" and (token.kind in NAME_KINDS or token.kind in STRING_KINDS):
            self.advance()
            self.advance()
            return ast.SelectItem(self.expression(), str(token.value))
        expr = self.expression()
        if isinstance(expr, ast.Star):
            return ast.SelectItem(expr)
        return ast.SelectItem(expr, self._column_alias())

    def _column_alias(self) -> str | None:
        if self.accept("AS"):
            if self.tok.kind in STRING_KINDS:
                return str(self.advance().value)
            return self.name()
        if self.at_label or not (self.at_name or self.tok.kind in STRING_KINDS):
            return None
        return str(self.advance().value)

    def _group(self) -> tuple[tuple[ast.Expr, ...], _Sets | None]:
        """The expressions, and the grouping sets where ROLLUP, CUBE or GROUPING SETS makes some."""
        every = self.accept("ALL")
        sets: _Sets = ((),)
        special = False
        while True:
            special = special or self._at_sets()
            if every and special:
                raise self.error()
            made = self._grouping_item()
            sets = tuple(one + other for one in sets for other in made)
            if not self.accept(","):
                break
        if self.at("WITH") and self.peek().word in ("ROLLUP", "CUBE"):
            self.advance()
            if every or special:
                raise self.error()
            parts = tuple((expr,) for expr in sets[0])
            return sets[0], _rolled(parts) if self.advance().word == "ROLLUP" else _cubed(parts)
        if not special:
            return sets[0], None
        group: list[ast.Expr] = []
        for one in sets:
            group += [expr for expr in one if expr not in group]
        return tuple(group), sets

    def _at_sets(self) -> bool:
        return (self.at("ROLLUP", "CUBE") and self.peek().word == "(") or self.at_words("GROUPING", "SETS")

    def _grouping_item(self) -> _Sets:
        """One item of GROUP BY or GROUPING SETS: the sets that it stands for."""
        if self.at("ROLLUP", "CUBE") and self.peek().word == "(":
            word = self.advance().word
            self.expect("(")
            parts = [self._grouping_part()]
            while self.accept(","):
                parts.append(self._grouping_part())
            self.expect(")")
            return _rolled(tuple(parts)) if word == "ROLLUP" else _cubed(tuple(parts))
        if self.accept_words("GROUPING", "SETS"):
            self.expect("(")
            found = [*self._grouping_item()]
            while self.accept(","):
                found += self._grouping_item()
            self.expect(")")
            return tuple(found)
        return (self._grouping_part(),)

    def _grouping_part(self) -> tuple[ast.Expr, ...]:
        """An expression, or several in parentheses that count as one; ``()`` is the whole."""
        if self.at("("):
            if self.peek().word == ")":
                self.advance()
                self.advance()
                return ()
            following = self.behind_parentheses(0)
            if following.word in (",", ")"):
                self.advance()
                found = self.expressions()
                self.expect(")")
                return found
        return (self.expression(),)


_Sets = tuple[tuple[ast.Expr, ...], ...]


def _rolled(parts: _Sets) -> _Sets:
    """ROLLUP: all parts, all but the last, ... none."""
    return tuple(sum(parts[:count], ()) for count in range(len(parts), -1, -1))


def _cubed(parts: _Sets) -> _Sets:
    """CUBE: every choice of the parts."""
    choices: _Sets = ((),)
    for part in parts:
        choices = tuple(one + other for one in choices for other in (part, ()))
    return choices


def unordered_operands(query: ast.Query) -> ast.Query:
    """The query of a statement. Unlike in a subquery no operand of UNION has an order of its own there:
    ``(SELECT TOP 1 ... ORDER BY a) UNION ...``. Raises SqlError 156."""
    operands: list[ast.Query] = [query]
    while operands:
        operand = operands.pop()
        if isinstance(operand, ast.SetOperation):
            operands += (operand.left, operand.right)
        if operand.order and operand is not query:
            raise error(156, "Incorrect syntax near the keyword 'ORDER'.", operand.order[0].expr.line)
    return query


def _without_own_into(operand: ast.Query) -> ast.Query:
    """What stands behind UNION and its like. Raises SqlError 196."""
    first = operand
    while isinstance(first, ast.SetOperation):
        first = first.left
    if isinstance(first, ast.Select) and first.into is not None:
        text = (
            "SELECT INTO must be the first query in a statement containing a UNION, INTERSECT or EXCEPT "
            + "operator."
        )
        raise error(196, text, operand.line)
    return operand


def _whole_into(query: ast.SetOperation) -> ast.Query:
    """``SELECT ... INTO t ... UNION SELECT ...`` as what it means: the rows of the whole go INTO t."""
    first: ast.Query = query
    while isinstance(first, ast.SetOperation):
        first = first.left
    if not isinstance(first, ast.Select) or first.into is None:
        return query
    inner = ast.replace(_without_into(query), order=(), options=(), for_=None)
    return ast.Select(
        (ast.SelectItem(ast.Star()),),
        (ast.DerivedTable(inner, alias="union"),),
        into=first.into,
        options=query.options,
        pos=query.pos,
        line=query.line,
    )


def _without_into(query: ast.Query) -> ast.Query:
    path: list[ast.SetOperation] = []
    while isinstance(query, ast.SetOperation):
        path.append(query)
        query = query.left
    made: ast.Query = ast.replace(query, into=None)
    for operation in reversed(path):
        made = ast.replace(operation, left=made)
    return made
