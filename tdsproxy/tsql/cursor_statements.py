"""OPEN, FETCH, CLOSE and DEALLOCATE as the interpreter runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tdsproxy.tsql import ast, cursors
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.tsql.interpreter import Interpreter


def action(interpreter: Interpreter, statement: ast.CursorAction, frame: Frame) -> Iterator[Reply]:
    if statement.action == "CLOSE":
        cursors.close(statement.cursor, frame)
    elif statement.action == "DEALLOCATE":
        cursors.deallocate(statement.cursor, frame)
    else:
        cursor = cursors.find(statement.cursor, frame)
        cursors.check_closed(cursor)
        query = ast.QueryStatement(cursor.query, line=statement.line)
        opened = interpreter.evaluator.cursor_rows(query, frame)
        yield from opened.messages
        cursor.columns, cursor.rows, cursor.at = opened.columns, opened.rows, 0
        cursor.keys = opened.keys
        frame.session.cursor_rows = len(opened.rows)
    yield from interpreter.plain(frame)


def fetch(interpreter: Interpreter, statement: ast.Fetch, frame: Frame) -> Iterator[Reply]:
    cursor = cursors.find(statement.cursor, frame)
    count: int | None = None
    if statement.count is not None:
        made = interpreter.scalar(statement.count, frame)
        number = convert(made.value, made.type, t.INT)
        count = number if isinstance(number, int) else 0
    index = cursors.move(cursor, statement.direction, count)
    columns = cursor.columns or ()
    frame.session.fetch_status = -1 if index is None else 0
    if not statement.into:
        yield ResultSet(columns)
        if index is not None:
            yield Rows([cursor.rows[index]])
        interpreter.succeeded(frame, int(index is not None))
        yield from interpreter.done(Done(Command.SELECT, int(index is not None)), frame, rows=True)
        return
    if len(statement.into) != len(columns):
        text = (
            "Cursorfetch: The number of variables declared in the INTO list must match that of selected "
            "columns."
        )
        raise SqlError.of(16924, 16, 1, text)
    if index is not None:
        for name, column, value in zip(statement.into, columns, cursor.rows[index], strict=True):
            interpreter.store(name, TypedValue(value, column.type), frame)
    yield from interpreter.counted(int(index is not None), frame)
