"""An interpreter's Evaluator over the client's own session at another server.

Only plain T-SQL is sent, one statement a batch, so any server will do. Runs in a worker thread.
"""

from __future__ import annotations

import datetime as dt
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tdsproxy.frontend.values import from_wire, sql_type
from tdsproxy.proxy.exchange import Exchange, Piece, Standing, Statement
from tdsproxy.proxy.literals import literal
from tdsproxy.proxy.local import sets_recovery
from tdsproxy.proxy.plan import type_text
from tdsproxy.proxy.probe import SessionFacts
from tdsproxy.proxy.rewriting import statement as rewritten
from tdsproxy.proxy.rewriting import tables_of
from tdsproxy.proxy.texts import Excerpt, Texts, table_body
from tdsproxy.proxy.upstream import MAX_ANSWER
from tdsproxy.tds import tokens as wire
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Procedure, ResultRows, StoredMessage
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import CaughtError, FunctionDef, Functions
from tdsproxy.tsql.lexer import Kind, tokenize
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, Command, Done, DoneKind, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import NeedsQuery, TypedValue
from tdsproxy.tsql.severity import Reach, reach
from tdsproxy.tsql.signals import BatchEnded, ScopeEnded
from tdsproxy.tsql.state import CursorRows, Frame, TableVariable
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value

ROWS_AT_ONCE: Final = 500
"""Rows of one INSERT ... VALUES: SQL Server takes 1000."""

TOO_MUCH: Final = Message(
    701, 17, 123, "There is insufficient system memory in resource pool 'default' to run this query."
)
"""A cursor, or a value, is longer than what is kept here."""

TRIED: Final = frozenset({349, 350, 243, 351})
"""CurCmd of the tokens that TRY and CATCH send."""

_SCOPES: Final = frozenset({wire.EnvChangeType.DATABASE, wire.EnvChangeType.COLLATION})
"""What a USE of ours changes: the way into a scope and out of it has no token (captured)."""

_SOURCES: Final = frozenset({"EXEC", "EXECUTE", "SELECT", "VALUES"})

_KINDS: Final = {
    wire.TokenType.DONE: DoneKind.BATCH,
    wire.TokenType.DONEPROC: DoneKind.PROC,
    wire.TokenType.DONEINPROC: DoneKind.IN_PROC,
}


@dataclass(frozen=True, slots=True)
class Passed(ResultSet):
    """A result set that has gone to the client as it came."""


class Link(Protocol):
    """What an evaluator needs of the connections: both directions block the thread that asks."""

    def ask(self, exchange: Exchange) -> Iterator[bytes]:
        """Send the exchange's batch; the payloads of the answer's packets as they come. Raises
        ConnectionError, and Cancelled once an attention is answered."""
        ...

    def native(
        self, text: str, line: int, facts: SessionFacts, variables: dict[str, Value]
    ) -> Iterator[Reply]:
        """Run a native statement. Raises SqlError, and Cancelled."""
        ...

    def pass_on(self, raw: bytes) -> None:
        """Tokens for the client as they are."""
        ...

    def check(self) -> None:
        """Raises Cancelled when an attention has come."""
        ...


class RemoteFunctions(Functions):
    """The functions that mean the same everywhere, and those of the error that is being handled; what asks
    for a session's or a server's state is left to the server."""

    __slots__ = ()

    def lookup(self, name: str) -> FunctionDef:
        found = LIBRARY.lookup(name)
        if found is None or not (found.deterministic or name.upper().startswith("ERROR_")):
            raise NeedsQuery(name)
        return found


class RemoteContext:
    """``FunctionContext`` of a frame."""

    def __init__(self, frame: Frame, transaction_state: int) -> None:
        self._frame = frame
        self._transaction_state = transaction_state

    def now(self) -> DateTimeOffset:
        now = dt.datetime.now().astimezone()
        offset = now.utcoffset() or dt.timedelta()
        moment = DateTime.of(now - offset)
        return DateTimeOffset(moment.days, moment.ticks, offset // dt.timedelta(minutes=1))

    @property
    def date_first(self) -> int:
        return self._frame.options.date_first

    @property
    def caught(self) -> CaughtError | None:
        caught = self._frame.session.caught
        return caught[-1] if caught else None

    def random(self, seed: int | None) -> float:
        return random.Random(seed).random()

    def transaction_state(self) -> int:
        return self._transaction_state


class RemoteEvaluator:
    """See ``tsql.evaluator.Evaluator``."""

    def __init__(self, link: Link, facts: SessionFacts, version: int) -> None:
        self._link = link
        self._version = version
        self._facts: SessionFacts | None = facts
        self._state = 0
        self._texts = Texts()
        self._types: dict[str, SqlType] = {}
        self._run_id = secrets.token_hex(4)
        self._made = 0
        self.left: list[str] = []
        """The temporary tables that are there for table variables."""
        self._functions = RemoteFunctions()

    # ----------------------------------------------------------------- the session

    @property
    def functions(self) -> Functions:
        return self._functions

    def context(self, frame: Frame) -> RemoteContext:
        return RemoteContext(frame, self._state)

    @property
    def facts(self) -> SessionFacts:
        """How the session stands. Asked for anew where the last statement has ended its batch."""
        if self._facts is None:
            self._run(Statement(""))
        if self._facts is None:
            raise BatchEnded  # the session runs nothing any more: SET NOEXEC ON
        return self._facts

    def transaction_count(self) -> int:
        return self.facts.transactions

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        self._run(Statement("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION"))
        return iter(())

    def enter(self, frame: Frame) -> None:
        frame.storage["database"] = self.facts.database
        if frame.database is not None:
            self._run(Statement(f"USE {bracketed(frame.database)}"))

    def leave(self, frame: Frame) -> Iterator[Reply]:
        self.drop_tables(frame)
        before = frame.storage.get("database")
        if isinstance(before, str) and before != self.facts.database:
            self._run(Statement(f"USE {bracketed(before)}"))
        return iter(())

    def drop_tables(self, frame: Frame) -> None:
        """End the frame's table variables."""
        own = frame.storage.pop("own tables", None)
        if isinstance(own, list) and own:
            self.drop(own)

    def drop(self, tables: Sequence[str]) -> None:
        """Drop temporary tables. Raises SqlError when one is not there."""
        self._run(Statement("; ".join(f"DROP TABLE {name}" for name in tables)))
        self.left = [name for name in self.left if name not in tables]

    def settle(self, frame: Frame) -> None:
        """Leave the session with the options that its batch has set."""
        if self._sets(frame):
            self._run(Statement("", before=self._sets(frame)))

    def _sets(self, frame: Frame) -> str:
        wanted = (
            ("NOCOUNT", frame.options.nocount, self.facts.nocount),
            ("XACT_ABORT", frame.options.xact_abort, self.facts.xact_abort),
        )
        return "".join(f"SET {name} {'ON' if new else 'OFF'}; " for name, new, old in wanted if new != old)

    # ----------------------------------------------------------------- statements

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        quoted = frame.options.quoted_identifier
        batch = parse(text, quoted_identifier=quoted)
        self._texts.add(batch, quoted_identifier=quoted)
        return batch

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        if isinstance(statement, ast.NativeStatement) or sets_recovery(statement):
            return self._native(statement, frame)
        if isinstance(statement, ast.Declare):
            return self._declare_tables(statement, frame)
        excerpt = self._excerpt(statement)
        if isinstance(statement, ast.Execute | ast.ExecuteString | ast.Insert) and frame.catches():
            # What it calls must end at its first error.
            excerpt = Excerpt(f"BEGIN TRY {excerpt.text}; END TRY BEGIN CATCH THROW; END CATCH", excerpt.line)
        return self._forwarded(excerpt, frame)

    def _excerpt(self, node: ast.Node) -> Excerpt:
        found = self._texts.of(node)
        if found is None:
            raise SqlError.of(102, 15, 1, "Incorrect syntax: this expression can't be evaluated here.")
        return found

    def _native(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        variables = {
            name: cell.value
            for name, cell in frame.variables.items()
            if cell.type.name not in ("cursor", "table")
        }
        yield from self._link.native(self._excerpt(statement).text, statement.line, self.facts, variables)

    def _forwarded(self, excerpt: Excerpt, frame: Frame) -> Iterator[Reply]:
        exchange = Exchange(rewritten(excerpt, frame, self._sets(frame)), self._version)
        pieces = self._pieces(exchange)
        errors: list[Message] = []
        catching = frame.catches()
        held: Done | None = None
        try:
            for piece in pieces:
                if held is not None:
                    yield held
                    held = None
                token = piece.tokens[0]
                if isinstance(token, wire.ServerMessage):
                    message = _message(token)
                    if message.is_error:
                        errors.append(message)
                    if not (message.is_error and catching):
                        yield message
                elif isinstance(token, wire.Done):
                    if not _is_ours(token, catching=catching):
                        held = _done(token)
                else:
                    yield from self._result(piece, frame)
        finally:
            for _piece in pieces:
                pass  # left early: the rest of the answer has to be read all the same
            self._stand(exchange, frame)
        if held is not None and exchange.standing is not None:
            yield held
        if exchange.standing is not None:
            frame.session.error = exchange.standing.error
            frame.session.rowcount = exchange.standing.rowcount
        if errors and catching:
            raise SqlError(*errors)
        if errors and exchange.standing is None:
            raise ScopeEnded if reach(SqlError(*errors)) is Reach.FRAME else BatchEnded

    def _result(self, piece: Piece, frame: Frame) -> Iterator[Reply]:
        token = piece.tokens[0]
        decoded = frame.session.inserting
        if isinstance(token, wire.ReturnStatus):
            frame.storage["status"] = token.value
        elif isinstance(token, wire.ColMetadata) and decoded:
            yield ResultSet(_columns(token))
            frame.storage["types"] = _columns(token)
        elif isinstance(token, wire.Row) and decoded:
            columns: Any = frame.storage["types"]
            yield Rows(_rows(piece, columns))
        else:
            self._link.pass_on(piece.raw)
            if isinstance(token, wire.ColMetadata):
                yield Passed(())

    def _pieces(self, exchange: Exchange) -> Iterator[Piece]:
        for payload in self._link.ask(exchange):
            yield from exchange.feed(payload)

    def _stand(self, exchange: Exchange, frame: Frame | None) -> None:
        """What is known of the session now."""
        standing = exchange.standing
        self._facts = None if standing is None else standing.facts
        if standing is None:
            return
        self._state = standing.transaction_state
        if frame is not None:
            frame.options.quoted_identifier = standing.facts.quoted_identifier
            _take_over(standing, frame)

    def _run(self, statement: Statement) -> tuple[tuple[Column, ...], list[tuple[Value, ...]], list[Message]]:
        """A statement of our own: the columns and rows of its result, and its messages. Raises SqlError."""
        return self._asked(statement, None)

    def _asked(
        self, statement: Statement, frame: Frame | None
    ) -> tuple[tuple[Column, ...], list[tuple[Value, ...]], list[Message]]:
        exchange = Exchange(statement, self._version)
        columns: tuple[Column, ...] = ()
        rows: list[tuple[Value, ...]] = []
        messages: list[Message] = []
        errors: list[Message] = []
        size = 0
        try:
            for piece in self._pieces(exchange):
                token = piece.tokens[0]
                size += len(piece.raw)
                if isinstance(token, wire.ServerMessage):
                    (errors if token.error else messages).append(_message(token))
                elif isinstance(token, wire.ColMetadata):
                    columns = _columns(token)
                elif isinstance(token, wire.Row):
                    if size <= MAX_ANSWER:
                        rows += _rows(piece, columns)
                elif isinstance(token, wire.EnvChange) and token.kind not in _SCOPES:
                    self._link.pass_on(piece.raw)
        finally:
            self._stand(exchange, frame)
        if size > MAX_ANSWER:
            raise SqlError(TOO_MUCH)
        if errors:
            raise SqlError(*errors)
        return columns, rows, messages

    # ----------------------------------------------------------------- values

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        excerpt = self._excerpt(expr)
        return self._value(Excerpt(f"SELECT {excerpt.text} AS v", excerpt.line), frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        excerpt = self._excerpt(predicate)
        asked = Excerpt(f"SELECT CASE WHEN {excerpt.text} THEN 1 ELSE 0 END AS v", excerpt.line)
        return self._value(asked, frame).value == 1

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        return self._value(Excerpt(f"SELECT {name} AS v", 1), frame)

    def _value(self, excerpt: Excerpt, frame: Frame) -> TypedValue:
        statement = rewritten(excerpt, frame, self._sets(frame))
        columns, rows, _messages = self._asked(statement, frame)
        if len(columns) != 1 or len(rows) != 1:
            raise SqlError.of(102, 15, 1, "Incorrect syntax: this expression has no value.")
        return TypedValue(rows[0][0], columns[0].type)

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        excerpt = self._excerpt(statement.query)
        made = rewritten(excerpt, frame, self._sets(frame))
        columns, rows, messages = self._asked(made, frame)
        return CursorRows(columns, rows, messages)

    def stored_message(self, number: int, frame: Frame) -> StoredMessage | None:
        asked = f"SELECT severity, text FROM sys.messages WHERE message_id = {number} AND language_id = 1033"
        _, rows, _ = self._run(Statement(asked))
        return StoredMessage(int(str(rows[0][0])), str(rows[0][1])) if rows else None

    def may_log(self, frame: Frame) -> bool:
        return True

    def log(self, message: Message, statement: ast.Statement | None, frame: Frame, *, demanded: bool) -> None:
        """The event log is the upstream's."""

    # ----------------------------------------------------------------- INSERT ... EXEC

    def insert_rows(self, statement: ast.Insert, results: list[ResultRows], frame: Frame) -> Iterator[Reply]:
        head = head_of(self._excerpt(statement).text)
        count = 0
        for columns, rows in results:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[start : start + ROWS_AT_ONCE]
                excerpt = Excerpt(f"{head} VALUES {values_text(columns, some)}", statement.line)
                self._asked(rewritten(excerpt, frame, self._sets(frame)), frame)
                count += len(some)
        yield self.inserted(count)

    @staticmethod
    def inserted(count: int) -> Done:
        return Done(Command.INSERT, count)

    # ----------------------------------------------------------------- types and tables

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        if type_name.type is not None:
            return type_name.type
        written = type_text(type_name)
        if written.lower() not in self._types:
            columns, *_ = self._run(Statement(f"DECLARE @v {written}; SELECT @v AS v"))
            self._types[written.lower()] = columns[0].type
        return self._types[written.lower()]

    def table_type(self, variable: str, type_name: ast.TypeName, frame: Frame) -> TableVariable | None:
        written = type_text(type_name)
        if written.lower() in self._types:
            return None
        name = self._table_name(variable)
        try:
            self._run(Statement(f"DECLARE @v {written}; SELECT TOP (0) * INTO {name} FROM @v"))
        except SqlError:
            return None  # no table type: resolve_type says what is wrong if it is no type at all
        self._own(variable, name, frame)
        return TableVariable(variable, ())

    def statement_begins(self, frame: Frame) -> None:
        """The upstream's functions are asked each time."""

    def share_table(self, variable: str, source: str, caller: Frame, inner: Frame) -> None:
        tables_of(inner)[variable.lower()] = tables_of(caller)[source.lower()]

    def _declare_tables(self, statement: ast.Declare, frame: Frame) -> Iterator[Reply]:
        excerpt = self._excerpt(statement)
        for item in statement.items:
            body = table_body(excerpt.text, item.name) if item.type is None else None
            if body is not None:
                name = self._table_name(item.name)
                self._run(Statement(f"CREATE TABLE {name} {body}", excerpt.line))
                self._own(item.name, name, frame)
        return iter(())

    def _table_name(self, variable: str) -> str:
        self._made += 1
        return f"[#tdsproxy {self._run_id} {self._made} {variable[1:60].replace(']', '')}]"

    def _own(self, variable: str, name: str, frame: Frame) -> None:
        self.left.append(name)
        tables_of(frame)[variable.lower()] = name
        own = frame.storage.setdefault("own tables", [])
        if isinstance(own, list):
            own.append(name)

    def procedure(self, name: ast.Name, frame: Frame) -> Procedure | None:
        return None  # procedures are called by the server that has them


def _take_over(standing: Standing, frame: Frame) -> None:
    """The variables have the values that the statement gave them."""
    for name, (type_, value) in standing.values.items():
        cell = frame.variables[name]
        cell.value = value if type_ == cell.type else convert(value, type_, cell.type)


def _is_ours(token: wire.Done, *, catching: bool) -> bool:
    """Whether a statement's end is none of the client's: of the TRY put around it, or of an error that is
    caught."""
    if token.kind is not wire.TokenType.DONE or not catching:
        return False
    return token.error or token.command in TRIED


def _message(token: wire.ServerMessage) -> Message:
    return Message(token.number, token.severity, token.state, token.text, token.line, token.procedure)


def _done(token: wire.Done) -> Done:
    counted = token.row_count is not None
    return Done(token.command, token.count, token.error, _KINDS[token.kind], counted)


def _columns(token: wire.ColMetadata) -> tuple[Column, ...]:
    return tuple(
        Column(
            column.name,
            sql_type(column.type_info) or t.NULL,
            nullable=bool(column.flags & wire.ColumnFlags.NULLABLE),
        )
        for column in token.columns
    )


def _rows(piece: Piece, columns: tuple[Column, ...]) -> list[tuple[Value, ...]]:
    return [
        tuple(from_wire(value, column.type) for value, column in zip(row.values, columns, strict=True))
        for row in piece.tokens
        if isinstance(row, wire.Row)
    ]


def values_text(columns: Iterable[Column], rows: Iterable[tuple[object, ...]]) -> str:
    types = [column.type for column in columns]
    return ", ".join(
        "(" + ", ".join(literal(value, type_) for value, type_ in zip(row, types, strict=True)) + ")"  # type: ignore[arg-type]
        for row in rows
    )


def head_of(text: str) -> str:
    """An INSERT up to the EXEC, the query or the values that it takes its rows from."""
    depth = 0
    for token in tokenize(text):
        depth += (token.word == "(") - (token.word == ")")
        if depth == 0 and token.kind is Kind.KEYWORD and token.word in _SOURCES:
            return text[: token.pos]
    return text


def bracketed(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"
