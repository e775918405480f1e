"""Which part of the server runs a statement: the ``Evaluator`` that the interpreter drives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import apsw

from tdsproxy.server import dbcc
from tdsproxy.server.agent_roles import OF_JOBS, require_agent_procedure
from tdsproxy.server.bulk_insert import bulk_insert
from tdsproxy.server.bulk_load import announce
from tdsproxy.server.evaluator import SqliteEvaluator
from tdsproxy.server.event_log import log_event
from tdsproxy.server.failures import DISK_FAILURES, sqlite_errors
from tdsproxy.server.functions import FUNCTIONS
from tdsproxy.server.globals import global_variable
from tdsproxy.server.kill import run_kill
from tdsproxy.server.native import NATIVE, run_native
from tdsproxy.server.options import begin_reading, set_option
from tdsproxy.server.permissions import require_permission
from tdsproxy.server.procedures import find_procedure, scripted_procedure
from tdsproxy.server.procedures.configuration import reconfigure
from tdsproxy.server.procedures.define import Replies
from tdsproxy.server.procedures.jobs import agent_procedure, asking_procedure
from tdsproxy.server.schema import DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.scope import SessionFunctions
from tdsproxy.server.security import run_security
from tdsproxy.server.system_messages import is_logged, stored_message
from tdsproxy.server.user_functions import UserFunctions
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import (
    Argument,
    Procedure,
    PythonProcedure,
    ResultRows,
    StoredMessage,
    StoredProcedure,
)
from tdsproxy.tsql.functions.registry import FunctionContext, Functions
from tdsproxy.tsql.interpreter import Interpreter
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Command, Done, LanguageChanged, Message, Reply, ResultSet
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.signals import Cancelled
from tdsproxy.tsql.state import CursorRows, Frame, FrameKind, TableVariable
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_SECURITY: Final = (
    ast.CreateLogin,
    ast.DropLogin,
    ast.CreateUser,
    ast.DropUser,
    ast.AlterRole,
    ast.Permission,
)
_SET_ON: Final = 185
_SET_OFF: Final = 186
_NO_EXECUTION: Final = (
    "NOEXEC",
    "FMTONLY",
    "SHOWPLAN_ALL",
    "SHOWPLAN_TEXT",
    "SHOWPLAN_XML",
)
_STARTS_TRANSACTION: Final = (
    ast.Insert,
    ast.Update,
    ast.Delete,
    ast.Merge,
    ast.Truncate,
    ast.CreateTable,
    ast.AlterTable,
    ast.CreateIndex,
    ast.DropIndex,
    ast.DropObject,
    ast.CreateView,
    ast.CreateSchema,
)


class Dispatcher:
    """Implements ``tsql.evaluator.Evaluator`` and ``server.evaluator.Host`` for one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._functions = UserFunctions(session)
        self.sql: SqliteEvaluator = SqliteEvaluator(
            session.workspace, session.views, self, session.engine.transactions
        )

    # ------------------------------------------------------------------ statements

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        session = self._session
        session.statement_begins(frame)
        if isinstance(statement, ast.SetOption):
            yield from self._set(statement, frame)
            return
        if frame.options.others.get("FMTONLY") == "ON" and isinstance(statement, ast.QueryStatement):
            yield from self._columns_only(statement, frame)
            return
        if any(frame.options.others.get(name) == "ON" for name in _NO_EXECUTION):
            return
        self._require(statement, frame)
        if self._starts_transaction(statement, frame):
            yield from (r for r in self.sql.transactions.begin(implicit=True) if not isinstance(r, Done))
        try:
            if self.sql.handles(statement):
                yield from self.sql.execute(statement, frame)
            elif isinstance(statement, NATIVE):
                yield from run_native(session, statement, frame)
            elif isinstance(statement, _SECURITY):
                principals = statement
                yield from self.sql.run(lambda: run_security(session, principals), frame, statement.line)
            else:
                yield from self._other(statement, frame)
        except apsw.InterruptError:
            raise Cancelled from None
        except DISK_FAILURES:
            with sqlite_errors(statement.line, session.database):
                raise

    def _require(self, node: object, frame: Frame) -> None:
        """Raises SqlError 229 or 262."""
        if not frame.storage.get(OF_JOBS):
            require_permission(self._session, node)

    def _columns_only(self, statement: ast.QueryStatement, frame: Frame) -> Iterator[Reply]:
        """SET FMTONLY ON: what a query's columns are. FreeTDS asks so before a bulk load."""
        if getattr(statement.query, "into", None) is not None:
            return
        require_permission(self._session, statement)
        replies = self.sql.execute(statement, frame)
        try:
            for reply in replies:
                if isinstance(reply, ResultSet):
                    yield reply
                    yield Done(Command.SELECT, 0)
                    return
        finally:
            if isinstance(replies, Generator):
                replies.close()

    def _other(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        match statement:
            case ast.Use():
                yield from self._session.use(statement.database)
                yield Done(Command.USE)
            case ast.Dbcc():
                yield from dbcc.run_dbcc(self._session, statement, frame)
            case ast.Kill():
                yield from run_kill(self._session, statement, frame)
            case ast.InsertBulk():
                self._session.bulk = announce(self._session, statement, frame)
                yield Done(Command.PARSE_ERROR)  # the number is INSERT BULK's, too (captured)
            case ast.BulkInsert():
                yield from bulk_insert(self._session, statement, frame)
            case ast.Reconfigure():
                yield from reconfigure(self._session, statement)
            case ast.ExecuteAs():
                name = self.scalar(statement.name, frame).value if statement.name is not None else None
                self._session.impersonation.execute_as(statement, str(name))
                yield Done(Command.PARSE_ERROR)
            case ast.Revert():
                self._session.impersonation.revert()
                yield Done(Command.PARSE_ERROR)
            case ast.Declare() | ast.Checkpoint() | ast.Accepted() | ast.AlterIndex():
                yield Done(Command.NONE)
            case _:
                words = _WORDS.get(type(statement).__name__, type(statement).__name__.upper())
                if isinstance(statement, ast.Unsupported):
                    words = statement.words
                raise SqlError.of(
                    40510,
                    16,
                    1,
                    f"Statement '{words}' is not supported in this version of SQL Server.",
                    statement.line,
                )

    def _starts_transaction(self, statement: ast.Statement, frame: Frame) -> bool:
        """SET IMPLICIT_TRANSACTIONS ON: the first statement that touches a table begins a transaction."""
        if frame.options.others.get("IMPLICIT_TRANSACTIONS") != "ON" or self.transaction_count():
            return False
        if isinstance(statement, ast.QueryStatement):
            query = statement.query
            return not isinstance(query, ast.Select) or bool(query.sources)
        return isinstance(statement, _STARTS_TRANSACTION)

    def _set(self, statement: ast.SetOption, frame: Frame) -> Iterator[Reply]:
        value = statement.value
        if statement.expr is not None:
            made = self._session.interpreter.scalar(statement.expr, frame)
            value = (
                f"0x{made.value.hex()}"
                if isinstance(made.value, bytes)
                else str(convert(made.value, made.type, t.nvarchar(4000)) or "")
            )
        for name in statement.names:
            if name == "CONTEXT_INFO":
                self._session.context_info = bytes.fromhex(value[2:])[:128]
                continue
            old = frame.options.language
            set_option(frame.options, name, value)
            begin_reading(frame.options)
            if name == "LANGUAGE":
                new = frame.options.language
                yield LanguageChanged(new, old)
                yield Message(5703, 0, 1, f"Changed language setting to {new}.", statement.line)
            elif name == "LOCK_TIMEOUT":
                self._session.workspace.lock_timeout_ms = int(value)
        if statement.names != ("QUOTED_IDENTIFIER",):  # set while the batch is parsed: no token of its own
            on = {"ON": _SET_ON, "OFF": _SET_OFF}
            yield Done(on.get(value.upper(), Command.SET))

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        self._session.statement_begins(frame)
        require_permission(self._session, statement)
        try:
            return self.sql.cursor_rows(statement, frame)
        except apsw.InterruptError:
            raise Cancelled from None

    def insert_rows(self, statement: ast.Insert, results: list[ResultRows], frame: Frame) -> Iterator[Reply]:
        self._session.statement_begins(frame)
        require_permission(self._session, statement)
        yield from self.sql.insert_rows(statement, results, frame)

    # ------------------------------------------------------------------ expressions

    @property
    def functions(self) -> Functions:
        return FUNCTIONS

    def context(self, frame: Frame) -> FunctionContext:
        return SessionFunctions(self._session, frame)

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        self._session.statement_begins(frame)
        self._require(expr, frame)
        return self.sql.scalar(expr, frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        self._session.statement_begins(frame)
        self._require(predicate, frame)
        return self.sql.predicate(predicate, frame)

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        found = global_variable(name, SessionFunctions(self._session, frame))
        if found is None:
            raise SqlError.of(137, 15, 2, f'Must declare the scalar variable "{name}".')
        return found

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        if type_name.type is not None:
            return type_name.type
        name = type_name.name
        base = self.sql.types.base(name, frame)
        if base is not None:
            return base
        shown = ".".join(part for part in (name.schema, name.object) if part)
        raise SqlError.of(
            2715, 16, 3, f"Column, parameter, or variable #1: Cannot find data type {shown}.", name.line
        )

    @property
    def interpreter(self) -> Interpreter:
        return self._session.interpreter

    @property
    def user_functions(self) -> UserFunctions:
        return self._functions

    def statement_begins(self, frame: Frame) -> None:
        self._session.statement_begins(frame)

    def table_type(self, variable: str, type_name: ast.TypeName, frame: Frame) -> TableVariable | None:
        return self.sql.types.table(variable, type_name.name, frame)

    def share_table(self, variable: str, source: str, caller: Frame, inner: Frame) -> None:
        self.sql.table_variables.share(variable, source, caller, inner)

    def stored_message(self, number: int, frame: Frame) -> StoredMessage | None:
        return stored_message(self._session.engine.catalog, number)

    def may_log(self, frame: Frame) -> bool:
        return self._session.rights.is_sysadmin

    def log(self, message: Message, statement: ast.Statement | None, frame: Frame, *, demanded: bool) -> None:
        """What a native statement says, the keeper logs itself."""
        if isinstance(statement, NATIVE):
            return
        if demanded or is_logged(self._session.engine.catalog, message.number, message.severity):
            log_event(self._session, message)

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        return self._session.engine.parsed.parse(text, quoted_identifier=frame.options.quoted_identifier)

    # ------------------------------------------------------------------ procedures and frames

    def procedure(self, name: ast.Name, frame: Frame) -> Procedure | None:
        system = find_procedure(name.object, name.schema)
        if system is not None:
            run = partial(system, self._session)
            extended = name.object.lower().startswith("xp_")
            if name.database and not extended and name.database.lower() != self._session.database.lower():
                run = partial(self._elsewhere, name.database, run)
            return PythonProcedure(name.object.lower(), run)
        where = name.database or self._session.database
        scripted = agent_procedure(name.object, name.schema, where)
        if scripted is not None:
            require_agent_procedure(self._session, scripted.name)
            return scripted
        asking = asking_procedure(name.object, name.schema, where)
        if asking is not None:
            if (name.schema or "dbo").lower() == "dbo":
                require_agent_procedure(self._session, name.object)
            return PythonProcedure(name.object.lower(), partial(asking, self._session))
        scripted = scripted_procedure(name.object, name.schema)
        if scripted is not None:
            return replace(scripted, database=name.database)
        if name.object.startswith("#"):
            temporary = self.sql.temp_module(name.object, frame)
            return None if temporary is None else self._stored(temporary[1], None)
        database = name.database or self._session.database
        objects = self._session.find_objects(database) if name.database else self.objects(database)
        if objects is None:
            return None
        schema = name.schema or self._session.rights.user(database).default_schema or "dbo"
        module = objects.module(schema, name.object)
        if module is None and name.schema is None:
            module = objects.module("dbo", name.object)
        if module is not None and module.kind == "FN":
            return self._functions.as_procedure(name, frame)
        if module is None or module.kind != "P":
            return None
        self._session.rights.require("EXECUTE", database, module.schema, module.name)
        return self._stored(module, database if database.lower() != self._session.database.lower() else None)

    def _elsewhere(
        self,
        database: str,
        run: Callable[[Frame, Sequence[Argument]], Replies],
        frame: Frame,
        arguments: Sequence[Argument],
    ) -> Replies:
        """DB.sys.sp_...: of that database."""
        with self._session.elsewhere(database):
            return (yield from run(frame, arguments))

    @staticmethod
    def _stored(module: ModuleInfo, database: str | None) -> StoredProcedure:
        definition = _procedure(module.text, module.quoted_identifier)
        return StoredProcedure(
            module.name,
            definition.parameters,
            definition.body,
            module.object_id,
            module.text,
            module.quoted_identifier,
            database,
        )

    def enter(self, frame: Frame) -> None:
        """The current database is the caller's again when the frame ends."""
        frame.storage["caller_database"] = self._session.database
        frame.storage["impersonations"] = self._session.impersonation.depth
        if frame.database is not None:
            self._session.move(frame.database)
        if frame.procedure_id == 0 and frame.kind is FrameKind.PROCEDURE and frame.database == "msdb":
            known = agent_procedure(frame.procedure, "dbo", "msdb")
            frame.storage[OF_JOBS] = known is not None and known.text is frame.text

    def leave(self, frame: Frame) -> Iterator[Reply]:
        self.sql.leave(frame)
        if frame.parent is not None:
            begin_reading(frame.parent.options)
        self._session.impersonation.back_to(int(str(frame.storage["impersonations"])))
        caller = frame.storage.get("caller_database")
        if isinstance(caller, str) and caller != self._session.database:
            self._session.move(caller)
        yield from ()

    # ------------------------------------------------------------------ transactions

    def transaction_count(self) -> int:
        return self.sql.transactions.count

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        yield from self.sql.transactions.rollback_all()

    # ------------------------------------------------------------------ server.evaluator.Host

    def database(self, frame: Frame) -> str:
        return self._session.database

    def committed(self, database: str) -> None:
        """Nothing waits for commits yet."""

    # ------------------------------------------------------------------ for the session

    def objects(self, database: str) -> DatabaseSchema:
        return self.sql.objects(database)

    def drop_temporary(self) -> None:
        self.sql.drop_temp_tables()

    def release(self, database: str) -> None:
        """Lets go of a database's file; a transaction that has it open is rolled back."""
        workspace = self._session.workspace
        wanted = database.rstrip().lower()
        if not any(file.name.lower() == wanted for file in workspace.attached()):
            return
        if workspace.in_transaction:
            for _reply in self.sql.transactions.rollback_all():
                continue
        workspace.detach(database)
        self.sql.reader.forget()

    def scope_identity(self, frame: Frame) -> Decimal | None:
        found = self.sql.scope_identity(frame)
        return self._session.batch_identity if found is None and not frame.in_proc else found

    def last_identity(self) -> Decimal | None:
        return self.sql.last_identity

    def temporary_object_id(self, name: str, frame: Frame) -> int | None:
        table = self.sql.temp_table(name, frame)
        if table is not None:
            return table.object_id
        module = self.sql.temp_module(name, frame)
        return None if module is None else module[1].object_id

    def identity_of(self, table: str, part: str) -> Decimal | None:
        written = split_name(table)
        database = written.database or self._session.database
        objects = self._session.find_objects(database)
        found = objects.table(written.schema or "dbo", written.object) if objects else None
        column = found.identity_column if found else None
        if found is None or column is None or column.identity is None:
            return None
        if part == "SEED":
            return Decimal(column.identity.seed)
        if part == "INCREMENT":
            return Decimal(column.identity.increment)
        current = self.sql.identity_current(self._session.workspace.schema_of(database), found)
        return None if current is None else Decimal(current)

    def row_count(self, database: str, table: TableInfo) -> int:
        workspace = self._session.workspace
        schema = workspace.global_temp() if table.name.startswith("##") else workspace.schema_of(database)
        quoted = table.sqlite_name.replace('"', '""')
        value = self._session.workspace.value(f'SELECT count(*) FROM {schema}."{quoted}"')
        return int(str(value))


_WORDS: Final = {"UpdatePredicate": "UPDATE()"}


@lru_cache(maxsize=256)
def _procedure(text: str, quoted_identifier: bool) -> ast.CreateProcedure:
    statement = parse(text, quoted_identifier=quoted_identifier).statements[0]
    if not isinstance(statement, ast.CreateProcedure):
        raise TypeError("a stored procedure's text holds another statement")
    return statement
