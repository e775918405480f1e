"""Views, procedures, functions and triggers: each takes the rest of its batch."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, Token, error
from tdsproxy.tsql.parser.cursor import STRING_KINDS
from tdsproxy.tsql.parser.flow import Flow

_MODULE_OPTIONS: Final = frozenset(
    {"RECOMPILE", "ENCRYPTION", "SCHEMABINDING", "VIEW_METADATA", "NATIVE_COMPILATION", "EXECUTE",
     "EXEC", "RETURNS", "CALLED", "INLINE"}
)  # fmt: skip


class Modules(Flow):
    """Reads the definitions of modules, at the word behind CREATE [OR ALTER] or ALTER."""

    def __init__(self, text: str, *, quoted_identifier: bool = True, line: int = 1) -> None:
        super().__init__(text, quoted_identifier=quoted_identifier, line=line)
        self._declared: set[str] = set()
        self.nested = 0
        """How many statements stand around the current one."""

    def new_variable(self, name: str, token: Token) -> None:
        key = name.lower()
        if key in self._declared:
            raise error(
                134,
                f"The variable name '{name}' has already been declared. Variable names must be unique within "
                "a query batch or stored procedure.",
                token.line,
            )
        self._declared.add(key)

    def module_statement(self, start: Token, *, alter: bool, or_alter: bool) -> ast.Statement:
        """PROCEDURE, VIEW, FUNCTION or TRIGGER; must be alone in its batch (111, 156 inside a block)."""
        keyword = self.tok
        kind = {"PROC": "PROCEDURE"}.get(keyword.word, keyword.word)
        verb = "ALTER" if alter else "CREATE"
        words = f"CREATE/ALTER {kind}" if kind == "PROCEDURE" or or_alter else f"{verb} {kind}"
        if self.nested > 1:
            raise self.error(keyword)
        if self.tokens[0] is not start:
            raise error(111, f"'{words}' must be the first statement in a query batch.", start.line)
        self.advance()
        name = self.object_name()
        if name.database is not None:
            raise error(
                166,
                f"'{words}' does not allow specifying the database name as a prefix to the object name.",
                start.line,
            )
        if kind == "VIEW":
            return self._view(start, name, alter, or_alter)
        self.module = kind
        if kind == "PROCEDURE":
            return self._procedure(start, name, alter, or_alter)
        if kind == "FUNCTION":
            return self._function(start, name, alter, or_alter)
        return self._trigger(start, name, alter, or_alter)

    def _rest(self, start: Token) -> str:
        """The text from ``start`` to the end of the batch, without the blanks at its end."""
        return self.text[start.pos :].rstrip()

    def _view(self, start: Token, name: ast.Name, alter: bool, or_alter: bool) -> ast.Statement:
        columns = self.name_list() if self.at("(") else ()
        self._module_options()
        self.expect("AS")
        query = self.query()
        self.accept_words("WITH", "CHECK", "OPTION")
        while self.accept(";"):
            pass
        if not self.at_end:
            raise self.error()
        return ast.CreateView(name, columns, query, self._rest(start), alter, or_alter)

    def _module_options(self) -> None:
        """``WITH RECOMPILE, EXECUTE AS OWNER``: accepted."""
        if not (self.at("WITH") and self.peek().word in _MODULE_OPTIONS):
            return
        self.advance()
        while True:
            word = self.word()
            if word in ("EXECUTE", "EXEC"):
                self.expect("AS")
                if self.tok.kind in STRING_KINDS:
                    self.advance()
                else:
                    self.word()
            elif word in ("RETURNS", "CALLED"):
                while not self.at(",", "AS", "BEGIN", "RETURN") and not self.at_end:
                    self.advance()
            elif word == "INLINE":
                self.expect("=")
                self.word()
            if not self.accept(","):
                return

    def _parameters(self, *, closing: bool) -> tuple[ast.Parameter, ...]:
        found: list[ast.Parameter] = []
        while self.tok.kind is Kind.VARIABLE:
            token = self.tok
            name = self.variable()
            self.new_variable(name, token)
            self.accept("AS")
            type_name = self.type_name(cursor=True)
            self.accept("VARYING")
            if not self.accept_words("NOT", "NULL"):
                self.accept("NULL")
            default = self._default() if self.accept("=") else None
            output = self.accept("OUTPUT", "OUT")
            readonly = self.accept("READONLY")
            output = output or self.accept("OUTPUT", "OUT")
            found.append(ast.Parameter(name, type_name, default, output, readonly))
            if not self.accept(","):
                break
            if self.tok.kind is not Kind.VARIABLE:
                raise self.error()
        if closing:
            self.expect(")")
        return tuple(found)

    def _default(self) -> ast.Expr:
        """A parameter's default: a constant, or a bare word as text."""
        return self._argument_value()

    def _procedure(self, start: Token, name: ast.Name, alter: bool, or_alter: bool) -> ast.Statement:
        if self.at(";") and self.peek().kind is Kind.INT:
            self.advance()
            self.advance()
        parameters = self._parameters(closing=self.accept("("))
        self._module_options()
        self.accept_words("FOR", "REPLICATION")
        self.expect("AS")
        if self.at_words("EXTERNAL", "NAME"):
            self.accept_words("EXTERNAL", "NAME")
            self.object_name()
        body = self.statement_list()
        return ast.CreateProcedure(name, parameters, body, self._rest(start), alter, or_alter)

    def _function(self, start: Token, name: ast.Name, alter: bool, or_alter: bool) -> ast.Statement:
        self.expect("(")
        parameters = self._parameters(closing=True)
        self.expect("RETURNS")
        if self.accept("TABLE"):
            return self._inline_function(start, name, parameters, alter, or_alter)
        table: tuple[ast.ColumnDefinition, ...] = ()
        constraints: tuple[ast.Constraint, ...] = ()
        variable = None
        returns = None
        if self.tok.kind is Kind.VARIABLE:
            token = self.tok
            variable = self.variable()
            self.new_variable(variable, token)
            self.expect("TABLE")
            self.expect("(")
            table, constraints, _ = self.table_elements()
            self.expect(")")
        else:
            returns = self.type_name()
        self._module_options()
        self.accept("AS")
        self.expect("BEGIN")
        body = self.statement_list("END")
        self.expect("END")
        while self.accept(";"):
            pass
        if not self.at_end:
            raise self.error()
        return ast.CreateFunction(
            name,
            parameters,
            returns,
            body,
            self._rest(start),
            table=table,
            table_variable=variable,
            alter=alter,
            or_alter=or_alter,
            table_constraints=constraints,
        )

    def _inline_function(
        self, start: Token, name: ast.Name, parameters: tuple[ast.Parameter, ...], alter: bool, or_alter: bool
    ) -> ast.Statement:
        self._module_options()
        self.accept("AS")
        self.expect("RETURN")
        query = self.query()
        while self.accept(";"):
            pass
        if not self.at_end:
            raise self.error()
        return ast.CreateFunction(
            name, parameters, None, (), self._rest(start), query=query, alter=alter, or_alter=or_alter
        )

    def _trigger(self, start: Token, name: ast.Name, alter: bool, or_alter: bool) -> ast.Statement:
        self.expect("ON")
        token = self.tok
        if self.accept("DATABASE"):
            table = ast.Name("DATABASE", pos=token.pos, line=token.line)
        elif self.accept_words("ALL", "SERVER"):
            table = ast.Name("ALL SERVER", pos=token.pos, line=token.line)
        else:
            table = self.object_name()
        self._module_options()
        if self.accept("INSTEAD"):
            self.expect("OF")
            timing = "INSTEAD OF"
        else:
            self.expect("FOR", "AFTER")
            timing = "AFTER"
        events = [self.word()]
        while self.accept(","):
            events.append(self.word())
        if self.accept_words("WITH", "APPEND"):
            pass
        self.accept_words("NOT", "FOR", "REPLICATION")
        self.expect("AS")
        body = self.statement_list()
        return ast.CreateTrigger(name, table, timing, tuple(events), body, self._rest(start), alter, or_alter)
