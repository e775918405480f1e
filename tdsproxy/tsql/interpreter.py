"""Runs a parsed batch: control flow, variables, errors, procedures; everything else asks an Evaluator.

The tokens that each statement ends with, and which errors end what, follow captures of SQL Server 2022 and
2025: IF and WHILE end each test with COND, a variable assignment counts one row, TRY, END TRY and END CATCH
have tokens of their own, RETURN of a value looks like a SELECT of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from tdsproxy.tsql import ast, binding, cursor_statements, cursors, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calling import Calls
from tdsproxy.tsql.conversions import convert, implicit_ok
from tdsproxy.tsql.environment import FrameEnvironment
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Argument, Evaluator, Procedure, PythonProcedure, StoredProcedure
from tdsproxy.tsql.failures import clash, not_implicit
from tdsproxy.tsql.functions.registry import CaughtError
from tdsproxy.tsql.raising import RAISERROR, Raised, Thrown, raiserror, throw
from tdsproxy.tsql.replies import Column, Command, Done, DoneKind, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import NeedsQuery, TypedValue, evaluate, test
from tdsproxy.tsql.severity import Reach, reach
from tdsproxy.tsql.signals import (
    BatchEnded,
    BreakLoop,
    Cancelled,
    Caught,
    ContinueLoop,
    Jump,
    Returned,
    ScopeEnded,
)
from tdsproxy.tsql.state import (
    Frame,
    FrameKind,
    Options,
    SessionState,
    TableVariable,
    VariableCell,
)
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.waiting import sleep, wait_seconds

__all__ = [
    "Argument",
    "Cancelled",
    "Evaluator",
    "Frame",
    "FrameKind",
    "Interpreter",
    "Options",
    "Procedure",
    "PythonProcedure",
    "SessionState",
    "StoredProcedure",
    "VariableCell",
]

CONDITION: Final = 192
RETURN: Final = 219
PRINT: Final = 247
BEGIN_TRY: Final = 349
END_TRY: Final = 350
LEFT_TRY: Final = 243
"""What a request that is cancelled within TRY says (captured)."""
END_CATCH: Final = 351
SET_ON: Final = 185
SET_OFF: Final = 186
TERMINATED: Final = 3621
"""The message "The statement has been terminated.", which does not come when the batch ends."""

_OWN_OPTIONS: Final = frozenset({"NOCOUNT", "XACT_ABORT"})
_COMMANDS: Final[dict[type[ast.Statement], int]] = {
    ast.QueryStatement: Command.SELECT,
    ast.Insert: Command.INSERT,
    ast.Update: Command.UPDATE,
    ast.Delete: Command.DELETE,
    ast.Merge: Command.MERGE,
    ast.CreateTable: Command.CREATE_TABLE,
    ast.AlterTable: Command.ALTER_TABLE,
    ast.CreateIndex: Command.CREATE_INDEX,
    ast.DropIndex: Command.DROP_INDEX,
    ast.CreateView: Command.CREATE_VIEW,
    ast.CreateProcedure: 222,
    ast.CreateDatabase: Command.CREATE_DATABASE,
    ast.AlterDatabase: Command.ALTER_DATABASE,
    ast.DropDatabase: Command.DROP_DATABASE,
    ast.SetVariable: Command.SELECT,
    ast.Declare: Command.SELECT,
    ast.Use: Command.PARSE_ERROR,
    ast.Raiserror: RAISERROR,
    ast.Throw: RAISERROR,
    ast.Print: PRINT,
    ast.If: CONDITION,
    ast.While: CONDITION,
}
_DROPS: Final = {"TABLE": Command.DROP_TABLE, "VIEW": Command.DROP_VIEW, "PROCEDURE": 223}
_RESTORES: Final = {
    "HEADERONLY": Command.RESTORE_HEADERONLY,
    "FILELISTONLY": Command.RESTORE_FILELISTONLY,
    "VERIFYONLY": Command.RESTORE_VERIFYONLY,
}
_COUNTED: Final = frozenset({Command.SELECT, Command.INSERT, Command.UPDATE, Command.DELETE})


def command_of(statement: ast.Statement) -> int:
    """The CurCmd of a statement, for the token that ends it when it fails."""
    if isinstance(statement, ast.Backup):
        return Command.BACKUP_LOG if statement.kind == "LOG" else Command.BACKUP_DATABASE
    if isinstance(statement, ast.Restore):
        return _RESTORES.get(statement.kind, Command.RESTORE_DATABASE)
    if isinstance(statement, ast.DropObject):
        return _DROPS.get(statement.kind, Command.NONE)
    if isinstance(statement, ast.Transaction):
        words = {"BEGIN": Command.BEGIN_TRANSACTION, "COMMIT": Command.COMMIT}
        return words.get(statement.action, Command.ROLLBACK)
    return _COMMANDS.get(type(statement), Command.NONE)


class Interpreter:
    """Runs batches over ``evaluator``. ``cancelled`` is asked between statements and while waiting; when it
    says so, the run ends with ``Cancelled``. ``pause`` waits seconds for WAITFOR, asking ``cancelled``."""

    def __init__(
        self,
        evaluator: Evaluator,
        cancelled: Callable[[], bool] = lambda: False,
        pause: Callable[[float, Callable[[], bool]], None] = sleep,
    ) -> None:
        self.evaluator = evaluator
        self.cancelled = cancelled
        self._pause = pause
        self.calls = Calls(self)

    # ----------------------------------------------------------------- entrances

    def run(self, batch: ast.Batch, frame: Frame, *, checked: bool = False) -> Iterator[Reply]:
        """Run a client's batch in ``frame``, yielding every reply. T-SQL errors become messages; raises only
        Cancelled. ``checked``: ``binding.check`` has found nothing wrong with it."""
        try:
            if not checked:
                binding.check(batch.statements, frame.variables)
        except SyntaxError_ as error:
            yield from self.report(error, frame, None)
            yield Done(Command.PARSE_ERROR, error=True)
            return
        try:
            yield from self.declare_tables_within(batch.statements, frame)
            yield from self.statements(batch.statements, frame)
        except Returned:
            pass
        except (ScopeEnded, BatchEnded):
            yield Done(Command.PARSE_ERROR, error=True)
        yield from self._end_of_batch(frame)

    def rpc(self, name: ast.Name | Procedure, arguments: Sequence[Argument], frame: Frame) -> Iterator[Reply]:
        """Run a procedure as a client's RPC: its replies, ReturnStatus, a ReturnValue for each output
        argument, and Done of kind PROC. ``frame`` is the session's outermost (kind BATCH)."""
        yield from self.calls.rpc(name, arguments, frame)
        yield from self._end_of_batch(frame)

    def _end_of_batch(self, frame: Frame) -> Iterator[Reply]:
        if frame.session.doomed:
            if self.evaluator.transaction_count():
                text = (
                    "Uncommittable transaction is detected at the end of the batch. The "
                    "transaction is rolled back."
                )
                yield Message(3998, 16, 1, text)
                frame.session.error = 3998
                yield from self.evaluator.rollback(frame)
                yield Done(Command.PARSE_ERROR, error=True)
            frame.session.doomed = False
        frame.session.caught.clear()
        frame.session.caught_messages.clear()

    # ----------------------------------------------------------------- lists of statements

    def statements(
        self, statements: Sequence[ast.Statement], frame: Frame, target: str | None = None
    ) -> Iterator[Reply]:
        """Run ``statements`` in order; from the label ``target`` on when one is given."""
        index = 0 if target is None else _place(statements, target)
        while index is not None and index < len(statements):
            try:
                yield from self._statement(statements[index], frame, target)
                target = None
                index += 1
            except Jump as jump:
                index = _place(statements, jump.label)
                if index is None:
                    raise
                target = jump.label

    def _statement(self, statement: ast.Statement, frame: Frame, target: str | None) -> Iterator[Reply]:
        if self.cancelled():
            raise Cancelled
        match statement:
            case ast.Block():
                yield from self.statements(statement.statements, frame, target)
            case ast.If():
                yield from self._if(statement, frame, target)
            case ast.While():
                yield from self._while(statement, frame, target)
            case ast.TryCatch():
                yield from self._try(statement, frame)
            case ast.Goto():
                raise Jump(statement.label)
            case ast.Break():
                raise BreakLoop
            case ast.Continue():
                raise ContinueLoop
            case ast.Label():
                pass
            case _:
                yield from self._guarded(statement, frame)

    def _guarded(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        """Run a statement that is no control flow; turn its SqlError into what it ends."""
        began = False
        try:
            self.evaluator.statement_begins(frame)
            for reply in self._leaf(statement, frame):
                began = began or isinstance(reply, ResultSet)
                yield reply
            self._transaction_ended(frame)
        except SqlError as error:
            yield from self.failed(error, statement, frame, began=began)

    def _transaction_ended(self, frame: Frame) -> None:
        if frame.session.doomed and not self.evaluator.transaction_count():
            frame.session.doomed = False

    # ----------------------------------------------------------------- control flow

    def _if(self, statement: ast.If, frame: Frame, target: str | None) -> Iterator[Reply]:
        if target is not None:
            chosen: ast.Statement | None = statement.then
            if not binding.contains_label(statement.then, target):
                chosen = statement.otherwise
        else:
            truth = yield from self._condition(statement.condition, statement, frame)
            if truth is None:
                return
            chosen = statement.then if truth else statement.otherwise
        if chosen is not None:
            yield from self._statement(chosen, frame, target)

    def _condition(
        self, condition: ast.Predicate, statement: ast.Statement, frame: Frame
    ) -> Generator[Reply, None, bool | None]:
        """The truth of a condition (UNKNOWN is False), with its token; None when evaluating it failed."""
        try:
            self.evaluator.statement_begins(frame)
            truth = bool(self.predicate(condition, frame))
        except SqlError as error:
            yield from self.failed(error, statement, frame)
            return None
        self.succeeded(frame, 0)
        yield from self.done(Done(CONDITION), frame)
        return truth

    def _while(self, statement: ast.While, frame: Frame, target: str | None) -> Iterator[Reply]:
        while True:
            if target is None:
                truth = yield from self._condition(statement.condition, statement, frame)
                if not truth:
                    return
            try:
                yield from self._statement(statement.body, frame, target)
            except ContinueLoop:
                pass
            except BreakLoop:
                return
            target = None
            if self.cancelled():
                raise Cancelled

    def _try(self, statement: ast.TryCatch, frame: Frame) -> Iterator[Reply]:
        yield from self.done(Done(BEGIN_TRY), frame)
        frame.try_depth += 1
        caught: Caught | None = None
        try:
            yield from self.statements(statement.try_, frame)
        except Caught as signal:
            if signal.frame is frame and not signal.own_frame_too:
                raise
            caught = signal
        except Cancelled:
            yield from self.done(Done(LEFT_TRY), frame)
            raise
        finally:
            frame.try_depth -= 1
        if caught is None:
            yield from self.done(Done(END_CATCH), frame)
            return
        yield from self._catch(statement, caught, frame)

    def _catch(self, statement: ast.TryCatch, caught: Caught, frame: Frame) -> Iterator[Reply]:
        session, last = frame.session, caught.last
        if self.evaluator.transaction_count() and (caught.dooms or frame.options.xact_abort):
            session.doomed = True
        session.error = last.number
        session.caught.append(
            CaughtError(last.number, last.severity, last.state, last.text, last.line, last.procedure or None)
        )
        session.caught_messages.append(caught.messages)
        depth = len(session.caught)
        yield from self.done(Done(END_TRY), frame)
        try:
            yield from self.statements(statement.catch, frame)
        finally:
            del session.caught[depth - 1 :]
            del session.caught_messages[depth - 1 :]
        yield from self.done(Done(END_CATCH), frame)

    # ----------------------------------------------------------------- leaves

    def _leaf(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        match statement:
            case ast.Declare():
                yield from self._declare(statement, frame)
            case ast.SetVariable():
                if not self._assign_cursor(statement, frame):
                    self._assign(statement, frame)
                yield from self.counted(1, frame)
            case ast.Print():
                yield from self._print(statement, frame)
            case ast.Raiserror():
                yield from raiserror(self, statement, frame)
            case ast.Throw():
                yield from throw(self, statement, frame)
            case ast.Return():
                yield from self._return(statement, frame)
            case ast.WaitFor():
                yield from self._wait(statement, frame)
            case ast.Execute():
                yield from self.calls.execute(statement, frame)
            case ast.ExecuteString():
                yield from self.calls.execute_string(statement, frame)
            case ast.Insert(execute=ast.Execute() | ast.ExecuteString()):
                yield from self._insert_execute(statement, frame)
            case ast.SetOption() if _OWN_OPTIONS.issuperset(statement.names):
                yield from self._set_option(statement, frame)
            case ast.DeclareCursor():
                cursors.declare(statement, frame)
                yield from self.plain(frame)
            case ast.CursorAction():
                yield from cursor_statements.action(self, statement, frame)
            case ast.Fetch():
                yield from cursor_statements.fetch(self, statement, frame)
            case _:
                yield from self._evaluated(self.evaluator.execute(statement, frame), frame)

    def _evaluated(self, replies: Iterator[Reply], frame: Frame) -> Iterator[Reply]:
        """An evaluator's replies: its Done tokens get their kind, @@ROWCOUNT and @@ERROR their values.
        Errors that come as replies (a native statement's) go to a CATCH block as those that are raised."""
        rows = False
        errors: list[Message] = []
        with _closing(replies):
            for reply in replies:
                if isinstance(reply, Done) and reply.kind is DoneKind.IN_PROC:
                    yield reply  # of a trigger that the statement fired
                elif isinstance(reply, Done):
                    if errors:
                        raise SqlError(*errors)
                    if reply.error:
                        yield from self.done(reply, frame, rows=rows)
                        continue
                    self.succeeded(frame, reply.count or 0)
                    yield from self.done(reply, frame, rows=rows)
                    rows = False
                else:
                    if isinstance(reply, ResultSet):
                        rows = True
                    elif isinstance(reply, Message) and reply.is_error:
                        if frame.catches():
                            errors.append(reply)
                            continue
                        self._remember(reply, frame)
                    yield reply
        if errors:
            raise SqlError(*errors)

    def plain(self, frame: Frame) -> Iterator[Reply]:
        self.succeeded(frame, 0)
        yield from self.done(Done(Command.NONE), frame)

    def counted(self, count: int, frame: Frame) -> Iterator[Reply]:
        self.succeeded(frame, count)
        yield from self.done(Done(Command.SELECT, count), frame)

    def declare_tables_within(self, statements: Sequence[ast.Statement], frame: Frame) -> Iterator[Reply]:
        """Make the table variables that control flow might skip: they are there from the frame's beginning
        (captured). One that can't be made yet is left to its DECLARE."""
        for statement in binding.inner_tables(statements):
            try:
                yield from self._declare_tables(statement, frame)
            except SqlError:
                for item in statement.items:
                    frame.tables.pop(item.name.lower(), None)

    def _declare_tables(self, statement: ast.Declare, frame: Frame) -> Iterator[Reply]:
        tables = [item for item in statement.items if item.type is None]
        if any(item.name.lower() not in frame.tables for item in tables):
            for item in tables:
                frame.tables[item.name.lower()] = TableVariable(item.name, item.table, item.table_constraints)
            yield from self._quiet(self.evaluator.execute(statement, frame))

    def _declare(self, statement: ast.Declare, frame: Frame) -> Iterator[Reply]:
        yield from self._declare_tables(statement, frame)
        for item in statement.items:
            if item.type is None:
                continue
            if item.type.type is None and self._declared_table(item, frame):
                continue
            if item.name.lower() not in frame.variables:
                frame.declare(item.name, self.evaluator.resolve_type(item.type, frame))
            if item.value is not None:
                self.store(item.name, self.scalar(item.value, frame), frame)
                yield from self.counted(1, frame)

    def _declared_table(self, item: ast.Declaration, frame: Frame) -> bool:
        """Whether the variable is one of a user-defined table type."""
        if item.name.lower() in frame.tables:
            return True
        if item.type is None:
            return False
        table = self.evaluator.table_type(item.name, item.type, frame)
        if table is not None:
            frame.tables[item.name.lower()] = table
        return table is not None

    def _quiet(self, replies: Iterator[Reply]) -> Iterator[Reply]:
        for reply in replies:
            if not isinstance(reply, Done):
                yield reply

    @staticmethod
    def _assign_cursor(statement: ast.SetVariable, frame: Frame) -> bool:
        """Whether the variable is a cursor's; then it means another one's cursor now."""
        cell = frame.variables.get(statement.name.lower())
        if cell is None or cell.type.name != "cursor":
            return False
        value = statement.value
        if isinstance(value, ast.Variable):
            cursors.assign(statement.name, value.name, frame)
        elif isinstance(value, ast.ColumnRef):
            cursors.assign(statement.name, value.parts[-1], frame)
        else:
            return False
        return True

    def _assign(self, statement: ast.SetVariable, frame: Frame) -> None:
        made = self.scalar(statement.value, frame)
        if statement.op != "=":
            old = self.environment(frame).variable(statement.name)
            op = statement.op.rstrip("=")
            new_type = operators.operand_type(statement.value, made.type, old.type)
            type_ = operators.binary_type(op, old.type, new_type)
            made = TypedValue(operators.binary(op, old.value, old.type, made.value, new_type), type_)
        self.store(statement.name, made, frame)

    def _print(self, statement: ast.Print, frame: Frame) -> Iterator[Reply]:
        made = self.scalar(statement.value, frame)
        wide = made.type.is_unicode
        text = convert(made.value, made.type, t.nvarchar(4000) if wide else t.varchar(8000))
        self.succeeded(frame, 0)
        yield Message(0, 0, 1, "" if text is None else str(text), statement.line, frame.procedure)
        yield from self.done(Done(PRINT), frame)

    def _return(self, statement: ast.Return, frame: Frame) -> Iterator[Reply]:
        if statement.value is None:
            frame.session.rowcount = 0
            yield from self.done(Done(RETURN), frame)
            raise Returned
        made = self.scalar(statement.value, frame)
        if frame.kind is FrameKind.FUNCTION:
            frame.storage["returned"] = made
            raise Returned
        status = convert(made.value, made.type, t.INT)
        if status is None:
            text = (
                f"The '{frame.procedure}' procedure attempted to return a status of NULL, which is "
                "not allowed. "
                "A status of 0 will be returned instead."
            )
            yield Message(282, 0, 1, text, statement.line, frame.procedure)
        frame.return_status = status if isinstance(status, int) else 0
        yield from self.counted(1, frame)
        raise Returned

    def _wait(self, statement: ast.WaitFor, frame: Frame) -> Iterator[Reply]:
        made = self.scalar(statement.value, frame)
        now = self.evaluator.context(frame).now()
        seconds = wait_seconds(statement.kind, made, now)
        self._pause(seconds, self.cancelled)
        if self.cancelled():
            raise Cancelled
        yield from self.plain(frame)

    def _set_option(self, statement: ast.SetOption, frame: Frame) -> Iterator[Reply]:
        on = statement.value.upper() == "ON"
        self.succeeded(frame, 0)
        for name in statement.names:
            if name == "NOCOUNT":
                frame.options.nocount = on
            else:
                frame.options.xact_abort = on
        yield from self.done(Done(SET_ON if on else SET_OFF), frame)

    def _insert_execute(self, statement: ast.Insert, frame: Frame) -> Iterator[Reply]:
        if frame.session.inserting:
            raise SqlError.of(8164, 16, 1, "An INSERT EXEC statement cannot be nested.")
        results: list[tuple[tuple[Column, ...], list[tuple[object, ...]]]] = []
        frame.session.inserting = True
        try:
            source = statement.execute
            if isinstance(source, ast.Execute):
                replies = self.calls.execute(source, frame)
            elif isinstance(source, ast.ExecuteString):
                replies = self.calls.execute_string(source, frame)
            else:
                replies = iter(())
            for reply in replies:
                if isinstance(reply, ResultSet):
                    results.append((reply.columns, []))
                elif isinstance(reply, Rows):
                    results[-1][1].extend(reply.rows)
                elif isinstance(reply, Message):
                    yield reply
        finally:
            frame.session.inserting = False
        yield from self._evaluated(self.evaluator.insert_rows(statement, results, frame), frame)  # type: ignore[arg-type]

    # ----------------------------------------------------------------- values

    def environment(self, frame: Frame) -> FrameEnvironment:
        return FrameEnvironment(self.evaluator, frame)

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        """The value of an expression; the evaluator's where it needs a query. Raises SqlError."""
        try:
            return evaluate(expr, self.environment(frame))
        except NeedsQuery:
            return self.evaluator.scalar(expr, frame)

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        try:
            return test(predicate, self.environment(frame))
        except NeedsQuery:
            return self.evaluator.predicate(predicate, frame)

    def store(self, name: str, made: TypedValue, frame: Frame) -> None:
        """Assign to a variable: converted to its type, cut to its length. Raises SqlError 137, 206, 257."""
        cell = frame.variables.get(name.lower())
        if cell is None:
            raise SqlError.of(137, 15, 1, f'Must declare the scalar variable "{name}".')
        cell.value = converted(made, cell.type).value

    # ----------------------------------------------------------------- ends of statements

    def done(self, done: Done, frame: Frame, *, rows: bool = False) -> Iterator[Reply]:
        """A statement's token as the frame sends it: its kind, and what SET NOCOUNT leaves of it."""
        if frame.in_proc and done.command == Command.PARSE_ERROR and not done.error:
            return  # only the end of a batch: CREATE SCHEMA has no token of its own (captured)
        kind = DoneKind.IN_PROC if frame.in_proc else DoneKind.BATCH
        counted = done.counted
        if frame.options.nocount:
            if frame.in_proc and not rows and not done.error:
                return
            counted = False
        yield Done(done.command, done.count, done.error, kind, counted)

    def succeeded(self, frame: Frame, rowcount: int) -> None:
        frame.session.error = 0
        frame.session.rowcount = rowcount

    def failed(
        self, error: SqlError, statement: ast.Statement, frame: Frame, *, began: bool = False
    ) -> Iterator[Reply]:
        """A statement's error: to a CATCH block, or to the client and on (or out) as far as it reaches."""
        raised = isinstance(error, Raised)
        extent = Reach.BATCH if isinstance(error, Thrown) else reach(error)
        messages = self.located(error, statement, frame)
        self.log(error, messages, statement, frame)
        dooms = extent is Reach.BATCH and not isinstance(error, Thrown)
        if not raised and frame.options.xact_abort and extent is Reach.STATEMENT:
            extent, dooms = Reach.BATCH, True
            messages = tuple(m for m in messages if m.number != TERMINATED)
        command = command_of(statement)
        compiled = extent is Reach.FRAME
        if max(m.severity for m in messages) < 20 and frame.catches(above=compiled):
            self._note(messages, frame)
            if not compiled and (began or command or isinstance(statement, ast.WaitFor)):
                count = 0 if command in _COUNTED else None
                yield from self.done(Done(command, count), frame, rows=began)
            raise Caught(messages, frame, own_frame_too=not compiled, dooms=dooms)
        yield from messages
        self._note(messages, frame)
        if extent is Reach.STATEMENT:
            yield from self.done(Done(command, error=True), frame, rows=began)
            return
        if extent is Reach.FRAME:
            raise ScopeEnded
        if self.evaluator.transaction_count():
            yield from self.evaluator.rollback(frame)
        raise BatchEnded

    def report(self, error: SqlError, frame: Frame, statement: ast.Statement | None) -> Iterator[Reply]:
        """Send an error's messages and set @@ERROR, without a token."""
        messages = self.located(error, statement, frame)
        self.log(error, messages, statement, frame)
        yield from messages
        self._note(messages, frame)

    def log(
        self, error: SqlError, messages: Sequence[Message], statement: ast.Statement | None, frame: Frame
    ) -> None:
        """What of a new error belongs into the event log; THROW never writes there."""
        if not isinstance(error, Thrown):
            demanded = isinstance(error, Raised) and error.logged
            for message in messages:
                self.evaluator.log(message, statement, frame, demanded=demanded)

    def _note(self, messages: Sequence[Message], frame: Frame) -> None:
        for message in messages:
            if message.is_error:
                self._remember(message, frame)
        frame.session.rowcount = 0

    def _remember(self, message: Message, frame: Frame) -> None:
        frame.session.error = message.number
        frame.worst_severity = max(frame.worst_severity, message.severity)

    def located(self, error: SqlError, statement: ast.Statement | None, frame: Frame) -> tuple[Message, ...]:
        """The error's messages with the statement's line and the procedure's name."""
        if statement is None or isinstance(error, Thrown):
            return error.messages
        return tuple(
            replace(
                message,
                line=max(message.line, statement.line) if message.line else 0,
                procedure=message.procedure or frame.procedure,
            )
            for message in error.messages
        )


def converted(made: TypedValue, target: SqlType) -> TypedValue:
    """A value for a variable or parameter. Raises SqlError 206, 257 and conversion errors."""
    if made.type.name == "null":
        return TypedValue(None, target)
    if made.type != target and not implicit_ok(made.type, target):
        if target.name in ("table", "cursor") or made.type.name in ("table", "cursor"):
            raise clash(made.type, target)
        raise not_implicit(made.type, target)
    return TypedValue(convert(made.value, made.type, target), target)


@contextmanager
def _closing(replies: Iterator[Reply]) -> Iterator[None]:
    """An evaluator's replies are left at once when an error ends them early: they may hold locks."""
    try:
        yield
    finally:
        close = getattr(replies, "close", None)
        if close is not None:
            close()


def _place(statements: Sequence[ast.Statement], label: str) -> int | None:
    for index, statement in enumerate(statements):
        if binding.contains_label(statement, label):
            return index
    return None
