"""DML triggers: which ones a statement fires, what inserted and deleted hold, and running their bodies.

A trigger runs within its statement: in the statement's savepoint and in a transaction, which is the
statement's own outside of an explicit one. XACT_ABORT is ON in it, and a transaction that it ends ends the
batch (error 3609).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.compiler.rewrite import rewritten
from tdsproxy.server.schema import ColumnInfo, DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.table_sql import create_table
from tdsproxy.server.workspace import TEMP, is_temporary, quoted
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import BatchAborted
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.signals import BatchEnded, Returned, ScopeEnded
from tdsproxy.tsql.state import Frame, FrameKind

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator
    from tdsproxy.server.output import OutputRows
    from tdsproxy.server.table_writer import RowKey

MAX_NESTING: Final = 32
PSEUDO: Final = "pseudo_tables"
StoredRow = tuple[Stored, ...]


class Watch:
    """Sees the rows of one statement before and after: for OUTPUT, and for the triggers to fire."""

    def __init__(
        self,
        evaluator: SqliteEvaluator,
        found: FoundTable,
        output: OutputRows | None,
        triggers: Sequence[ModuleInfo] = (),
    ) -> None:
        self._work = evaluator.workspace
        self._output = output
        self._keeps = bool(triggers)
        self.active = output is not None or self._keeps
        self.deleted: list[StoredRow] = []
        self.inserted: list[StoredRow] = []
        self.joined: Sequence[StoredRow] = ()
        """For each row that will be added the values of the joined tables, which OUTPUT may name."""
        self._added = 0
        self.columns = tuple(column for column in found.table.columns if column.computed is None)
        listed = ", ".join(quoted(column.name) for column in self.columns)
        where = " AND ".join(f"{key if key == 'rowid' else quoted(key)} = ?" for key in found.table.row_key)
        self._read = f"SELECT {listed} FROM {found.schema}.{quoted(found.table.sqlite_name)} WHERE {where}"

    def read(self, key: RowKey) -> StoredRow:
        """The row as it is now."""
        rows = self._work.run(self._read, key)
        return rows[0]  # type: ignore[return-value]

    def add(self, deleted: StoredRow | None, inserted: StoredRow | None) -> None:
        """One row of the statement, before and after."""
        if self._output is not None:
            if self.joined:
                self._output.about("", self.joined[self._added])
                self._added += 1
            self._output.add(deleted, inserted)
        if self._keeps:
            if deleted is not None:
                self.deleted.append(deleted)
            if inserted is not None:
                self.inserted.append(inserted)

    def clear(self) -> None:
        self.deleted.clear()
        self.inserted.clear()
        self._added = 0
        if self._output is not None:
            self._output.clear()


class Triggers:
    """The triggers of one session's statements."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------ which

    def of(
        self, objects: DatabaseSchema, parent_id: int, event: str, timing: str, frame: Frame
    ) -> list[ModuleInfo]:
        """The enabled triggers of a table or view for ``event``; one that runs in ``frame`` is not fired by
        itself (RECURSIVE_TRIGGERS is OFF)."""
        found = []
        for module in objects.modules.values():
            if module.kind != "TR" or module.parent_id != parent_id or module.disabled:
                continue
            definition = parsed_trigger(module.text, module.quoted_identifier)
            if definition.timing == timing and event in definition.events and not _runs(module, frame):
                found.append(module)
        return found

    def after(self, found: FoundTable, event: str, frame: Frame) -> list[ModuleInfo]:
        """The AFTER triggers of a table."""
        if is_temporary(found.schema):
            return []
        objects = self._evaluator.reader.read(found.schema)
        return self.of(objects, found.table.object_id, event, "AFTER", frame)

    def instead(self, schema: str, parent_id: int, event: str, frame: Frame) -> ModuleInfo | None:
        """The INSTEAD OF trigger of a table or view."""
        if is_temporary(schema):
            return None
        objects = self._evaluator.reader.read(schema)
        return next(iter(self.of(objects, parent_id, event, "INSTEAD OF", frame)), None)

    # ------------------------------------------------------------------ transaction

    @contextmanager
    def transaction(self, needed: bool) -> Iterator[None]:
        """Outside of a transaction a statement that fires triggers is one, which they can see and end."""
        transactions = self._evaluator.transactions
        if not needed or transactions.count:
            yield
            return
        transactions.begin_quietly()
        try:
            yield
        except BaseException:
            for _reply in transactions.rollback_all():
                continue
            raise
        for _reply in transactions.commit():
            continue

    # ------------------------------------------------------------------ firing

    def fire(
        self,
        modules: Sequence[ModuleInfo],
        found: FoundTable,
        columns: Sequence[ColumnInfo],
        rows: tuple[Sequence[StoredRow], Sequence[StoredRow]],
        updated: frozenset[str] | None,
        frame: Frame,
    ) -> Iterator[Reply]:
        """Runs the triggers of a statement. ``rows`` are those of deleted and of inserted, with the values of
        ``columns``; ``updated`` are the columns (lower case) that UPDATE names, None for all.

        Raises BatchAborted 217 and 3609, and what ends a batch."""
        if not modules:
            return
        if frame.nest_level >= MAX_NESTING:
            raise BatchAborted.of(
                217,
                16,
                1,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded"
                f" (limit {MAX_NESTING}).",
            )
        number = next(self._numbers)
        tables: dict[str, FoundTable] = {}
        for name, content in zip(("deleted", "inserted"), rows, strict=True):
            tables[name] = self._pseudo(name, number, found.table, columns, content)
        count = max(len(rows[0]), len(rows[1]))
        for module in modules:
            yield from self._run(module, found, tables, updated, count, frame)
        for table in tables.values():
            self._evaluator.table_variables.drop_later(table.table.sqlite_name)

    def _pseudo(
        self,
        name: str,
        number: int,
        table: TableInfo,
        columns: Sequence[ColumnInfo],
        rows: Sequence[StoredRow],
    ) -> FoundTable:
        plain = tuple(
            replace(c, identity=None, default=None, rowid=False, nullable=True, generated=False)
            for c in columns
        )
        computed = tuple(column for column in table.columns if column.computed is not None)
        ordered = sorted((*plain, *computed), key=lambda column: column.ordinal)
        made = TableInfo("dbo", name, 0, f"{name}#{number}", tuple(ordered))
        self._work.run(create_table(made, TEMP))
        if rows:
            listed = ", ".join(quoted(column.name) for column in plain)
            places = ", ".join("?" * len(plain))
            self._work.connection.executemany(
                f"INSERT INTO {TEMP}.{quoted(made.sqlite_name)} ({listed}) VALUES ({places})", rows
            )
        return FoundTable(made, TEMP, "tempdb")

    def _run(
        self,
        module: ModuleInfo,
        found: FoundTable,
        tables: dict[str, FoundTable],
        updated: frozenset[str] | None,
        count: int,
        frame: Frame,
    ) -> Iterator[Reply]:
        evaluator = self._evaluator
        interpreter = evaluator.host.interpreter
        inner = Frame(
            frame.session,
            frame.options.copy(),
            FrameKind.TRIGGER,
            nest_level=frame.nest_level + 1,
            procedure=module.name,
            procedure_id=module.object_id,
            database=found.database,
            text=module.text,
            parent=frame,
        )
        inner.options.xact_abort = True
        inner.options.quoted_identifier = module.quoted_identifier
        inner.options.others.pop("ROWCOUNT", None)
        inner.storage[PSEUDO] = tables
        body = _body(module.text, module.quoted_identifier, updated, _ordinals(found.table))
        frame.session.rowcount = count
        before = evaluator.transactions.count
        host = interpreter.evaluator
        with evaluator.nested(inner):
            host.enter(inner)
            try:
                yield from interpreter.declare_tables_within(body, inner)
                yield from interpreter.statements(body, inner)
            except Returned:
                pass
            except ScopeEnded:
                yield from evaluator.transactions.rollback_all()
                raise BatchEnded from None
            finally:
                leaving = list(host.leave(inner))
            yield from leaving
        if evaluator.transactions.count < before or not evaluator.transactions.count:
            raise BatchAborted.of(
                3609, 16, 1, "The transaction ended in the trigger. The batch has been aborted."
            )


def _runs(module: ModuleInfo, frame: Frame) -> bool:
    """Whether the trigger is the one that the statement stands in."""
    return frame.kind is FrameKind.TRIGGER and frame.procedure_id == module.object_id


def _ordinals(table: TableInfo) -> tuple[tuple[str, int], ...]:
    return tuple((column.name.lower(), column.ordinal) for column in table.columns)


@lru_cache(maxsize=256)
def parsed_trigger(text: str, quoted_identifier: bool) -> ast.CreateTrigger:
    """The definition that ``text`` holds."""
    statement = parse(text, quoted_identifier=quoted_identifier).statements[0]
    if not isinstance(statement, ast.CreateTrigger):
        raise TypeError("a trigger's text holds another statement")
    return statement


@lru_cache(maxsize=256)
def _body(
    text: str,
    quoted_identifier: bool,
    updated: frozenset[str] | None,
    ordinals: tuple[tuple[str, int], ...],
) -> tuple[ast.Statement, ...]:
    """A trigger's statements for an UPDATE of certain columns: UPDATE(column) and COLUMNS_UPDATED() are
    constants in it."""

    def change(node: ast.Node) -> ast.Node | None:
        if isinstance(node, ast.UpdatePredicate):
            hit = updated is None or node.column.lower() in updated
            one = ast.Literal(value=1, type=t.INT)
            other = ast.Literal(value=int(hit), type=t.INT)
            return ast.Comparison(op="=", left=one, right=other, line=node.line)
        if isinstance(node, ast.FunctionCall) and node.name.object.upper() == "COLUMNS_UPDATED":
            mask = _mask(updated, ordinals)
            return ast.Literal(value=mask, type=t.varbinary(len(mask)), line=node.line)
        return None

    body: tuple[ast.Statement, ...] = rewritten(parsed_trigger(text, quoted_identifier).body, change)
    return body


def _mask(updated: frozenset[str] | None, ordinals: tuple[tuple[str, int], ...]) -> bytes:
    """COLUMNS_UPDATED(): a bit for each column, the first one the lowest of the first byte."""
    mask = bytearray((max((place for _, place in ordinals), default=0) + 7) // 8)
    for name, place in ordinals:
        if updated is None or name in updated:
            mask[(place - 1) // 8] |= 1 << (place - 1) % 8
    return bytes(mask)
