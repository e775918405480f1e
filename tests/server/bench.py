"""A small server around the evaluator: T-SQL in, replies out, over plain SQLite files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from tdsproxy.server.catalogview import NoSystemCatalog
from tdsproxy.server.evaluator import SqliteEvaluator
from tdsproxy.server.workspace import DatabaseFile, Workspace
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.collation import collation_key
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import StoredMessage
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import CaughtError, Functions
from tdsproxy.tsql.interpreter import Frame, Interpreter, Options, SessionState
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import CursorRows
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value


def compare(left: str, right: str) -> int:
    a, b = collation_key(left), collation_key(right)
    return (a > b) - (a < b)


class Clock:
    """A function context with the machine's time."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def now(self) -> DateTimeOffset:
        moment = DateTime.of(dt.datetime.now())
        return DateTimeOffset(moment.days, moment.ticks, 0)

    @property
    def date_first(self) -> int:
        return 7

    @property
    def caught(self) -> CaughtError | None:
        caught = self._bench.session.caught
        return caught[-1] if caught else None

    def random(self, seed: int | None) -> float:
        return 0.5

    def transaction_state(self) -> int:
        return 1 if self._bench.evaluator.transactions.count else 0


@dataclass
class Answer:
    """What one batch gave."""

    columns: list[tuple[Column, ...]] = field(default_factory=list)
    sets: list[list[tuple[Value, ...]]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    others: list[Reply] = field(default_factory=list)

    @property
    def rows(self) -> list[tuple[Value, ...]]:
        """The rows of the last result set."""
        return self.sets[-1]

    @property
    def errors(self) -> list[tuple[int, str]]:
        return [(m.number, m.text) for m in self.messages if m.is_error]

    @property
    def counts(self) -> list[int | None]:
        return [done.count for done in self.done]

    @property
    def types(self) -> list[str]:
        """Name, type and nullability of the last result set's columns: ``a int``, ``b nvarchar(5) null``."""
        return [f"{c.name} {c.type}{' null' if c.nullable else ''}" for c in self.columns[-1]]


class NoFunctions:
    """A database without user-defined functions."""

    def scalar(self, name: ast.Name, frame: Frame) -> None:
        return None

    def table(self, name: ast.Name, frame: Frame) -> None:
        return None

    def default(self, parameter: object, frame: Frame) -> TypedValue:
        return TypedValue(None, t.INT)


class Bench:
    """Implements the interpreter's Evaluator over ``SqliteEvaluator``."""

    def __init__(self, directory: Path, database: str = "db") -> None:
        self.directory = directory
        self.current = database
        self.ids: dict[str, int] = {}
        self.session = SessionState()
        self.options = Options()
        self.written: list[str] = []
        self.add(database)
        self.workspace = Workspace(self.resolve, compare)
        self.evaluator = SqliteEvaluator(self.workspace, NoSystemCatalog(), self)
        self.interpreter = Interpreter(self)

    def add(self, name: str) -> Path:
        """A new empty database."""
        path = self.directory / f"{name}.db"
        if not path.exists():
            connection = apsw.Connection(str(path))
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            connection.close()
        self.ids[name.lower()] = 5 + len(self.ids)
        return path

    def resolve(self, name: str) -> DatabaseFile | None:
        number = self.ids.get(name.lower())
        return None if number is None else DatabaseFile(number, name, self.directory / f"{name.lower()}.db")

    # the interpreter's Evaluator

    @property
    def functions(self) -> Functions:
        return LIBRARY

    def context(self, frame: Frame) -> Clock:
        return Clock(self)

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        return self.evaluator.execute(statement, frame)

    def insert_rows(self, statement: ast.Insert, results: list, frame: Frame) -> Iterator[Reply]:  # type: ignore[type-arg]
        return self.evaluator.insert_rows(statement, results, frame)

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        return self.evaluator.scalar(expr, frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        return self.evaluator.predicate(predicate, frame)

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        if name == "@@IDENTITY":
            return TypedValue(self.evaluator.last_identity, t.numeric(38, 0))
        raise SqlError.of(137, 15, 2, f'Must declare the scalar variable "{name}".')

    def procedure(self, name: ast.Name, frame: Frame) -> None:
        return None

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        return self.evaluator.cursor_rows(statement, frame)

    def table_type(self, variable: str, type_name: ast.TypeName, frame: Frame) -> None:
        return None

    def statement_begins(self, frame: Frame) -> None:
        return

    def share_table(self, variable: str, source: str, caller: Frame, inner: Frame) -> None:
        return

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        if type_name.type is None:
            raise SqlError.of(2715, 16, 6, f"Cannot find data type {type_name.name.object}.")
        return type_name.type

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        return parse(text)

    def enter(self, frame: Frame) -> None:
        return None

    def leave(self, frame: Frame) -> Iterator[Reply]:
        self.evaluator.leave(frame)
        return iter(())

    def transaction_count(self) -> int:
        return self.evaluator.transactions.count

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        return self.evaluator.transactions.rollback_all()

    def stored_message(self, number: int, frame: Frame) -> StoredMessage | None:
        return None

    def may_log(self, frame: Frame) -> bool:
        return True

    def log(self, message: Message, statement: ast.Statement | None, frame: Frame, *, demanded: bool) -> None:
        return

    # the evaluator's Host

    def database(self, frame: Frame) -> str:
        return self.current

    @property
    def user_functions(self) -> NoFunctions:
        return NoFunctions()

    def committed(self, database: str) -> None:
        self.written.append(database)

    # for tests

    def run(self, text: str) -> Answer:
        """One batch."""
        answer = Answer()
        frame = Frame(self.session, self.options, text=text)
        try:
            batch = parse(text)
        except SqlError as error:
            answer.messages.extend(error.messages)
            return answer
        for reply in self.interpreter.run(batch, frame):
            match reply:
                case ResultSet():
                    answer.columns.append(reply.columns)
                    answer.sets.append([])
                case Rows():
                    answer.sets[-1].extend(reply.rows)
                case Message():
                    answer.messages.append(reply)
                case Done():
                    answer.done.append(reply)
                case _:
                    answer.others.append(reply)
        self.evaluator.leave(frame)
        return answer

    def ok(self, text: str) -> Answer:
        """One batch that must not fail."""
        answer = self.run(text)
        assert not answer.errors, answer.errors
        return answer

    def query(self, text: str) -> list[tuple[Value, ...]]:
        """The rows of the last result set of a batch that must not fail."""
        return self.ok(text).rows

    def error(self, text: str) -> tuple[int, str]:
        """The first error of a batch that must fail."""
        answer = self.run(text)
        assert answer.errors, "no error"
        return answer.errors[0]

    def close(self) -> None:
        self.workspace.close()
