"""INSERT, UPDATE, DELETE, TRUNCATE, MERGE, and EXECUTE, which INSERT can take its rows from."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, error
from tdsproxy.tsql.parser.cursor import NAME_KINDS
from tdsproxy.tsql.parser.expressions import literal, text_literal
from tdsproxy.tsql.parser.queries import Queries

_ASSIGNMENTS: Final = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|="})


class Dml(Queries):
    """Reads statements that change rows."""

    def target(self) -> ast.Name:
        """A table or table variable that is written to; its hints are read and dropped."""
        token = self.tok
        if token.kind is Kind.VARIABLE:
            self.advance()
            return ast.Name(str(token.value), pos=token.pos, line=token.line)
        return self.object_name()

    def target_hints(self) -> None:
        """Those of a table: a table variable has none."""
        if self.at_words("WITH", "(") and self.last.kind is not Kind.VARIABLE:
            self.advance()
            self.hints()

    # ------------------------------------------------------------------ INSERT

    def insert(self, with_: tuple[ast.CommonTable, ...] = ()) -> ast.Statement:
        start = self.expect("INSERT")
        if self.at("BULK") and self.peek().kind in NAME_KINDS:
            return self._insert_bulk()
        top = self.top(of_rows=True) if self.at("TOP") else None
        self.accept("INTO")
        target = self.target()
        self.target_hints()
        columns: tuple[str, ...] = ()
        if self.at("(") and not self.at_query:
            columns = self._insert_columns()
        output = self.output_clause()
        found = ast.Insert(
            target, columns, output=output, top=top, with_=with_, pos=start.pos, line=start.line
        )
        if self.accept("DEFAULT"):
            self.expect("VALUES")
            return ast.replace(found, default_values=True)
        if self.accept("VALUES"):
            rows = self._insert_rows()
            self.option_clause()
            return ast.replace(found, rows=rows)
        if self.at("EXEC", "EXECUTE"):
            return ast.replace(found, execute=self.execute())
        if self.at("SELECT", "(", "WITH"):
            return ast.replace(found, query=self.query())
        raise self.error()

    def _insert_columns(self) -> tuple[str, ...]:
        self.expect("(")
        columns: list[str] = []
        while True:
            columns.append(self.object_name().object)
            if not self.accept(","):
                self.expect(")")
                return tuple(columns)

    def _insert_rows(self) -> tuple[tuple[ast.Expr | None, ...], ...]:
        rows: list[tuple[ast.Expr | None, ...]] = []
        while True:
            self.expect("(")
            row: list[ast.Expr | None] = [self._value_or_default()]
            while self.accept(","):
                row.append(self._value_or_default())
            self.expect(")")
            rows.append(tuple(row))
            if not self.accept(","):
                return tuple(rows)

    def _value_or_default(self) -> ast.Expr | None:
        return None if self.accept("DEFAULT") else self.expression()

    def _insert_bulk(self) -> ast.Statement:
        """``INSERT BULK t (columns) [WITH (options)]``, which drivers send before a bulk load."""
        start = self.advance()
        target = self.object_name(3)
        columns: tuple[ast.ColumnDefinition, ...] = ()
        if self.accept("("):
            found: list[ast.ColumnDefinition] = []
            while True:
                name = self.name()
                type_name = self.type_name()
                collation = self.collation_name() if self.accept("COLLATE") else None
                found.append(ast.ColumnDefinition(name, type_name, collation=collation))
                if not self.accept(","):
                    break
            self.expect(")")
            columns = tuple(found)
        if self.at_words("WITH", "("):
            self.advance()
            self.skip_parentheses()
        return ast.InsertBulk(target, "INSERT " + self.source(start), columns)

    def bulk_insert(self) -> ast.Statement:
        """``BULK INSERT t FROM 'file' [WITH (options)]``."""
        self.expect("BULK")
        self.expect("INSERT")
        target = self.object_name()
        self.expect("FROM")
        file = self.string()
        options: list[tuple[str, str | int | None]] = []
        if self.accept("WITH"):
            self.expect("(")
            while True:
                if self.accept("ORDER"):
                    self.skip_parentheses()
                    if not self.accept(","):
                        break
                    continue
                name = self.name().upper()
                value: str | int | None = None
                if self.accept("="):
                    is_text = self.tok.kind in (Kind.STRING, Kind.NSTRING)
                    value = self.string() if is_text else self.integer()
                options.append((name, value))
                if not self.accept(","):
                    break
            self.expect(")")
        return ast.BulkInsert(target, file, tuple(options))

    def output_clause(self) -> ast.OutputClause | None:
        if not self.accept("OUTPUT"):
            return None
        items = self.select_items()
        into = None
        columns: tuple[str, ...] = ()
        if self.accept("INTO"):
            into = self.target()
            if self.at("(") and not self.at_query:
                columns = self._insert_columns()
        return ast.OutputClause(items, into, columns)

    # ------------------------------------------------------------------ UPDATE, DELETE

    def update(self, with_: tuple[ast.CommonTable, ...] = ()) -> ast.Statement:
        start = self.expect("UPDATE")
        if self.at("STATISTICS"):
            return self.accepted("UPDATE STATISTICS")
        top = self.top(of_rows=True) if self.at("TOP") else None
        extra: tuple[ast.Source, ...] = ()
        if self.at("("):
            derived = self._source()
            alias = derived.alias or "(derived)"
            extra = (ast.replace(derived, alias=alias),)
            target = ast.Name(alias, pos=derived.pos, line=derived.line)
        else:
            target = self.target()
        self.target_hints()
        self.expect("SET")
        assignments = [self._set_column()]
        while self.accept(","):
            assignments.append(self._set_column())
        output = self.output_clause()
        sources = extra + (self.sources() if self.accept("FROM") else ())
        where, current_of = self._where()
        self.option_clause()
        return ast.Update(
            target,
            tuple(assignments),
            sources,
            where,
            top,
            output,
            with_,
            current_of,
            pos=start.pos,
            line=start.line,
        )

    def _set_column(self) -> ast.SetColumn:
        variable = None
        if self.tok.kind is Kind.VARIABLE:
            variable = self.variable()
            operator = self._assignment()
            if operator != "=" or not (self.at_name and self._at_second_assignment()):
                return ast.SetColumn(None, self.expression(), operator, variable)
        column = [self.name()]
        while self.accept("."):
            column.append(self.name())
        operator = self._assignment()
        return ast.SetColumn(tuple(column), self._value_or_default(), operator, variable)

    def _at_second_assignment(self) -> bool:
        """Whether ``@v = column = value`` goes on with its column here."""
        distance = 1
        while self.peek(distance).word == "." and self.peek(distance + 1).kind in NAME_KINDS:
            distance += 2
        return self.peek(distance).word in _ASSIGNMENTS

    def _assignment(self) -> str:
        return self.expect(*_ASSIGNMENTS).word

    def _where(self) -> tuple[ast.Predicate | None, str | None]:
        if not self.accept("WHERE"):
            return None, None
        if self.at_words("CURRENT", "OF"):
            self.accept_words("CURRENT", "OF")
            by_variable = not self.accept("GLOBAL") and self.tok.kind is Kind.VARIABLE
            return None, self.variable() if by_variable else self.name()
        return self.predicate(), None

    def delete(self, with_: tuple[ast.CommonTable, ...] = ()) -> ast.Statement:
        start = self.expect("DELETE")
        top = self.top(of_rows=True) if self.at("TOP") else None
        self.accept("FROM")
        target = self.target()
        self.target_hints()
        output = self.output_clause()
        sources = self.sources() if self.accept("FROM") else ()
        where, current_of = self._where()
        self.option_clause()
        return ast.Delete(
            target, sources, where, top, output, with_, current_of, pos=start.pos, line=start.line
        )

    def truncate(self) -> ast.Statement:
        self.expect("TRUNCATE")
        self.expect("TABLE")
        name = self.object_name(3)
        if self.at_words("WITH", "("):
            self.advance()
            self.skip_parentheses()
        return ast.Truncate(name)

    def merge(self, with_: tuple[ast.CommonTable, ...] = ()) -> ast.Statement:
        """MERGE up to its semicolon, which T-SQL demands; without one it is error 10713."""
        start = self.expect("MERGE")
        top = self.top(of_rows=True) if self.at("TOP") else None
        self.accept("INTO")
        target = self.target()
        self.target_hints()
        alias = self.alias()
        self.expect("USING")
        source = self.source_with_joins()
        self.expect("ON")
        on = self.predicate()
        actions = [self._merge_action()]
        while self.at("WHEN"):
            actions.append(self._merge_action())
        output = self.output_clause()
        self.option_clause()
        if not self.at(";"):
            if self.at_end or self.tok.word in STATEMENT_WORDS:
                text = "A MERGE statement must be terminated by a semi-colon (;)."
                raise error(10713, text, self.last.line)
            raise self.error()
        return ast.Merge(
            target, source, on, tuple(actions), alias, output, top, with_, pos=start.pos, line=start.line
        )

    def _merge_action(self) -> ast.MergeAction:
        self.expect("WHEN")
        when = "NOT MATCHED" if self.accept("NOT") else "MATCHED"
        self.expect("MATCHED")
        if when == "NOT MATCHED" and self.accept("BY") and self.expect("SOURCE", "TARGET").word == "SOURCE":
            when = "NOT MATCHED BY SOURCE"
        condition = self.predicate() if self.accept("AND") else None
        self.expect("THEN")
        if self.accept("DELETE"):
            return ast.MergeAction(when, "DELETE", condition)
        if self.accept("UPDATE"):
            self.expect("SET")
            assignments = [self._set_column()]
            while self.accept(","):
                assignments.append(self._set_column())
            return ast.MergeAction(when, "UPDATE", condition, tuple(assignments))
        self.expect("INSERT")
        columns = self._insert_columns() if self.at("(") else ()
        if self.accept("DEFAULT"):
            self.expect("VALUES")
            return ast.MergeAction(when, "INSERT", condition, columns=columns)
        self.expect("VALUES")
        self.expect("(")
        values = [self._value_or_default()]
        while self.accept(","):
            values.append(self._value_or_default())
        self.expect(")")
        return ast.MergeAction(when, "INSERT", condition, columns=columns, values=tuple(values))

    def accepted(self, words: str) -> ast.Statement:
        """Read on to the semicolon or the next word that can only begin a statement."""
        while not (self.at_end or self.tok.word in STATEMENT_WORDS or self.at(";")):
            if self.at("("):
                self.skip_parentheses()
            else:
                self.advance()
        return ast.Accepted(words)

    def unsupported(self, words: str) -> ast.Statement:
        """As ``accepted``, of a statement that is refused when it is to run."""
        self.accepted(words)
        return ast.Unsupported(words)

    # ------------------------------------------------------------------ EXECUTE

    def execute(self) -> ast.Execute | ast.ExecuteString:
        """EXEC of a string or of a procedure."""
        start = self.expect("EXEC", "EXECUTE")
        if self.at("("):
            return self._execute_string(start.pos, start.line)
        result = None
        if self.tok.kind is Kind.VARIABLE and self.peek().word == "=":
            result = self.variable()
            self.advance()
        return self.execute_procedure(result)

    def _execute_string(self, pos: int, line: int) -> ast.ExecuteString:
        self.expect("(")
        parts: list[ast.Expr] = []
        while True:
            token = self.tok
            if token.kind is Kind.VARIABLE:
                parts.append(ast.Variable(str(token.value), pos=token.pos, line=token.line))
            elif token.kind in (Kind.STRING, Kind.NSTRING):
                parts.append(literal(token))
            elif token.kind is Kind.GLOBAL:
                parts.append(ast.GlobalVariable(str(token.value), pos=token.pos, line=token.line))
            else:
                raise self.error()
            self.advance()
            if not self.accept("+"):
                break
        while self.accept(","):
            self.expression()
            self.accept("OUTPUT", "OUT")
        self.expect(")")
        if self.at("AS") and self.peek().word in ("USER", "LOGIN"):
            self.advance()
            self.advance()
            self.expect("=")
            self.string()
        at = None
        if self.at("AT"):
            self.advance()
            at = self.name()
        return ast.ExecuteString(tuple(parts), at, pos=pos, line=line)

    def execute_procedure(self, result: str | None = None) -> ast.Execute:
        """The procedure's name and its arguments."""
        token = self.tok
        procedure: ast.Name | ast.Variable
        if token.kind is Kind.VARIABLE:
            self.advance()
            procedure = ast.Variable(str(token.value), pos=token.pos, line=token.line)
        else:
            procedure = self.object_name()
        if self.at(";") and self.peek().kind is Kind.INT:
            self.advance()
            self.advance()
        arguments: list[ast.ExecArgument] = []
        if self._at_argument():
            arguments.append(self._argument_of_execute(False, 1))
            while self.accept(","):
                named = any(argument.name for argument in arguments)
                arguments.append(self._argument_of_execute(named, len(arguments) + 1))
        if self.at("WITH") and self.peek().word in ("RECOMPILE", "RESULT"):
            self.advance()
            if self.accept("RESULT"):
                self.expect("SETS")
                if not self.accept("UNDEFINED", "NONE"):
                    self.skip_parentheses()
            else:
                self.advance()
        return ast.Execute(procedure, tuple(arguments), result, pos=token.pos, line=token.line)

    def _at_argument(self) -> bool:
        if self.at_label:
            return False
        if self.tok.kind in (Kind.OP, Kind.KEYWORD):
            return self.at("-", "+", "DEFAULT", "NULL", "ON", "OFF")
        return self.tok.kind is not Kind.END

    def _argument_of_execute(self, named: bool, position: int) -> ast.ExecArgument:
        name = None
        token = self.tok
        if token.kind is Kind.VARIABLE and self.peek().word == "=":
            name = self.variable()
            self.advance()
        elif named:
            raise error(
                119,
                f"Must pass parameter number {position} and subsequent parameters as '@name = value'. After "
                "the form '@name = value' has been used, all subsequent parameters must be passed in the "
                "form '@name = value'.",
                token.line,
            )
        if self.accept("DEFAULT"):
            return ast.ExecArgument(None, name)
        value = self._argument_value()
        output = self.at("OUTPUT", "OUT")
        if output:
            if not isinstance(value, ast.Variable):
                raise error(
                    179,
                    "Cannot use the OUTPUT option when passing a constant to a stored procedure.",
                    token.line,
                )
            self.advance()
        return ast.ExecArgument(value, name, output)

    def _argument_value(self) -> ast.Expr:
        """A constant, a variable, or a bare word, which is a text."""
        token = self.tok
        if token.word in ("-", "+"):
            self.advance()
            if self.tok.kind not in (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.MONEY):
                raise self.error()
            return ast.Unary(token.word, literal(self.advance()), pos=token.pos, line=token.line)
        if token.word in ("NULL", "ON", "OFF") or token.kind in NAME_KINDS:
            if token.word == "NULL":
                return self.expression()
            self.advance()
            return text_literal(str(token.value), token)
        if token.kind in (Kind.VARIABLE, Kind.GLOBAL):
            return self.unary()
        if token.kind in (Kind.OP, Kind.KEYWORD, Kind.END):
            raise self.error()
        return literal(self.advance())


STATEMENT_WORDS: Final = frozenset(
    """
    ALTER BACKUP BEGIN BREAK BULK CHECKPOINT CLOSE COMMIT CONTINUE CREATE DBCC DEALLOCATE DECLARE
    DELETE DENY DROP ELSE END EXEC EXECUTE FETCH GOTO GRANT IF INSERT KILL MERGE OPEN PRINT
    RAISERROR RECONFIGURE RESTORE RETURN REVERT REVOKE ROLLBACK SAVE SELECT SETUSER SHUTDOWN
    TRUNCATE UPDATE USE WAITFOR WHILE
    """.split()  # noqa: SIM905
)
"""The reserved words that begin (or, ELSE and END, close) a statement and stand inside few others."""
