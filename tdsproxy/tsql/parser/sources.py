"""What stands in FROM: tables, derived tables, functions, joins, APPLY, PIVOT, with aliases and hints."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, Token
from tdsproxy.tsql.parser.predicates import Predicates

_OLD_HINTS: Final = frozenset(
    {"NOLOCK", "HOLDLOCK", "UPDLOCK", "TABLOCK", "TABLOCKX", "ROWLOCK", "PAGLOCK", "READPAST",
     "READUNCOMMITTED", "READCOMMITTED", "REPEATABLEREAD", "SERIALIZABLE", "XLOCK", "NOWAIT",
     "SNAPSHOT", "NOEXPAND", "FASTFIRSTROW"}
)  # fmt: skip
_JOIN_HINTS: Final = frozenset({"HASH", "LOOP", "MERGE", "REMOTE"})
_ROWSET_FUNCTIONS: Final = frozenset(
    {"OPENROWSET", "OPENQUERY", "OPENDATASOURCE", "OPENXML", "CONTAINSTABLE", "FREETEXTTABLE", "CHANGETABLE"}
)
_NO_ALIAS: Final = frozenset({"OUTPUT", "USING", "WINDOW"})


class Sources(Predicates):
    """Reads FROM clauses."""

    def sources(self) -> tuple[ast.Source, ...]:
        """The comma list behind FROM."""
        found = [self.source_with_joins()]
        while self.accept(","):
            found.append(self.source_with_joins())
        return tuple(found)

    def source_with_joins(self) -> ast.Source:
        """A source and the joins behind it; ``a JOIN b JOIN c ON .. ON ..`` nests to the right."""
        self.deeper()
        left = self._pivoted(self._source())
        while True:
            kind = self._join_kind()
            if kind is None:
                self.shallower()
                return left
            left = self._join(left, kind)

    def _join_kind(self) -> str | None:
        word, following = self.tok.word, self.peek().word
        if word == "JOIN":
            self.advance()
            return "INNER"
        if word == "CROSS":
            self.advance()
            return "CROSS" if self.expect("JOIN", "APPLY").word == "JOIN" else "CROSS APPLY"
        if word == "OUTER" and following == "APPLY":
            self.accept_words("OUTER", "APPLY")
            return "OUTER APPLY"
        if word == "INNER":
            self.advance()
            self.accept(*_JOIN_HINTS)
            self.expect("JOIN")
            return "INNER"
        if word in ("LEFT", "RIGHT", "FULL"):
            self.advance()
            self.accept("OUTER")
            self.accept(*_JOIN_HINTS)
            self.expect("JOIN")
            return word
        return None

    def _join(self, left: ast.Source, kind: str) -> ast.Source:
        right = self._pivoted(self._source())
        if kind in ("CROSS", "CROSS APPLY", "OUTER APPLY"):
            return ast.Join(kind, left, right, pos=left.pos, line=left.line)
        while not self.at("ON"):
            nested = self._join_kind()
            if nested is None:
                raise self.error()
            right = self._join(right, nested)
        self.advance()
        return ast.Join(kind, left, right, self.predicate(), pos=left.pos, line=left.line)

    def _source(self) -> ast.Source:
        start = self.tok
        if start.word == "(":
            return self._parenthesised_source(start)
        if start.kind is Kind.VARIABLE:
            return self._variable_source(start)
        if start.word in _ROWSET_FUNCTIONS:
            return self._rowset_function(start)
        if start.word == "::":
            self.advance()
        name = self.object_name()
        if self.at("("):
            return self._function_or_hinted(name, start)
        return self._table(name, start)

    def _table(self, name: ast.Name, start: Token) -> ast.Source:
        hints: tuple[str, ...] = ()
        system_time = self._skip_system_time()
        alias = self.alias()
        if self.at("TABLESAMPLE"):
            self.advance()
            self.accept("SYSTEM")
            self.skip_parentheses()
            if self.accept("REPEATABLE"):
                self.skip_parentheses()
        if self.at("WITH") and self.peek().word == "(":
            self.advance()
            hints = self.hints()
        elif self.at("(") and self.peek().word in _OLD_HINTS:
            hints = self.hints()
        if alias is None and hints:
            alias = self.alias()
        return ast.TableSource(name, hints, system_time, alias=alias, pos=start.pos, line=start.line)

    def _skip_system_time(self) -> bool:
        """Whether it is there."""
        if not self.at_words("FOR", "SYSTEM_TIME"):
            return False
        self.accept_words("FOR", "SYSTEM_TIME")
        if self.accept("ALL"):
            return True
        if self.accept_words("AS", "OF"):
            self.expression()
        elif self.accept("FROM"):
            self.expression()
            self.expect("TO")
            self.expression()
        elif self.accept("BETWEEN"):
            self.expression()
            self.expect("AND")
            self.expression()
        else:
            raise self.error()
        return True

    def hints(self) -> tuple[str, ...]:
        """``(NOLOCK, INDEX(1))``: in upper case; the comma may be left out."""
        self.expect("(")
        found: list[str] = []
        while True:
            token = self.tok
            word = self.word()
            if self.at("(", "="):
                if self.accept("=") and not self.at("("):
                    self.advance()
                else:
                    self.skip_parentheses()
                word = self.source(token).upper()
            found.append(word)
            if self.accept(")"):
                return tuple(found)
            self.accept(",")

    def _function_or_hinted(self, name: ast.Name, start: Token) -> ast.Source:
        if name.schema is None and self.peek().word in _OLD_HINTS and self.peek(2).word in (")", ","):
            return self._table(name, start)
        index = self.index
        call = self.call(name, start)
        if not isinstance(call, ast.FunctionCall):
            raise self.error(self.tokens[index])
        if self.at_words("WITH", "(") and name.object.upper() == "OPENJSON":
            return self._openjson(call, start)
        alias, columns = self.alias_and_columns()
        return ast.FunctionSource(call, alias=alias, columns=columns, pos=start.pos, line=start.line)

    def _openjson(self, call: ast.FunctionCall, start: Token) -> ast.Source:
        """``OPENJSON(x) WITH (name type 'path' [AS JSON], ...)``."""
        self.advance()
        self.expect("(")
        schema: list[ast.JsonColumn] = []
        while True:
            name = self.name()
            type_name = self.type_name()
            path = self.string() if self.tok.kind in (Kind.STRING, Kind.NSTRING) else None
            as_json = self.accept_words("AS", "JSON")
            schema.append(ast.JsonColumn(name, type_name, path, as_json))
            if not self.accept(","):
                break
        self.expect(")")
        alias = self.alias()
        return ast.FunctionSource(call, tuple(schema), alias=alias, pos=start.pos, line=start.line)

    def _rowset_function(self, start: Token) -> ast.Source:
        """OPENROWSET and its kin: read whole; what they reach is not served here."""
        self.advance()
        self.skip_parentheses()
        while self.accept("."):
            self.name()
        call = ast.FunctionCall(
            ast.Name(start.text, pos=start.pos, line=start.line), (), pos=start.pos, line=start.line
        )
        if self.at_words("WITH", "("):
            self.advance()
            self.skip_parentheses()
        alias, columns = self.alias_and_columns()
        return ast.FunctionSource(call, alias=alias, columns=columns, pos=start.pos, line=start.line)

    def _variable_source(self, start: Token) -> ast.Source:
        """A table variable, or ``@x.nodes('...') AS t(c)``."""
        self.advance()
        name = ast.Name(str(start.value), pos=start.pos, line=start.line)
        if self.at("."):
            self.advance()
            method = self.name()
            call = self.call(ast.Name(method, str(start.value), pos=start.pos, line=start.line), start)
            if not isinstance(call, ast.FunctionCall):
                raise self.error(start)
            alias, columns = self.alias_and_columns()
            return ast.FunctionSource(call, alias=alias, columns=columns, pos=start.pos, line=start.line)
        return self._table(name, start)

    def _parenthesised_source(self, start: Token) -> ast.Source:
        if self.at_query and not self._at_joined_query():
            query = self.parenthesised_query()
            alias, columns = self.alias_and_columns()
            return ast.DerivedTable(query, alias=alias, columns=columns, pos=start.pos, line=start.line)
        if self.peek().word == "VALUES":
            self.advance()
            self.advance()
            rows = self.value_rows()
            self.expect(")")
            alias, columns = self.alias_and_columns()
            return ast.ValuesSource(rows, alias=alias, columns=columns, pos=start.pos, line=start.line)
        self.expect("(")
        found = self.source_with_joins()
        self.expect(")")
        return found

    def _at_joined_query(self) -> bool:
        """``((SELECT ...) a JOIN ...)``: the outer parenthesis groups a join, as the alias shows."""
        if self.peek().word != "(":
            return False
        following = self.behind_parentheses(1)
        return following.word == "AS" or following.kind in (Kind.IDENT, Kind.QUOTED)

    def value_rows(self) -> tuple[tuple[ast.Expr, ...], ...]:
        """``(1, 2), (3, 4)`` behind VALUES."""
        rows: list[tuple[ast.Expr, ...]] = []
        while True:
            self.expect("(")
            rows.append(self.expressions())
            self.expect(")")
            if not self.accept(","):
                return tuple(rows)

    def alias(self) -> str | None:
        """``[AS] alias``; neither a label nor a clause's word is one."""
        if self.accept("AS"):
            return self.name()
        if not self.at_name or self.at_label or self.tok.word in _NO_ALIAS:
            return None
        return str(self.advance().value)

    def alias_and_columns(self) -> tuple[str | None, tuple[str, ...]]:
        alias = self.alias()
        columns = self.name_list() if alias is not None and self.at("(") else ()
        return alias, columns

    # ------------------------------------------------------------------ PIVOT

    def _pivoted(self, source: ast.Source) -> ast.Source:
        while self.at("PIVOT", "UNPIVOT"):
            if self.at("PIVOT"):
                source = self._pivot(source)
            else:
                source = self._unpivot(source)
        return source

    def _pivot(self, source: ast.Source) -> ast.Source:
        self.expect("PIVOT")
        self.expect("(")
        start = self.tok
        aggregate = self.expression()
        if not isinstance(aggregate, ast.FunctionCall):
            raise self.error(start)
        self.expect("FOR")
        column = self._last_part()
        self.expect("IN")
        values = self.name_list()
        self.expect(")")
        pivot = ast.Pivot(source, aggregate, column, values, pos=source.pos, line=source.line)
        return ast.replace(pivot, alias=self.alias())

    def _unpivot(self, source: ast.Source) -> ast.Source:
        self.expect("UNPIVOT")
        self.expect("(")
        value = self._last_part()
        self.expect("FOR")
        column = self._last_part()
        self.expect("IN")
        values = self.name_list()
        self.expect(")")
        unpivot = ast.Unpivot(source, value, column, values, pos=source.pos, line=source.line)
        return ast.replace(unpivot, alias=self.alias())

    def _last_part(self) -> str:
        return self.object_name().object
