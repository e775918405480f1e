"""Variables, control of flow, transactions, cursors and the small statements."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, Token, error
from tdsproxy.tsql.parser.cursor import NAME_KINDS, STRING_KINDS
from tdsproxy.tsql.parser.expressions import literal, text_literal
from tdsproxy.tsql.parser.security import Security
from tdsproxy.tsql.waiting import is_time_of_day

_ASSIGNMENTS: Final = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|="})
_ARGUMENT_KINDS: Final = (
    Kind.INT,
    Kind.DECIMAL,
    Kind.FLOAT,
    Kind.MONEY,
    Kind.BINARY,
    *STRING_KINDS,
)
"""What RAISERROR puts into its text."""
_CURSOR_WORDS: Final = frozenset(
    {"LOCAL", "GLOBAL", "FORWARD_ONLY", "SCROLL", "STATIC", "KEYSET", "DYNAMIC", "FAST_FORWARD",
     "READ_ONLY", "SCROLL_LOCKS", "OPTIMISTIC", "TYPE_WARNING"}
)  # fmt: skip
_VALUE_OPTIONS: Final = frozenset(
    {"DATEFORMAT", "DATEFIRST", "LANGUAGE", "ROWCOUNT", "LOCK_TIMEOUT", "TEXTSIZE",
     "DEADLOCK_PRIORITY", "CONTEXT_INFO", "QUERY_GOVERNOR_COST_LIMIT", "FIPS_FLAGGER", "ERRLVL"}
)  # fmt: skip
_ON_OFF_OPTIONS: Final = frozenset(
    {"NOCOUNT", "XACT_ABORT", "QUOTED_IDENTIFIER", "ANSI_NULLS", "ANSI_PADDING", "ANSI_WARNINGS",
     "ARITHABORT", "ARITHIGNORE", "CONCAT_NULL_YIELDS_NULL", "NUMERIC_ROUNDABORT",
     "ANSI_NULL_DFLT_ON", "ANSI_NULL_DFLT_OFF", "ANSI_DEFAULTS", "CURSOR_CLOSE_ON_COMMIT",
     "IMPLICIT_TRANSACTIONS", "NOEXEC", "PARSEONLY", "FMTONLY", "FORCEPLAN", "SHOWPLAN_ALL",
     "SHOWPLAN_TEXT", "SHOWPLAN_XML", "REMOTE_PROC_TRANSACTIONS", "NO_BROWSETABLE",
     "DISABLE_DEF_CNST_CHK", "RESULT_SET_CACHING"}
)  # fmt: skip


class Flow(Security):
    """Reads variables and control of flow."""

    module: str | None = None
    """The kind of module whose body is read: PROCEDURE, FUNCTION, TRIGGER; None in a batch."""

    @abstractmethod
    def statement(self, *, separated: bool = True) -> ast.Statement:
        """One statement; ``separated`` says whether a semicolon or a beginning is before it."""

    def statement_list(self, *closing: str) -> tuple[ast.Statement, ...]:
        """Statements up to one of ``closing`` or the end of the batch."""
        found: list[ast.Statement] = []
        separated = True
        self.deeper()
        while True:
            while self.accept(";"):
                separated = True
            if self.at_end or (self.at(*closing) and self.peek().word != "CONVERSATION"):
                self.shallower()
                return tuple(found)
            found.append(self.statement(separated=separated))
            separated = isinstance(found[-1], ast.Label)

    # ------------------------------------------------------------------ variables

    def declare(self) -> ast.Statement:
        self.expect("DECLARE")
        if self.tok.kind in NAME_KINDS:
            return self._declare_cursor()
        items = [self._declaration()]
        while items[0].type is not None and self.accept(","):
            items.append(self._declaration(table=False))
        return ast.Declare(tuple(items))

    def _declaration(self, *, table: bool = True) -> ast.Declaration:
        """``table``: whether it may be a table variable, which is declared alone."""
        token = self.tok
        name = self.variable()
        self.new_variable(name, token)
        self.accept("AS")
        if table and self.accept("TABLE"):
            self.expect("(")
            columns, constraints, indexes = self.table_elements()
            self.expect(")")
            return ast.Declaration(name, None, None, columns, constraints, indexes)
        type_name = self.type_name(cursor=True)
        value = self.expression() if self.accept("=") else None
        return ast.Declaration(name, type_name, value)

    @abstractmethod
    def new_variable(self, name: str, token: Token) -> None:
        """Note a declared variable; a second one of the name is error 134."""

    def _declare_cursor(self) -> ast.Statement:
        name = self.name()
        options: list[str] = []
        while self.at("INSENSITIVE", "SCROLL"):
            options.append(self.advance().word)
        self.expect("CURSOR")
        return self._cursor_rest(name, options)

    def _cursor_rest(self, name: str, options: list[str]) -> ast.DeclareCursor:
        while self.tok.word in _CURSOR_WORDS:
            options.append(self.advance().word)
        self.expect("FOR")
        query = self.query()
        if self.accept("FOR"):
            if self.accept("READ"):
                self.expect("ONLY")
                options.append("READ ONLY")
            else:
                self.expect("UPDATE")
                options.append("UPDATE")
                if self.accept("OF"):
                    self.names()
        return ast.DeclareCursor(name, query, tuple(options))

    def set(self) -> ast.Statement:
        self.expect("SET")
        if self.tok.kind is Kind.VARIABLE:
            return self._set_variable()
        if self.accept("IDENTITY_INSERT"):
            table = self.object_name(3)
            return ast.SetIdentityInsert(table, self.expect("ON", "OFF").word == "ON")
        if self.accept("TRANSACTION", "TRAN"):
            self.expect("ISOLATION")
            self.expect("LEVEL")
            first = self.expect("READ", "REPEATABLE", "SNAPSHOT", "SERIALIZABLE").word
            second = {"READ": ("UNCOMMITTED", "COMMITTED"), "REPEATABLE": ("READ",)}.get(first)
            level = f"{first} {self.expect(*second).word}" if second else first
            return ast.SetOption(("TRANSACTION ISOLATION LEVEL",), level)
        if self.at("STATISTICS"):
            self.advance()
            names = ["STATISTICS " + self.expect("IO", "TIME", "XML", "PROFILE").word]
            while self.accept(","):
                names.append("STATISTICS " + self.expect("IO", "TIME", "XML", "PROFILE").word)
            return ast.SetOption(tuple(names), self.expect("ON", "OFF").word)
        if self.at("OFFSETS"):
            self.advance()
            names = [self.word()]
            while self.accept(","):
                names.append(self.word())
            return ast.SetOption(("OFFSETS",), self.expect("ON", "OFF").word)
        return self._set_option_statement()

    def _set_variable(self) -> ast.Statement:
        name = self.variable()
        if self.accept("."):
            method = self.name()
            token = self.tok
            operand = ast.Variable(name, pos=token.pos, line=token.line)
            call = ast.MethodCall(operand, method, self._arguments(), pos=token.pos, line=token.line)
            return ast.SetVariable(name, call, method)
        operator = self.expect(*_ASSIGNMENTS).word
        if operator == "=" and self.at("CURSOR"):
            self.advance()
            return self._cursor_rest(name, [])
        return ast.SetVariable(name, self.expression(), operator)

    def _set_option_statement(self) -> ast.Statement:
        token = self.tok
        name = self.word()
        if name == "ROWCOUNT" and self.tok.kind in (Kind.BINARY, *STRING_KINDS):
            raise self.error()
        if name in _VALUE_OPTIONS:
            return ast.SetOption((name,), *self._option_value())
        names = [name]
        if name not in _ON_OFF_OPTIONS:
            raise error(195, f"'{token.text}' is not a recognized SET option.", token.line)
        while self.accept(","):
            token = self.tok
            names.append(self.word())
            if names[-1] not in _ON_OFF_OPTIONS:
                raise error(195, f"'{token.text}' is not a recognized SET option.", token.line)
        return ast.SetOption(tuple(names), self.expect("ON", "OFF").word)

    def _option_value(self) -> tuple[str, ast.Expr | None]:
        token = self.tok
        if token.kind is Kind.VARIABLE:
            return "", self.unary()
        if token.word == "-":
            return str(self.integer()), None
        if token.kind in STRING_KINDS or token.kind in (Kind.QUOTED, Kind.INT):
            self.advance()
            return str(token.value), None
        if token.kind in (Kind.BINARY, Kind.DECIMAL, Kind.FLOAT):
            self.advance()
            return token.text, None
        return self.word(), None

    # ------------------------------------------------------------------ flow

    def if_(self) -> ast.Statement:
        """IF with its ELSE; a chain of ELSE IF is read in a loop, so that it may be long."""
        arms: list[tuple[Token, ast.Predicate, ast.Statement]] = []
        otherwise: ast.Statement | None = None
        while True:
            token = self.expect("IF")
            condition = self.predicate()
            arms.append((token, condition, self.statement()))
            if not self._else():
                break
            if not self.at("IF"):
                otherwise = self.statement()
                break
        for token, condition, then in reversed(arms):
            otherwise = ast.If(condition, then, otherwise, pos=token.pos, end=self.last.end, line=token.line)
        assert otherwise is not None
        return otherwise

    def _else(self) -> bool:
        """Step over ELSE, also behind a semicolon, which else stays."""
        index = self.index
        while self.accept(";"):
            pass
        if self.accept("ELSE"):
            return True
        self.index = index
        self.tok = self.tokens[index]
        return False

    def while_(self) -> ast.Statement:
        self.expect("WHILE")
        return ast.While(self.predicate(), self.statement())

    def begin(self) -> ast.Statement:
        """BEGIN of a block, of TRY, of a transaction."""
        self.expect("BEGIN")
        if self.accept("TRY"):
            return self._try()
        if self.at("TRAN", "TRANSACTION", "DISTRIBUTED"):
            self.accept("DISTRIBUTED")
            self.expect("TRAN", "TRANSACTION")
            return self._begin_transaction()
        if self.at("DIALOG", "CONVERSATION"):
            return self.unsupported("BEGIN " + self.tok.word)
        if self.at_words("ATOMIC", "WITH"):
            self.accept_words("ATOMIC", "WITH")
            self.skip_parentheses()
        statements = self.statement_list("END")
        if not statements:
            raise self.error()
        self.expect("END")
        return ast.Block(statements)

    def _try(self) -> ast.Statement:
        body = self.statement_list("END")
        if not body:
            raise self.error()
        self.expect("END")
        self.expect("TRY")
        self.expect("BEGIN")
        self.expect("CATCH")
        handler = self.statement_list("END")
        self.expect("END")
        self.expect("CATCH")
        return ast.TryCatch(body, handler)

    def goto(self) -> ast.Statement:
        self.expect("GOTO")
        if self.tok.kind is not Kind.IDENT:
            raise self.error()
        return ast.Goto(self.name())

    def label(self) -> ast.Statement:
        name = self.name()
        self.expect(":")
        return ast.Label(name)

    def return_(self) -> ast.Statement:
        start = self.expect("RETURN")
        if self.at_label or not self.at_expression:
            return ast.Return()
        if self.module is None or self.module == "TRIGGER":
            raise error(
                178, "A RETURN statement with a return value cannot be used in this context.", start.line
            )
        return ast.Return(self.expression())

    def throw(self) -> ast.Statement:
        self.expect("THROW")
        if self.tok.kind not in (Kind.INT, Kind.VARIABLE, Kind.GLOBAL):
            return ast.Throw()
        number = self._constant(Kind.INT)
        self.expect(",")
        message = self._constant(*STRING_KINDS)
        self.expect(",")
        return ast.Throw(number, message, self._constant(Kind.INT))

    def _constant(self, *kinds: Kind, signed: bool = False, null: bool = False) -> ast.Expr:
        """A literal of ``kinds`` (``signed``: a number may have a minus; or ``null``), or a variable."""
        if signed and self.at("-"):
            token = self.peek()
        else:
            token = self.tok
            if token.kind in (Kind.VARIABLE, Kind.GLOBAL) or (null and token.word == "NULL"):
                return self.unary()
        if token.kind not in kinds:
            raise self.error(token)
        return self.unary()

    def raiserror(self) -> ast.Statement:
        self.expect("RAISERROR")
        self.expect("(")
        message = self._constant(Kind.INT, *STRING_KINDS, signed=True)
        self.expect(",")
        severity = self._constant(Kind.INT, signed=True)
        self.expect(",")
        state = self._constant(Kind.INT, signed=True)
        args: list[ast.Expr] = []
        while self.accept(","):
            args.append(self._constant(*_ARGUMENT_KINDS, signed=True, null=True))
        self.expect(")")
        options: list[str] = []
        if self.at("WITH") and self.peek().word in ("LOG", "NOWAIT", "SETERROR"):
            self.advance()
            options.append(self.expect("LOG", "NOWAIT", "SETERROR").word)
            while self.accept(","):
                options.append(self.expect("LOG", "NOWAIT", "SETERROR").word)
        return ast.Raiserror(message, severity, state, tuple(args), tuple(options))

    def print_(self) -> ast.Statement:
        self.expect("PRINT")
        return ast.Print(self.expression())

    def waitfor(self) -> ast.Statement:
        self.expect("WAITFOR")
        if self.at("("):
            self.skip_parentheses()
            return self.unsupported("WAITFOR (statement)")
        kind = self.expect("DELAY", "TIME").word
        token = self.tok
        if token.kind not in STRING_KINDS and token.kind is not Kind.VARIABLE:
            raise self.error()
        self.advance()
        if token.kind is Kind.VARIABLE:
            return ast.WaitFor(kind, ast.Variable(str(token.value), pos=token.pos, line=token.line))
        text = str(token.value)
        if not is_time_of_day(text):
            raise error(148, f"Incorrect time syntax in time string '{text}' used with WAITFOR.", token.line)
        return ast.WaitFor(kind, literal(token))

    def use(self) -> ast.Statement:
        start = self.expect("USE")
        if self.module is not None:
            raise error(
                154,
                "a USE database statement is not allowed in a procedure, function or trigger.",
                start.line,
            )
        return ast.Use(self.name())

    # ------------------------------------------------------------------ transactions

    def _transaction_name(self) -> str | ast.Variable | None:
        token = self.tok
        if token.kind is Kind.VARIABLE:
            self.advance()
            return ast.Variable(str(token.value), pos=token.pos, line=token.line)
        if token.kind in NAME_KINDS and not self.at_label:
            return self.name()
        return None

    def _begin_transaction(self) -> ast.Statement:
        name = self._transaction_name()
        mark: str | ast.Variable | None = None
        if self.accept_words("WITH", "MARK"):
            mark = ""
            if self.tok.kind in STRING_KINDS:
                mark = str(self.advance().value)
            elif self.tok.kind is Kind.VARIABLE:
                token = self.advance()
                mark = ast.Variable(str(token.value), pos=token.pos, line=token.line)
        return ast.Transaction("BEGIN", name, mark)

    def commit(self) -> ast.Statement:
        self.expect("COMMIT")
        name = None
        if self.accept("TRAN", "TRANSACTION"):
            name = self._transaction_name()
        else:
            self.accept("WORK")
        if self.at_words("WITH", "(", "DELAYED_DURABILITY"):
            self.advance()
            self.skip_parentheses()
        return ast.Transaction("COMMIT", name)

    def rollback(self) -> ast.Statement:
        self.expect("ROLLBACK")
        name = None
        if self.accept("TRAN", "TRANSACTION"):
            name = self._transaction_name()
        else:
            self.accept("WORK")
        return ast.Transaction("ROLLBACK", name)

    def save(self) -> ast.Statement:
        self.expect("SAVE")
        self.expect("TRAN", "TRANSACTION")
        name = self._transaction_name()
        if name is None:
            raise self.error()
        return ast.Transaction("SAVE", name)

    # ------------------------------------------------------------------ cursors

    def cursor_action(self) -> ast.Statement:
        """OPEN, CLOSE, DEALLOCATE."""
        action = self.advance().word
        return ast.CursorAction(action, self._cursor())

    def _cursor(self) -> str:
        if self.tok.kind is Kind.VARIABLE:
            return self.variable()
        if self.at("GLOBAL") and self.peek().kind in NAME_KINDS and self.peek(2).word != ":":
            self.advance()
        return self.name()

    def fetch(self) -> ast.Statement:
        self.expect("FETCH")
        direction = "NEXT"
        count = None
        if self.at("NEXT", "PRIOR", "FIRST", "LAST") and self.peek().word == "FROM":
            direction = self.advance().word
        elif self.at("ABSOLUTE", "RELATIVE") and (
            self.peek(2 if self.peek().word == "-" else 1).kind is Kind.INT
            or self.peek().kind is Kind.VARIABLE
        ):
            direction = self.advance().word
            count = self.unary() if self.tok.kind is Kind.VARIABLE else self._signed_literal()
        elif self.at("NEXT", "PRIOR", "FIRST", "LAST") and self.peek().kind in (*NAME_KINDS, Kind.VARIABLE):
            direction = self.advance().word
        self.accept("FROM")
        cursor = self._cursor()
        into: list[str] = []
        if self.accept("INTO"):
            into.append(self.variable())
            while self.accept(","):
                into.append(self.variable())
        return ast.Fetch(cursor, direction, count, tuple(into))

    # ------------------------------------------------------------------ administration

    def dbcc(self) -> ast.Statement:
        self.expect("DBCC")
        command = self.word()
        args: list[ast.Expr] = []
        if self.accept("("):
            while not self.at(")"):
                args.append(self._dbcc_argument())
                if not self.accept(","):
                    break
            self.expect(")")
        options: list[str] = []
        if self.at("WITH"):
            self.advance()
            while True:
                word = self.word()
                if self.accept("="):
                    word = f"{word} = {self.advance().text}"
                options.append(word)
                if not self.accept(","):
                    break
        return ast.Dbcc(command, tuple(args), tuple(options))

    def _dbcc_argument(self) -> ast.Expr:
        token = self.tok
        if token.kind in (Kind.IDENT, Kind.QUOTED, Kind.KEYWORD) and token.word not in ("NULL", "CASE"):
            start = self.tok
            self.advance()
            while self.accept("."):
                self.name()
            text = str(token.value) if self.last is start else self.source(start)
            return text_literal(text, token)
        return self.expression()

    def _signed_literal(self) -> ast.Expr:
        """A literal, possibly behind a minus, and nothing that goes on with it."""
        sign = self.tok
        if not self.accept("-"):
            return literal(self.advance())
        return ast.Unary("-", literal(self.advance()), pos=sign.pos, line=sign.line)

    def kill(self) -> ast.Statement:
        self.expect("KILL")
        if self.at_words("STATS", "JOB") or self.at_words("QUERY", "NOTIFICATION"):
            return self.unsupported(f"KILL {self.tok.word}")
        number = self.peek() if self.at("-") else self.tok
        if number.kind is not Kind.INT and self.tok.kind not in STRING_KINDS:
            raise self.error(number)
        return ast.Kill(self._signed_literal(), self.accept_words("WITH", "STATUSONLY"))
