"""INSERT BULK, and the rows that the client sends for it in the next message.

Its rules are not INSERT's: NULL takes a column's default and CHECK and FOREIGN KEY constraints and triggers
are passed over, unless an option says otherwise; a value for the identity column is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import apsw
import msgspec

from tdsproxy.frontend.bulk import BulkColumn, BulkData
from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.permissions import require_permission
from tdsproxy.server.schema import ColumnInfo
from tdsproxy.server.triggers import Watch
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.interpreter import Cancelled, Frame
from tdsproxy.tsql.replies import Done, Reply
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator
    from tdsproxy.server.session import Session

_OPTIONS: Final = re.compile(r"\b(KEEP_NULLS|CHECK_CONSTRAINTS|FIRE_TRIGGERS)\b", re.IGNORECASE)
_COMMAND: Final = 0xF0
"""CurCmd of a bulk load's DONE (captured)."""


@dataclass(frozen=True, slots=True)
class BulkTarget:
    """What an INSERT BULK has announced. ``columns`` in the order of the data."""

    statement: ast.InsertBulk
    keep_nulls: bool
    check_constraints: bool
    fire_triggers: bool


def announce(session: Session, statement: ast.InsertBulk, frame: Frame) -> BulkTarget:
    """Checks an INSERT BULK; the data come with the next message. Raises SqlError 208, 207, 229 ..."""
    require_permission(session, ast.Insert(statement.target, line=statement.line))
    loader = Loader(session.evaluator.sql, statement, frame)
    with sqlite_errors(statement.line):
        loader.columns(loader.found())
    found = {word.upper() for word in _OPTIONS.findall(statement.text)}
    return BulkTarget(
        statement,
        keep_nulls="KEEP_NULLS" in found,
        check_constraints="CHECK_CONSTRAINTS" in found,
        fire_triggers="FIRE_TRIGGERS" in found,
    )


def load(session: Session, target: BulkTarget, data: BulkData, frame: Frame) -> Iterator[Reply]:
    """Inserts all of the rows, or none. Raises SqlError."""
    described = data.columns()
    session.statement_begins(frame)
    evaluator = session.evaluator.sql
    loader = Loader(evaluator, target.statement, frame)
    try:
        yield from evaluator.run(partial(loader.insert, target, described, data), frame)
    except apsw.InterruptError:
        raise Cancelled from None


class BulkRows(Protocol):
    """Where the rows come from; they may be asked for more than once, and begin anew then."""

    def rows(self) -> Iterator[tuple[Value, ...]]: ...


class Loader:
    """One bulk load into one table; ``only`` are its columns when the statement does not name them."""

    def __init__(
        self,
        evaluator: SqliteEvaluator,
        statement: ast.InsertBulk,
        frame: Frame,
        only: tuple[ColumnInfo, ...] | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._statement = statement
        self._frame = frame
        self._only = only
        self._context = evaluator.compilation(frame)

    def found(self) -> FoundTable:
        return self._evaluator.dml.target(self._context, self._statement.target)

    def table_columns(self) -> tuple[ColumnInfo, ...]:
        """Those that data without column names are for. Raises SqlError 208."""
        with sqlite_errors(self._statement.line):
            return self.columns(self.found())

    def columns(self, found: FoundTable) -> tuple[ColumnInfo, ...]:
        """The table's columns that the data are for. Raises SqlError 207, 264, 271."""
        named = [column.name for column in self._statement.columns]
        if self._only is not None:
            return self._only
        if not named:
            return tuple(column for column in found.table.columns if column.writable)
        made: list[ColumnInfo] = []
        for name in named:
            column = found.table.column(name)
            if column is None:
                raise SqlError.of(207, 16, 1, f"Invalid column name '{name}'.", self._statement.line)
            if column in made:
                raise SqlError.of(
                    264,
                    16,
                    1,
                    f"The column name '{name}' is specified more than once in the SET clause or column list"
                    " of an INSERT. A column cannot be assigned more than one value in the same clause.",
                    self._statement.line,
                )
            if not column.writable:
                raise SqlError.of(
                    271,
                    16,
                    1,
                    f'The column "{column.name}" cannot be modified because it is either a computed column or'
                    " is the result of a UNION operator.",
                    self._statement.line,
                )
            made.append(column)
        return tuple(made)

    def insert(
        self, target: BulkTarget, described: tuple[BulkColumn, ...], data: BulkRows
    ) -> Iterator[Reply]:
        evaluator, frame = self._evaluator, self._frame
        self._context = evaluator.compilation(frame)
        found = self.found()
        columns = self.columns(found)
        if len(described) != len(columns):
            raise SqlError.of(
                4816,
                16,
                1,
                f"Invalid column type from bcp client for colid {min(map(len, (described, columns))) + 1}.",
            )
        fired = evaluator.dml.fired(found, "INSERT", None, 1, frame) if target.fire_triggers else []
        watch = Watch(evaluator, found, None, fired)
        count = 0
        with (
            evaluator.triggers.transaction(bool(fired)),
            evaluator.writing(found, 1),
            _constraints(evaluator.workspace.connection, checked=target.check_constraints),
        ):
            writer = evaluator.dml.writer(
                self._context, found if target.check_constraints else _unchecked(found), "INSERT", 1
            )
            missing = evaluator.inserts.defaults(found, columns, frame)
            names = (*(column.name for column in columns), *(column.name for column in missing))
            make = self._maker(target, described, columns, found)
            extra = tuple(missing.values())
            for row in data.rows():
                key = writer.insert(names, [*make(row), *(value() for value in extra)])
                count += 1
                if watch.active:
                    watch.add(None, watch.read(key))
            writer.finish()
            evaluator.note_identity(writer.last_identity, frame)
            rows_seen = (watch.deleted, watch.inserted)
            yield from evaluator.triggers.fire(fired, found, watch.columns, rows_seen, None, frame)
        yield Done(_COMMAND, count)

    def _maker(
        self,
        target: BulkTarget,
        described: tuple[BulkColumn, ...],
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
    ) -> Callable[[tuple[Value, ...]], list[Stored]]:
        """How a row of the data becomes a row of the table."""
        dml = self._evaluator.dml
        defaults = [
            None if target.keep_nulls or column.default is None else dml.default_maker(column, self._frame)
            for column in columns
        ]
        pairs = list(zip(described, columns, defaults, strict=True))

        def make(row: tuple[Value, ...]) -> list[Stored]:
            return [
                default()
                if value is None and default is not None
                else dml.assigned(value, source.type, column, found, 1)
                for value, (source, column, default) in zip(row, pairs, strict=True)
            ]

        return make


def _unchecked(found: FoundTable) -> FoundTable:
    """The table without the checks that are made by queries."""
    return FoundTable(msgspec.structs.replace(found.table, checks=()), found.schema, found.database)


@contextmanager
def _constraints(connection: apsw.Connection, *, checked: bool) -> Iterator[None]:
    """Within, SQLite passes over CHECK and FOREIGN KEY constraints unless they are to be ``checked``."""
    if checked:
        yield
        return
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA ignore_check_constraints = OFF")
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
