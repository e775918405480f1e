"""The Evaluator of ``remote_evaluator`` with a second server at hand: what is about msdb is answered by it.

Both kinds meet in one statement where rows of msdb are put into a temporary table of the client's, or are
joined with one: then the rows are copied from one server to the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdsproxy.frontend.handler import Session
from tdsproxy.proxy.exchange import Statement
from tdsproxy.proxy.local import LocalExchange, is_local, sets_recovery, temporary_tables
from tdsproxy.proxy.probe import SessionFacts
from tdsproxy.proxy.remote_evaluator import (
    ROWS_AT_ONCE,
    Link,
    RemoteEvaluator,
    bracketed,
    head_of,
    values_text,
)
from tdsproxy.proxy.rewriting import statement as rewritten
from tdsproxy.proxy.rewriting import tables_of
from tdsproxy.proxy.texts import Excerpt
from tdsproxy.tsql import ast
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import ResultRows
from tdsproxy.tsql.replies import Column, Message, Reply, ResultSet, ReturnStatus, Rows
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.severity import Reach, reach
from tdsproxy.tsql.signals import BatchEnded, ScopeEnded
from tdsproxy.tsql.state import CursorRows, Frame


class LocalEvaluator(RemoteEvaluator):
    """``session`` is that of the embedded server."""

    def __init__(self, link: Link, facts: SessionFacts, version: int, session: Session) -> None:
        super().__init__(link, facts, version)
        self._session = session

    def _is_local(self, node: ast.Node) -> bool:
        return is_local(node, self.facts.database)

    # ----------------------------------------------------------------- statements

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        ours = isinstance(statement, ast.NativeStatement | ast.Declare) or sets_recovery(statement)
        if ours or not self._is_local(statement):
            return super().execute(statement, frame)
        if isinstance(statement, ast.Insert) and not self._is_local(statement.target):
            return self._insert(statement, frame)
        into = _into(statement)
        if into is not None:
            return self._select_into(statement, into, frame)
        return self._answered(statement, frame)

    def _answered(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        excerpt = self._excerpt(statement)
        errors: list[Message] = []
        self._bring(statement, frame)
        exchange = LocalExchange(rewritten(excerpt, frame), self.facts.database)
        try:
            for reply in self._replies(exchange):
                if isinstance(reply, Message) and reply.is_error:
                    errors.append(reply)
                if isinstance(reply, ReturnStatus):
                    frame.storage["status"] = reply.value
                else:
                    yield reply
        finally:
            self._forget(statement, frame)
        self._settled(exchange, frame)
        if errors and exchange.values is None and not frame.catches():
            raise ScopeEnded if reach(SqlError(*errors)) is Reach.FRAME else BatchEnded

    def _replies(self, exchange: LocalExchange) -> Iterator[Reply]:
        for reply in self._session.run_batch(exchange.text):
            yield from exchange.sift(reply)
        self._link.check()

    def _settled(self, exchange: LocalExchange, frame: Frame) -> None:
        if exchange.values is None:
            return
        frame.session.error, frame.session.rowcount = exchange.error, exchange.rowcount
        for name, (type_, value) in exchange.values.items():
            cell = frame.variables[name]
            cell.value = value if type_ == cell.type else convert(value, type_, cell.type)

    def _results(
        self, excerpt: Excerpt, node: ast.Node, frame: Frame
    ) -> tuple[list[ResultRows], list[Message]]:
        """The result sets of a text, and its messages. Raises SqlError."""
        self._bring(node, frame)
        exchange = LocalExchange(rewritten(excerpt, frame), self.facts.database)
        results: list[ResultRows] = []
        messages: list[Message] = []
        try:
            for reply in self._replies(exchange):
                if isinstance(reply, ResultSet):
                    results.append((reply.columns, []))
                elif isinstance(reply, Rows):
                    results[-1][1].extend(reply.rows)
                elif isinstance(reply, Message):
                    messages.append(reply)
        finally:
            self._forget(node, frame)
        errors = [message for message in messages if message.is_error]
        if errors:
            raise SqlError(*errors)
        return results, messages

    def _insert(self, statement: ast.Insert, frame: Frame) -> Iterator[Reply]:
        """Rows of ours into a table of the upstream's."""
        excerpt = self._excerpt(statement)
        source = excerpt.text[len(head_of(excerpt.text)) :]
        line = excerpt.line + excerpt.text[: len(excerpt.text) - len(source)].count("\n")
        results, messages = self._results(Excerpt(source, line), statement, frame)
        yield from messages
        yield from self.insert_rows(statement, results, frame)

    def _select_into(self, statement: ast.Statement, into: str, frame: Frame) -> Iterator[Reply]:
        """A temporary table of the upstream's made from rows of ours."""
        excerpt = self._excerpt(statement)
        self._results(excerpt, statement, frame)
        ((columns, rows),), _messages = self._results(
            Excerpt(f"SELECT * FROM {into}; DROP TABLE {into}", 1), ast.Batch("", ()), frame
        )
        for text in _copy(into, columns, rows):
            self._run(Statement(text))
        yield self.inserted(len(rows))

    # ----------------------------------------------------------------- values

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        return self._local_value(expr, "SELECT {}", frame) or super().scalar(expr, frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        made = self._local_value(predicate, "SELECT CASE WHEN {} THEN 1 ELSE 0 END", frame)
        return super().predicate(predicate, frame) if made is None else made.value == 1

    def _local_value(self, expr: ast.Expr, form: str, frame: Frame) -> TypedValue | None:
        if not self._is_local(expr):
            return None
        excerpt = self._excerpt(expr)
        results, _messages = self._results(Excerpt(form.format(excerpt.text), excerpt.line), expr, frame)
        ((columns, rows),) = results
        return TypedValue(rows[0][0], columns[0].type)

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        if not self._is_local(statement.query):
            return super().cursor_rows(statement, frame)
        results, messages = self._results(self._excerpt(statement.query), statement.query, frame)
        ((columns, rows),) = results
        return CursorRows(columns, rows, messages)

    # ----------------------------------------------------------------- temporary tables

    def _bring(self, node: ast.Node, frame: Frame) -> None:
        """Copy the temporary tables that a statement reads to the local session."""
        for name in self._temporary(node, frame):
            columns, rows, _messages = self._run(Statement(f"SELECT * FROM {name}"))
            for text in _copy(name, columns, rows):
                self._do(text)

    def _forget(self, node: ast.Node, frame: Frame) -> None:
        for name in self._temporary(node, frame):
            self._do(f"DROP TABLE {name}")

    def _temporary(self, node: ast.Node, frame: Frame) -> list[str]:
        tables = tables_of(frame)
        made = {_into(node)} if isinstance(node, ast.Statement) else set()
        target = {node.target.object} if isinstance(node, ast.Insert) else set()
        found = temporary_tables(node) - target - made
        return [
            tables.get(name.lower(), bracketed(name)) for name in sorted(found) if _is_table(name, tables)
        ]

    def _do(self, text: str) -> None:
        """Raises SqlError."""
        errors = [r for r in self._session.run_batch(text) if isinstance(r, Message) and r.is_error]
        if errors:
            raise SqlError(*errors)


def _is_table(name: str, tables: dict[str, str]) -> bool:
    return name.startswith("#") or name.lower() in tables


def _into(statement: ast.Node) -> str | None:
    """The table that SELECT ... INTO makes."""
    query = statement.query if isinstance(statement, ast.QueryStatement) else None
    into = getattr(query, "into", None)
    return into.object if isinstance(into, ast.Name) else None


def _copy(name: str, columns: Sequence[Column], rows: Sequence[tuple[object, ...]]) -> Iterator[str]:
    """The statements that make a table and fill it."""
    declared = ", ".join(
        f"{bracketed(column.name or f'column{number}')} {_type(column)}"
        for number, column in enumerate(columns)
    )
    yield f"CREATE TABLE {name} ({declared})"
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield f"INSERT INTO {name} VALUES {values_text(columns, rows[start : start + ROWS_AT_ONCE])}"


def _type(column: Column) -> str:
    name = "int" if column.type.name == "null" else str(column.type)
    return "varbinary(8)" if name == "timestamp" else f"{name}{'' if column.nullable else ' NOT'} NULL"
