"""Which statement begins here: the dispatcher over everything below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, Token, error
from tdsproxy.tsql.parser.keys import Keys
from tdsproxy.tsql.parser.queries import unordered_operands


class Statements(Keys):
    """Reads whole batches."""

    def batch(self) -> ast.Batch:
        """All statements of the text."""
        try:
            return self._batch()
        except RecursionError:  # a caller deep in the stack leaves less room than MAX_DEPTH supposes
            raise self.too_deep() from None

    def _batch(self) -> ast.Batch:
        while self.accept(";"):
            pass
        first = self.tok
        if (
            (first.kind in (Kind.IDENT, Kind.QUOTED))
            and not self.at_label
            and first.word not in _WORD_STATEMENTS
            and not (first.word in _FOLLOWED_BY and self.peek().word in _FOLLOWED_BY[first.word])
        ):
            found = [self._placed(first, self.execute_procedure())]
        else:
            found = []
        found.extend(self.statement_list() if not found else self._following())
        if not self.at_end:
            raise self.error()
        return ast.Batch(self.text, tuple(found))

    def _following(self) -> tuple[ast.Statement, ...]:
        if self.at("WITH"):
            raise self.error()
        return self.statement_list()

    def statement(self, *, separated: bool = True) -> ast.Statement:
        token = self.tok
        if token.word == "WITH" and not separated:
            raise self.error()
        reader = _STATEMENTS.get(token.word)
        if reader is None:
            if not self.at_label:
                raise self.error()
            reader = Statements.label
        elif token.kind is Kind.IDENT and self.at_label:
            reader = Statements.label
        self.deeper()
        self.nested += 1
        found = reader(self)
        self.nested -= 1
        self.shallower()
        return self._placed(token, found)

    def _placed(self, start: Token, found: ast.Statement) -> ast.Statement:
        return ast.replace(found, pos=start.pos, end=self.last.end, line=start.line)

    # ------------------------------------------------------------------ queries

    def _select_statement(self) -> ast.Statement:
        return ast.QueryStatement(unordered_operands(self.query()))

    def _with_statement(self) -> ast.Statement:
        tables = self.common_tables()
        if self.at("INSERT"):
            return self.insert(tables)
        if self.at("UPDATE"):
            return self.update(tables)
        if self.at("DELETE"):
            return self.delete(tables)
        if self.at("MERGE"):
            return self.merge(tables)
        if not self.at("SELECT", "("):
            raise self.error()
        return ast.QueryStatement(ast.replace(unordered_operands(self.query()), with_=tables))

    def _execute_statement(self) -> ast.Statement:
        if self.peek().word == "AS" and self.peek(2).word in ("USER", "LOGIN", "CALLER", "OWNER", "SELF"):
            self.advance()
            self.advance()
            kind = self.expect("USER", "LOGIN", "CALLER").word
            name = None
            if kind != "CALLER":
                self.expect("=")
                name = self.expression()
            no_revert = self.accept_words("WITH", "NO")
            if no_revert:
                self.expect("REVERT")
            elif self.accept_words("WITH", "COOKIE", "INTO"):
                self.variable()
            return ast.ExecuteAs(kind, name, no_revert)
        return self.execute()

    # ------------------------------------------------------------------ CREATE, ALTER, DROP

    def _create(self) -> ast.Statement:
        start = self.advance()
        or_alter = self.accept_words("OR", "ALTER")
        word = self.tok.word
        if word in ("PROC", "PROCEDURE", "VIEW", "FUNCTION", "TRIGGER"):
            return self.module_statement(start, alter=False, or_alter=or_alter)
        if or_alter:
            raise self.error()
        if word == "TABLE":
            self.advance()
            return self.create_table()
        if word in ("INDEX", "UNIQUE", "CLUSTERED", "NONCLUSTERED", "COLUMNSTORE"):
            return self.create_index()
        if self.at_words("PRIMARY", "XML") or self.at_words("DATABASE", "AUDIT"):
            self.advance()
            return self.accepted(f"CREATE {word} {self.tok.word}")
        if (
            word == "DATABASE"
            and self.peek().word in ("ENCRYPTION", "SCOPED")
            and (self.peek(2).word in ("KEY", "CREDENTIAL"))
        ):
            return self.key_statement("CREATE")
        if word == "DATABASE":
            self.advance()
            return self.create_database()
        if word == "SCHEMA":
            return self._create_schema(start)
        if word == "SYNONYM":
            self.advance()
            name = self.local_name("CREATE SYNONYM")
            self.expect("FOR")
            return ast.CreateSynonym(name, self.object_name())
        if word == "TYPE":
            return self._create_type(start)
        if word == "SEQUENCE":
            return self._create_sequence()
        return self._principal_statement("CREATE")

    def _principal_statement(self, verb: str) -> ast.Statement:
        """Logins, users, roles, keys; anything else behind ``verb`` that is read whole and does nothing."""
        word = self.tok.word
        if word == "LOGIN" and verb != "DROP":
            self.advance()
            return self.login(alter=verb == "ALTER")
        if word == "USER" and verb != "DROP":
            self.advance()
            return self.user(alter=verb == "ALTER")
        if word == "ROLE":
            self.advance()
            return self.role(verb, server=False)
        if self.at_words("SERVER", "ROLE"):
            self.accept_words("SERVER", "ROLE")
            if self.at("IF"):
                raise self.error()
            return self.role(verb, server=True)
        if self.at_key_object():
            return self.key_statement(verb)
        if self.at_words("RESOURCE", "GOVERNOR"):
            self.advance()
            if self.peek().word == "RECONFIGURE":
                self.advance()
                self.advance()
            return self.accepted(f"{verb} RESOURCE GOVERNOR")
        if word in _ACCEPTED_OBJECTS:
            return self.accepted(f"{verb} {word}")
        if word in _UNSUPPORTED_OBJECTS:
            self.advance()
            return self.unsupported(f"{verb} {word}")
        raise self.error()

    def _create_schema(self, start: Token) -> ast.Statement:
        if self.nested > 1:
            raise self.error()
        if self.tokens[0] is not start:
            raise error(111, "'CREATE SCHEMA' must be the first statement in a query batch.", start.line)
        self.advance()
        name = None if self.at("AUTHORIZATION") else self.name()
        owner = self.name() if self.accept("AUTHORIZATION") else None
        return ast.CreateSchema(name or owner or "", owner)

    def _create_type(self, start: Token) -> ast.Statement:
        self.expect("TYPE")
        name = self.object_name(3)
        if self.at("EXTERNAL"):
            self.advance()
            return self.unsupported("CREATE TYPE EXTERNAL NAME")
        if self.accept("FROM"):
            base = self.type_name()
            nullable = not self.accept_words("NOT", "NULL")
            if nullable:
                self.accept("NULL")
            return ast.CreateType(name, base, nullable, text=self.source(start))
        self.expect("AS")
        self.expect("TABLE")
        self.expect("(")
        columns, constraints, indexes = self.table_elements()
        self.expect(")")
        if self.at_words("WITH", "("):
            self.advance()
            self.skip_parentheses()
        return ast.CreateType(name, None, True, columns, constraints, indexes, self.source(start))

    def _create_sequence(self) -> ast.Statement:
        self.expect("SEQUENCE")
        name = self.local_name("CREATE SEQUENCE")
        type_name = self.type_name() if self.accept("AS") else None
        return ast.CreateSequence(name, type_name, self._sequence_options())

    def _sequence_options(self, beginning: str = "START") -> tuple[tuple[str, int | None], ...]:
        """START WITH, RESTART WITH, INCREMENT BY, MINVALUE, MAXVALUE, CYCLE, CACHE; NO forms have None."""
        options: list[tuple[str, int | None]] = []
        while True:
            if self.accept("NO"):
                options.append((self.expect("MINVALUE", "MAXVALUE", "CYCLE", "CACHE").word, None))
            elif self.at(beginning, "INCREMENT"):
                word = self.advance().word
                value = self.integer() if self.accept("WITH", "BY") else None
                options.append((word, value))
            elif self.at("MINVALUE", "MAXVALUE"):
                word = self.advance().word
                options.append((word, self.integer()))
            elif self.accept("CYCLE"):
                options.append(("CYCLE", 1))
            elif self.accept("CACHE"):
                options.append(("CACHE", self.integer() if self.tok.kind is Kind.INT else 0))
            else:
                return tuple(options)

    def _alter(self) -> ast.Statement:
        start = self.advance()
        word = self.tok.word
        if word in ("PROC", "PROCEDURE", "VIEW", "FUNCTION", "TRIGGER"):
            return self.module_statement(start, alter=True, or_alter=False)
        if word == "TABLE":
            self.advance()
            return self.alter_table()
        if word == "INDEX":
            self.advance()
            return self.alter_index()
        if word == "DATABASE" and self.at_key_object():
            return self.key_statement("ALTER")
        if word == "DATABASE":
            self.advance()
            return self.alter_database()
        if word == "SEQUENCE":
            self.advance()
            name = self.local_name("ALTER SEQUENCE")
            return ast.CreateSequence(name, None, self._sequence_options("RESTART"), alter=True)
        if word == "AUTHORIZATION":
            self.advance()
            self.expect("ON")
            self._securable()
            self.expect("TO")
            self._principal() if not self.at_words("SCHEMA", "OWNER") else self.accept_words(
                "SCHEMA", "OWNER"
            )
            return ast.Accepted("ALTER AUTHORIZATION")
        if word == "SCHEMA":
            self.advance()
            schema = self.name()
            self.expect("TRANSFER")
            return ast.AlterSchema(schema, self._securable(2))
        return self._principal_statement("ALTER")

    def _drop(self) -> ast.Statement:
        self.advance()
        word = self.tok.word
        if word in _DROPPED:
            self.advance()
            if_exists = self.if_exists()
            names = [self._dropped_object(word)]
            while word not in ("TYPE", "SCHEMA") and self.accept(","):
                names.append(self._dropped_object(word))
            if word == "TRIGGER" and self.accept("ON") and not self.accept("DATABASE"):
                self.expect("ALL")
                self.expect("SERVER")
            return ast.DropObject(_DROPPED[word], tuple(names), if_exists)
        if word == "DATABASE" and (self.peek().word == "SCOPED" or self.at_key_object()):
            return self.key_statement("DROP")
        if word == "DATABASE":
            self.advance()
            return self.drop_database()
        if word == "INDEX":
            self.advance()
            return self.drop_index()
        if word == "LOGIN":
            self.advance()
            return ast.DropLogin(self.name())
        if word == "USER":
            self.advance()
            if_exists = self.if_exists()
            return ast.DropUser(self.name(), if_exists)
        return self._principal_statement("DROP")

    def _dropped_object(self, word: str) -> ast.Name:
        if word == "SCHEMA":
            return self.object_name(1)
        if word in ("TABLE", "TYPE"):
            return self.object_name(3)
        return self.local_name(f"DROP {_DROPPED[word]}")

    # ------------------------------------------------------------------ small ones

    def _open_or_close(self) -> ast.Statement:
        following = self.peek().word
        if following in ("MASTER", "SYMMETRIC", "ALL") and self.peek(2).word in ("KEY", "SYMMETRIC"):
            return self.key_statement(self.advance().word)
        return self.cursor_action()

    def _break(self) -> ast.Statement:
        self.advance()
        return ast.Break()

    def _continue(self) -> ast.Statement:
        self.advance()
        return ast.Continue()

    def _checkpoint(self) -> ast.Statement:
        self.advance()
        if self.tok.kind is Kind.INT:
            self.advance()
        return ast.Checkpoint()

    def _reconfigure(self) -> ast.Statement:
        self.advance()
        return ast.Reconfigure(override=self.accept_words("WITH", "OVERRIDE"))

    def _revert(self) -> ast.Statement:
        self.advance()
        if self.accept_words("WITH", "COOKIE"):
            self.expect("=")
            self.variable()
        return ast.Revert()

    def _switch_trigger(self) -> ast.Statement:
        """``ENABLE TRIGGER names ON table``."""
        action = self.advance().word
        self.expect("TRIGGER")
        names: tuple[str, ...] = ()
        if not self.accept("ALL"):
            found = [self.object_name().object]
            while self.accept(","):
                found.append(self.object_name().object)
            names = tuple(found)
        self.expect("ON")
        if self.at("DATABASE") or self.at_words("ALL", "SERVER"):
            if not self.accept("DATABASE"):
                self.accept_words("ALL", "SERVER")
            return ast.Accepted(f"{action} TRIGGER")
        return ast.AlterTable(self.object_name(3), ast.SwitchConstraints(f"{action} TRIGGER", names))

    def _unsupported_statement(self) -> ast.Statement:
        """Service Broker, text pointers, signatures."""
        word = self.tok.word
        following = _FOLLOWED_BY.get(word)
        if following is not None and self.peek().word not in following:
            raise self.error()
        self.advance()
        if following is not None:
            self.advance()
        return self.unsupported(word)

    def _line_number(self) -> ast.Statement:
        self.advance()
        self.integer()
        return ast.Accepted("LINENO")

    def _accepted_statement(self) -> ast.Statement:
        word = self.advance().word
        return self.accepted(word)


_DROPPED: Final = {
    "TABLE": "TABLE",
    "VIEW": "VIEW",
    "PROC": "PROCEDURE",
    "PROCEDURE": "PROCEDURE",
    "FUNCTION": "FUNCTION",
    "TRIGGER": "TRIGGER",
    "SCHEMA": "SCHEMA",
    "SYNONYM": "SYNONYM",
    "SEQUENCE": "SEQUENCE",
    "TYPE": "TYPE",
    "DEFAULT": "DEFAULT",
    "RULE": "RULE",
}

_ACCEPTED_OBJECTS: Final = frozenset(
    {"STATISTICS", "PARTITION", "FULLTEXT", "XML", "SPATIAL", "EVENT", "RESOURCE", "WORKLOAD", "SERVER",
     "SEARCH"}
)  # fmt: skip
"""What CREATE, ALTER and DROP may name that is read whole and does nothing here."""

_UNSUPPORTED_OBJECTS: Final = frozenset(
    {"ASSEMBLY", "QUEUE", "SERVICE", "CONTRACT", "MESSAGE", "ROUTE", "REMOTE", "ENDPOINT", "APPLICATION",
     "AVAILABILITY", "SECURITY", "AGGREGATE", "BROKER", "SIGNATURE", "SENSITIVITY", "DEFAULT", "RULE",
     "COLUMN", "EXTERNAL"}
)  # fmt: skip
"""What they may name that is refused when it is to run: to do nothing would be wrong."""

_FOLLOWED_BY: Final = {
    "ADD": ("SIGNATURE", "COUNTER", "SENSITIVITY"),
    "END": ("CONVERSATION",),
    "SEND": ("ON",),
    "GET": ("CONVERSATION",),
    "MOVE": ("CONVERSATION",),
}

_STATEMENTS: Final[dict[str, Callable[[Statements], ast.Statement]]] = {
    "SELECT": Statements._select_statement,
    "(": Statements._select_statement,
    "WITH": Statements._with_statement,
    "INSERT": Statements.insert,
    "BULK": Statements.bulk_insert,
    "UPDATE": Statements.update,
    "DELETE": Statements.delete,
    "MERGE": Statements.merge,
    "TRUNCATE": Statements.truncate,
    "EXEC": Statements._execute_statement,
    "EXECUTE": Statements._execute_statement,
    "CREATE": Statements._create,
    "ALTER": Statements._alter,
    "DROP": Statements._drop,
    "GRANT": Statements.permission,
    "DENY": Statements.permission,
    "REVOKE": Statements.permission,
    "DECLARE": Statements.declare,
    "SET": Statements.set,
    "IF": Statements.if_,
    "WHILE": Statements.while_,
    "BEGIN": Statements.begin,
    "BREAK": Statements._break,
    "CONTINUE": Statements._continue,
    "GOTO": Statements.goto,
    "RETURN": Statements.return_,
    "THROW": Statements.throw,
    "RAISERROR": Statements.raiserror,
    "PRINT": Statements.print_,
    "WAITFOR": Statements.waitfor,
    "USE": Statements.use,
    "COMMIT": Statements.commit,
    "ROLLBACK": Statements.rollback,
    "SAVE": Statements.save,
    "OPEN": Statements._open_or_close,
    "CLOSE": Statements._open_or_close,
    "DEALLOCATE": Statements.cursor_action,
    "FETCH": Statements.fetch,
    "DBCC": Statements.dbcc,
    "KILL": Statements.kill,
    "CHECKPOINT": Statements._checkpoint,
    "RECONFIGURE": Statements._reconfigure,
    "REVERT": Statements._revert,
    "SETUSER": Statements._accepted_statement,
    "SHUTDOWN": Statements._accepted_statement,
    "ENABLE": Statements._switch_trigger,
    "DISABLE": Statements._switch_trigger,
    "LINENO": Statements._line_number,
    "READTEXT": Statements._unsupported_statement,
    "WRITETEXT": Statements._unsupported_statement,
    "UPDATETEXT": Statements._unsupported_statement,
    "ADD": Statements._unsupported_statement,
    "END": Statements._unsupported_statement,
    "SEND": Statements._unsupported_statement,
    "RECEIVE": Statements._unsupported_statement,
    "GET": Statements._unsupported_statement,
    "MOVE": Statements._unsupported_statement,
    "BACKUP": Statements.native,
    "RESTORE": Statements.native,
}

_WORD_STATEMENTS: Final = frozenset({"THROW", "ENABLE", "DISABLE", "RECEIVE"})
"""Statements that begin with a word that is not reserved."""
