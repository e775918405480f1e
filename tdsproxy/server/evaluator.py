"""Runs leaf statements of T-SQL on SQLite: queries, DML, DDL, transactions.

``SqliteEvaluator`` is the part of the interpreter's Evaluator that needs no more of the server than a
workspace and a catalog of system views; its ``Host`` (the session) answers the rest.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final, Protocol, TypeVar

from tdsproxy.server.catalogview import SystemCatalog
from tdsproxy.server.compiler.binder import FunctionBinder
from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.ddl import DdlRunner
from tdsproxy.server.definitions import TableBuilder
from tdsproxy.server.dml import DmlRunner
from tdsproxy.server.failures import deadlocked, sqlite_errors, update_conflict
from tdsproxy.server.for_clause import for_replies
from tdsproxy.server.frame_names import FrameNames, parse_expression, temp_scope
from tdsproxy.server.insert import InsertRunner
from tdsproxy.server.merge import MergeRunner
from tdsproxy.server.metadata import Metadata
from tdsproxy.server.options import ISOLATION_LEVELS, isolation
from tdsproxy.server.schema import DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.schema_reader import SchemaReader
from tdsproxy.server.select_into import SelectInto
from tdsproxy.server.select_run import Compiled, SelectRunner
from tdsproxy.server.sequences import Sequences
from tdsproxy.server.shapes import Shapes
from tdsproxy.server.table_variables import TableVariables
from tdsproxy.server.transactions import Transactions
from tdsproxy.server.triggers import Triggers
from tdsproxy.server.user_functions import FunctionParameter, ScalarFunction, TableValued
from tdsproxy.server.user_types import UserTypes
from tdsproxy.server.workspace import TEMP, Deadlock, StaleSnapshot, Workspace, is_temporary, quoted
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.environment import FrameEnvironment, Surroundings
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.registry import FunctionContext
from tdsproxy.tsql.interpreter import Interpreter
from tdsproxy.tsql.replies import Column, Reply
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import CursorRows, Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


class FunctionLookup(Protocol):
    """User-defined functions by name, as one frame finds them."""

    def scalar(self, name: ast.Name, frame: Frame) -> ScalarFunction | None: ...

    def table(self, name: ast.Name, frame: Frame) -> TableValued | None: ...

    def default(self, parameter: FunctionParameter, frame: Frame) -> TypedValue:
        """The value of the word DEFAULT for a parameter."""


class Host(Surroundings, Protocol):
    """What the evaluator asks of the session around it (and of the interpreter's environment)."""

    def database(self, frame: Frame) -> str:
        """The current database in ``frame``."""

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        """Raises SqlError 2715."""

    @property
    def interpreter(self) -> Interpreter:
        """Runs the bodies of triggers."""

    @property
    def user_functions(self) -> FunctionLookup:
        """What CREATE FUNCTION made."""

    def committed(self, database: str) -> None:
        """A transaction that wrote to ``database`` has been committed."""


N = TypeVar("N", bound=ast.Node)
_MOST_WRAPPED: Final = 256
_ABORTED: Final = (823, 1205, 3960)
"""Errors that roll back the transaction."""
_FIRST_USER_DATABASE: Final = 5
Handler = Callable[[ast.Statement, Frame], Iterator[Reply]]


class Again(Exception):
    """The statement, which has done nothing yet, must begin anew: ``locks`` are to be taken first, or the
    objects that it names have been changed."""

    def __init__(self, locks: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.locks = locks


class SqliteEvaluator:
    """Executes what ``handles`` says it does."""

    def __init__(
        self,
        workspace: Workspace,
        catalog: SystemCatalog,
        host: Host,
        transactions: Iterator[int] | None = None,
    ) -> None:
        """``transactions`` gives the numbers of transactions."""
        self.workspace = workspace
        self.catalog = catalog
        self.host = host
        self.reader = SchemaReader(workspace)
        self._wraps: tuple[dict[int, tuple[ast.Expr, Any]], ...] = ({}, {})
        self._frame: Frame | None = None
        self._unchecked = True
        self.binder = FunctionBinder(workspace.connection, self._function_context)
        self._written: set[str] = set()
        self.transactions = Transactions(workspace, self._announce, transactions)
        self.table_variables = TableVariables(workspace, self)
        self.selects = SelectRunner(self)
        self.triggers = Triggers(self)
        self.dml = DmlRunner(self)
        self.inserts = InsertRunner(self)
        self.merges = MergeRunner(self)
        self.ddl = DdlRunner(self)
        self.sequences = Sequences(self)
        self.types = UserTypes(self)
        self.select_into = SelectInto(self)
        self.shapes = Shapes(self)
        self.global_tables: set[str] = set()
        workspace.on_close.append(self._drop_global_tables)
        self.last_identity: Decimal | None = None
        self._identity_insert: tuple[str, str] | None = None
        self._handlers: dict[type[ast.Statement], Handler] = {
            ast.QueryStatement: self.selects.run,  # type: ignore[dict-item]
            ast.Insert: self.inserts.run,  # type: ignore[dict-item]
            ast.Update: self.dml.update,  # type: ignore[dict-item]
            ast.Delete: self.dml.delete,  # type: ignore[dict-item]
            ast.Merge: self.merges.run,  # type: ignore[dict-item]
            ast.Truncate: self.dml.truncate,  # type: ignore[dict-item]
            ast.Declare: self._declare_tables,  # type: ignore[dict-item]
            ast.Transaction: self._transaction,  # type: ignore[dict-item]
            ast.SetIdentityInsert: self._set_identity_insert,  # type: ignore[dict-item]
            ast.CreateType: self.types.create,  # type: ignore[dict-item]
            ast.CreateSequence: self.sequences.create,  # type: ignore[dict-item]
            **self.ddl.handlers(),
        }

    # ------------------------------------------------------------------ the interpreter's questions

    def handles(self, statement: ast.Statement) -> bool:
        return type(statement) in self._handlers

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        """Runs one statement that ``handles`` accepts. Raises SqlError."""
        self._frame = frame
        if isinstance(statement, ast.QueryStatement) and getattr(statement.query, "into", None) is None:
            self._keep_snapshot(frame)
        handler = self._handlers[type(statement)]
        try:
            yield from self._anew(lambda: handler(statement, frame), frame, statement.line)
        except SqlError as failure:
            if self.transactions.lost or failure.number in _ABORTED:
                yield from self.transactions.rollback_all()
            raise

    def _anew(self, run: Callable[[], Iterator[Reply]], frame: Frame, line: int) -> Iterator[Reply]:
        """What ``run`` yields; it is run again as long as it asks for it."""
        locks: frozenset[str] = frozenset()
        while True:
            self.reader.begin_statement()
            self._unchecked = True
            try:
                with sqlite_errors(line), self._conflicts(frame, line):
                    if locks:
                        self._lock_rows(locks)
                    yield from run()
                return
            except Again as again:
                locks = again.locks

    def insert_rows(
        self,
        statement: ast.Insert,
        results: Sequence[tuple[tuple[Column, ...], list[tuple[Value, ...]]]],
        frame: Frame,
    ) -> Iterator[Reply]:
        """INSERT ... EXEC."""
        work = partial(self.inserts.results, statement, results, frame)
        yield from self.run(work, frame, statement.line)

    def run(self, work: Callable[[], Iterator[Reply]], frame: Frame, line: int = 1) -> Iterator[Reply]:
        """``work`` as one statement; it may be called more than once. Raises SqlError."""
        self._frame = frame
        try:
            yield from self._anew(work, frame, line)
        except SqlError as failure:
            if self.transactions.lost or failure.number in _ABORTED:
                yield from self.transactions.rollback_all()
            raise

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        """An expression with subqueries."""
        self._frame = frame
        self._keep_snapshot(frame)
        query = self._wrapped(expr, lambda: ast.Select(items=(ast.SelectItem(expr),), line=expr.line))
        with sqlite_errors(expr.line), self._conflicts(frame, expr.line):
            try:
                compiled, rows = self.selects.rows(query, frame)
            except Again as again:
                self._lock_rows(again.locks)
                compiled, rows = self.selects.rows(query, frame)
        return TypedValue(rows[0][0], compiled.types[0])

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        """The rows of a cursor's query. Raises SqlError."""
        self._frame = frame
        self._keep_snapshot(frame)
        line = statement.line
        with sqlite_errors(line), self._conflicts(frame, line):
            try:
                return self.selects.cursor(statement.query, frame)
            except Again as again:
                self._lock_rows(again.locks)
                return self.selects.cursor(statement.query, frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        """A condition with subqueries."""
        self._frame = frame
        value = self.scalar(self._wrapped(predicate, lambda: _as_value(predicate), 1), frame).value
        return None if value is None else value == 1

    def _wrapped(self, expr: ast.Expr, make: Callable[[], N], place: int = 0) -> N:
        """What ``make`` makes of an expression: the same each time, so that its compilation can be kept."""
        known = self._wraps[place].get(id(expr))
        if known is None or known[0] is not expr:
            if len(self._wraps[place]) >= _MOST_WRAPPED:
                self._wraps[place].clear()
            known = self._wraps[place][id(expr)] = (expr, make())
        made: N = known[1]
        return made

    @property
    def running_frame(self) -> Frame | None:
        """The frame whose statement runs now."""
        return self._frame

    @contextmanager
    def nested(self, frame: Frame) -> Iterator[None]:
        """Statements of ``frame`` run while another statement waits for them (a function's body, a
        trigger's): afterwards everything is as it was."""
        kept = self._frame, self._unchecked
        self._frame = frame
        try:
            with self.reader.nested():
                yield
        finally:
            self._frame, self._unchecked = kept

    def leave(self, frame: Frame) -> None:
        """Drops what belongs to a frame that ends."""
        self.table_variables.leave(frame)
        scope = frame.storage.get("temp_scope")
        if isinstance(scope, str):
            self.drop_temp_tables(scope)

    def drop_temp_tables(self, scope: str | None = None) -> None:
        """Drops the #tables of one scope, or all."""
        objects = self.reader.read(TEMP)
        metadata = Metadata(self.workspace, TEMP)
        for table in list(objects.tables.values()):
            if table.known and (scope is None or table.schema == scope):
                self.workspace.run(f"DROP TABLE IF EXISTS {TEMP}.{quoted(table.sqlite_name)}")
                metadata.drop_object(table.object_id)
        for module in list(objects.modules.values()):
            if scope is None or module.schema == scope:
                metadata.drop_object(module.object_id)
        if scope is None:
            self._drop_global_tables()

    def _drop_global_tables(self) -> None:
        """##tables end with the session that made them."""
        for name in sorted(self.global_tables):
            schema = self.workspace.global_temp()
            objects = self.reader.read(schema)
            table, module = objects.table("#0", name), objects.module("#0", name)
            if table is not None:
                self.workspace.run(f"DROP TABLE {schema}.{quoted(name)}")
                Metadata(self.workspace, schema).drop_object(table.object_id)
            if module is not None:
                Metadata(self.workspace, schema).drop_object(module.object_id)
        self.global_tables.clear()

    # ------------------------------------------------------------------ for the runners

    def compilation(self, frame: Frame) -> Context:
        return Context(self.workspace, self.reader, self.binder, self.catalog, FrameNames(self, frame))

    def compilation_like(self, context: Context) -> Context:
        """A new compilation with the same names."""
        return Context(self.workspace, self.reader, self.binder, self.catalog, context.names)

    def environment(self, frame: Frame) -> FrameEnvironment:
        return FrameEnvironment(self.host, frame)

    def _function_context(self) -> FunctionContext:
        if self._frame is None:
            raise SqlError.of(8630, 16, 1, "Internal Query Processor Error: no statement is running.")
        return self.host.context(self._frame)

    def default_expression(self, text: str) -> ast.Expr:
        return _parsed_expression(text)

    def for_clause(
        self, compiled: Compiled, clause: ast.XmlClause, table: str, frame: Frame
    ) -> Iterator[Reply]:
        return for_replies(compiled, clause, table, self.environment(frame))

    @contextmanager
    def writing(self, found: FoundTable, line: int) -> Iterator[None]:
        """The scope of one statement's writes; undone as a whole by an exception."""
        variable = found.schema == TEMP and found.table.sqlite_name.startswith("@")
        shown = f"{found.table.schema}.{found.table.name}"
        with self.changing(found.schema, found.database, line, table=shown, transactional=not variable):
            yield

    @contextmanager
    def changing(
        self, schema: str, database: str, line: int, *, table: str = "", transactional: bool = True
    ) -> Iterator[None]:
        """The same for DDL, which names no table. Table variables take no part in a transaction."""
        started = self.transactions.started
        if transactional:
            self._start(schema)
        own = not self.workspace.in_transaction
        try:
            with (
                sqlite_errors(line, database),
                self._conflicts(self._frame, line, table),
                self.workspace.statement(schema),
            ):
                if self._unchecked and self.reader.changed():
                    raise Again
                self._unchecked = False
                yield
        except BaseException:
            self.reader.forget()
            if not started and not self.transactions.lost:
                self.transactions.unstart()
            raise
        if not is_temporary(schema):
            self._written.add(database)
            if own:
                self._announce()

    def _start(self, schema: str) -> None:
        """Begins SQLite's transaction within T-SQL's.

        From then on what is read of a file stays as it was at the first look. For READ COMMITTED that must
        be the newest, and a later write must find it unchanged: a transaction that begins with a temporary
        table locks the current database at once, where one that begins with a table locks that one's."""
        started = self.transactions.started
        self.transactions.ensure()
        if started or not self.transactions.started or not is_temporary(schema) or self._frame is None:
            return
        if isolation(self._frame.options) > ISOLATION_LEVELS["READ COMMITTED"]:
            return
        file = self.workspace.find_database(self.host.database(self._frame))
        if file is None or file.read_only or file.path is None or file.database_id < _FIRST_USER_DATABASE:
            return
        try:
            with sqlite_errors(1, file.name), self._conflicts(self._frame, 1):
                self.workspace.lock(self.workspace.attach(file))
        except BaseException:
            self.transactions.unstart()
            raise

    def _keep_snapshot(self, frame: Frame) -> None:
        """Above READ COMMITTED all that a transaction reads is of the moment of its first look."""
        if (
            self.transactions.count
            and not self.transactions.lost
            and isolation(frame.options) > ISOLATION_LEVELS["READ COMMITTED"]
        ):
            self.transactions.ensure()

    def keep_rows(self, context: Context) -> None:
        """Raises Again when a hint asks for locks that the transaction doesn't hold."""
        if context.locked and self.transactions.count:
            wanted = frozenset(schema for schema in context.locked if not self.workspace.writes(schema))
            if wanted:
                raise Again(wanted)

    def _lock_rows(self, schemas: frozenset[str]) -> None:
        """SQLite locks no rows: the whole file is locked for writing, while others go on reading."""
        started = self.transactions.started
        self.transactions.ensure()
        try:
            for schema in sorted(schemas):
                self.workspace.lock(schema)
        except BaseException:
            if not started:
                self.transactions.unstart()
            raise

    @contextmanager
    def _conflicts(self, frame: Frame | None, line: int, table: str = "") -> Iterator[None]:
        """What a transaction hears that can't go on beside the others."""
        try:
            yield
        except Deadlock as error:
            raise deadlocked(line, self.workspace.spid) from error
        except StaleSnapshot as error:
            if frame is not None and isolation(frame.options) == ISOLATION_LEVELS["SNAPSHOT"]:
                raise update_conflict(line, table, error.database) from error
            raise deadlocked(line, self.workspace.spid) from error

    def _announce(self) -> None:
        for database in sorted(self._written):
            self.host.committed(database)
        self._written.clear()

    def table_builder(
        self, schema: str, name: str, sqlite_name: str, frame: Frame, line: int, object_id: int = 0
    ) -> TableBuilder:
        return self.ddl.builder(schema, name, sqlite_name, frame, line, object_id)

    # ------------------------------------------------------------------ identity

    def note_identity(self, number: int | None, frame: Frame) -> None:
        """SCOPE_IDENTITY() and @@IDENTITY after an INSERT."""
        if number is not None:
            self.last_identity = Decimal(number)
            frame.storage["identity"] = self.last_identity

    @staticmethod
    def scope_identity(frame: Frame) -> Decimal | None:
        found = frame.storage.get("identity")
        return found if isinstance(found, Decimal) else None

    def identity_current(self, schema: str, table: TableInfo) -> int | None:
        """IDENT_CURRENT: the last identity value, the seed when there was none."""
        column = table.identity_column
        if column is None or column.identity is None:
            return None
        if column.rowid:
            value = self.workspace.value(
                f"SELECT seq FROM {schema}.sqlite_sequence WHERE name = ?", (table.sqlite_name,)
            )
            last = int(str(value)) if value is not None else None
            return column.identity.seed if last is None or last < column.identity.seed else last
        last = Metadata(self.workspace, schema).last_identity(table.sqlite_name)
        return column.identity.seed if last is None else last

    def seed_identity(self, schema: str, table: TableInfo, last: int | None = None) -> None:
        """Starts the identity again: after ``last``, or from its seed (TRUNCATE, CREATE TABLE)."""
        column = table.identity_column
        if column is None or column.identity is None:
            return
        if not column.rowid:
            Metadata(self.workspace, schema).save_identity(table.sqlite_name, last)
            return
        number = column.identity.seed - 1 if last is None else last
        self.workspace.run(f"DELETE FROM {schema}.sqlite_sequence WHERE name = ?", (table.sqlite_name,))
        if number != 0:
            self.workspace.run(
                f"INSERT INTO {schema}.sqlite_sequence VALUES (?, ?)", (table.sqlite_name, number)
            )

    def identity_insert_on(self, found: FoundTable) -> bool:
        return self._identity_insert == (found.schema, found.table.sqlite_name.lower())

    def _set_identity_insert(self, statement: ast.SetIdentityInsert, frame: Frame) -> Iterator[Reply]:
        from tdsproxy.server.compiler.queries import QueryCompiler
        from tdsproxy.tsql.replies import Command, Done

        compiler = QueryCompiler(self.compilation(frame))
        found = compiler.sources.find_table(statement.table)
        shown = ".".join(p for p in (statement.table.schema, statement.table.object) if p)
        if not isinstance(found, FoundTable):
            raise SqlError.of(
                1088,
                16,
                11,
                f'Cannot find the object "{shown}" because it does not exist or you do not have permissions.',
                statement.line,
            )
        key = (found.schema, found.table.sqlite_name.lower())
        if not statement.on:
            if self._identity_insert == key:
                self._identity_insert = None
        else:
            if found.table.identity_column is None:
                raise SqlError.of(
                    8106,
                    16,
                    1,
                    f"Table '{shown}' does not have the identity property. Cannot perform SET operation.",
                    statement.line,
                )
            if self._identity_insert not in (None, key):
                raise SqlError.of(
                    8107,
                    16,
                    1,
                    f"IDENTITY_INSERT is already ON for table '{(self._identity_insert or ('', ''))[1]}'."
                    f" Cannot perform SET operation for table '{shown}'.",
                    statement.line,
                )
            self._identity_insert = key
        yield Done(Command.SET)

    def next_timestamp(self, schema: str) -> bytes:
        """A rowversion: greater than all that the database has given. The caller holds its write lock."""
        microseconds = time.time_ns() // 1000
        return struct.pack(">Q", Metadata(self.workspace, schema).next_version(microseconds))

    def _declare_tables(self, statement: ast.Declare, frame: Frame) -> Iterator[Reply]:
        """Makes the table variables that a DECLARE names, if it is reached the first time."""
        for item in statement.items:
            if item.table:
                self.table_variables.table(item.name, frame)
        return iter(())

    # ------------------------------------------------------------------ transactions

    def _transaction(self, statement: ast.Transaction, frame: Frame) -> Iterator[Reply]:
        name = self._text(statement.name, frame)
        match statement.action:
            case "BEGIN":
                mark = None if statement.mark is None else self._text(statement.mark, frame) or ""
                yield from self.transactions.begin(name, mark)
            case "COMMIT":
                yield from self.transactions.commit(statement.line)
            case "ROLLBACK":
                yield from self.transactions.rollback(name, statement.line)
            case _:
                yield from self.transactions.save(name or "", statement.line)

    def _text(self, given: str | ast.Variable | None, frame: Frame) -> str | None:
        if not isinstance(given, ast.Variable):
            return given
        value = self.environment(frame).variable(given.name).value
        return None if value is None else str(value)

    # ------------------------------------------------------------------ for the system views

    def objects(self, database: str) -> DatabaseSchema:
        """The objects of a database. Raises SqlError 911."""
        return self.reader.read(self.workspace.schema_of(database))

    def views(self, database: str) -> tuple[TableInfo, ...]:
        """The views of a database in the form of tables. Raises SqlError 911."""
        return self.shapes.views(database, self._frame) if self._frame is not None else ()

    def temp_table(self, name: str, frame: Frame) -> TableInfo | None:
        """``#name`` as ``frame`` sees it."""
        if name.startswith("##"):
            return self.reader.read(self.workspace.global_temp()).table("#0", name)
        objects = self.reader.read(TEMP)
        for scope in FrameNames(self, frame).temp_scopes:
            table = objects.table(scope, name)
            if table is not None:
                return table
        return None

    def temp_module(self, name: str, frame: Frame) -> tuple[str, ModuleInfo] | None:
        """The procedure ``#name`` or ``##name`` as ``frame`` sees it, and the SQLite schema that holds it."""
        if name.startswith("##"):
            schema = self.workspace.global_temp()
            module = self.reader.read(schema).module("#0", name)
            return None if module is None else (schema, module)
        objects = self.reader.read(TEMP)
        for scope in FrameNames(self, frame).temp_scopes:
            module = objects.module(scope, name)
            if module is not None:
                return TEMP, module
        return None

    @staticmethod
    def temp_scope(frame: Frame) -> str:
        return temp_scope(frame)


def _as_value(predicate: ast.Predicate) -> ast.Expr:
    """1, 0 or NULL for a condition."""
    one, zero = (ast.Literal(value=number, type=t.INT) for number in (1, 0))
    whens = ((predicate, one), (ast.Not(operand=predicate), zero))
    return ast.Case(operand=None, whens=whens, otherwise=None, line=predicate.line)


@lru_cache(maxsize=1024)
def _parsed_expression(text: str) -> ast.Expr:
    return parse_expression(text)
