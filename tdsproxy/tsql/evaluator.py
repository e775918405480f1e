"""What the interpreter asks of a database engine, and what it hands to one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.tsql import ast
from tdsproxy.tsql.functions.registry import FunctionContext, Functions
from tdsproxy.tsql.replies import Column, Message, Reply
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import CursorRows, Frame, TableVariable
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class StoredProcedure:
    """A T-SQL procedure of the catalog, parsed. ``name`` as messages show it (without schema); ``database``
    is where it lives, None for the current one."""

    name: str
    parameters: tuple[ast.Parameter, ...]
    body: tuple[ast.Statement, ...]
    object_id: int = 0
    text: str = ""
    quoted_identifier: bool = True
    database: str | None = None


@dataclass(slots=True)
class Argument:
    """One argument of a call. ``value`` None (not a TypedValue) is DEFAULT. ``set`` writes an OUTPUT argument
    back to the caller; None when OUTPUT was not asked for. ``type`` is the caller's type of an output."""

    name: str | None
    value: TypedValue | None
    set: Callable[[TypedValue], None] | None = None
    table: tuple[str, Frame] | None = None
    """A table variable and the frame that has it, for a parameter of a table type."""


@dataclass(frozen=True, slots=True)
class PythonProcedure:
    """A system procedure written in Python.

    ``run`` gets the calling frame and the arguments as given, and yields result sets, messages and a Done
    (of any kind: the interpreter sets it) for each of its statements; it returns the status, None for 0.
    SqlError ends the call with its messages and status 1. A scalar function called by EXEC returns its value.
    """

    name: str
    run: Callable[[Frame, Sequence[Argument]], Generator[Reply, None, int | TypedValue | None]]


Procedure = StoredProcedure | PythonProcedure
ResultRows = tuple[tuple[Column, ...], list[tuple[Value, ...]]]


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What sys.messages has: ``text`` with its parameters in printf's form."""

    severity: int
    text: str


class Evaluator(Protocol):
    """What the interpreter needs of a database engine (the embedded server, or an upstream)."""

    @property
    def functions(self) -> Functions: ...

    def context(self, frame: Frame) -> FunctionContext:
        """What functions may ask, as the frame sees it."""

    def statement_begins(self, frame: Frame) -> None:
        """Before each leaf statement and each condition: what GETDATE() and functions of the server's state
        say is constant within it, and within the functions that it calls, and anew in the next."""

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        """Run one leaf statement (SELECT also with assignment to the frame's variables, DML, DDL, USE,
        transactions, SET options, native statements) and yield its replies with its ``Done``.

        ``Done.count`` is @@ROWCOUNT after it (None leaves @@ROWCOUNT at 0); the interpreter sets ``kind`` and
        applies NOCOUNT. Raises SqlError when the statement fails: replies already yielded stand.
        """

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        """The rows of a cursor that is opened, with the keys by which WHERE CURRENT OF finds them."""

    def insert_rows(self, statement: ast.Insert, results: list[ResultRows], frame: Frame) -> Iterator[Reply]:
        """INSERT ... EXEC: the result sets that the EXEC gave, to be inserted. Raises SqlError 213 ..."""

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        """An expression that ``scalar.evaluate`` refuses (subqueries, user-defined functions)."""

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        """A predicate that ``scalar.test`` refuses (EXISTS, IN (SELECT ...))."""

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        """@@name (upper case), but for those that the interpreter keeps. Raises SqlError 137."""

    def procedure(self, name: ast.Name, frame: Frame) -> Procedure | None:
        """The procedure called ``name``; None when there is none (2812). sp_executesql is not asked for."""

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        """A declared type; for user-defined ones the base type. Raises SqlError 2715."""

    def table_type(self, variable: str, type_name: ast.TypeName, frame: Frame) -> TableVariable | None:
        """The table variable that ``variable`` of a user-defined table type is; None for any other type."""

    def share_table(self, variable: str, source: str, caller: Frame, inner: Frame) -> None:
        """Makes the parameter ``variable`` of ``inner`` the table variable ``source`` of ``caller``."""

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        """Parse dynamic SQL under the frame's options. Raises SyntaxError_."""

    def enter(self, frame: Frame) -> None:
        """A procedure's or string's frame begins; ``frame.database`` may name another current database.
        Raises SqlError 911."""

    def leave(self, frame: Frame) -> Iterator[Reply]:
        """A frame that was entered ends (also by an error): drop what it owned (#temp tables, table
        variables), go back to the caller's database."""

    def transaction_count(self) -> int:
        """@@TRANCOUNT."""

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        """Roll back everything (XACT_ABORT, batch-aborting errors in a transaction): environment changes."""

    def stored_message(self, number: int, frame: Frame) -> StoredMessage | None:
        """A message of sys.messages for RAISERROR(number, ...)."""

    def may_log(self, frame: Frame) -> bool:
        """Whether RAISERROR ... WITH LOG is allowed."""

    def log(self, message: Message, statement: ast.Statement | None, frame: Frame, *, demanded: bool) -> None:
        """A message that ``statement`` has raised, also for a CATCH block, goes into the event log when it is
        ``demanded`` (WITH LOG) or belongs there."""
