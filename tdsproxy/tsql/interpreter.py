"""Runs a parsed batch: control flow, variables, errors, procedures; everything else asks an Evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.tsql import ast
from tdsproxy.tsql.functions.registry import FunctionContext, Functions
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import Frame, FrameKind, Options, SessionState, VariableCell
from tdsproxy.tsql.types import SqlType

__all__ = [
    "Evaluator",
    "Frame",
    "FrameKind",
    "Interpreter",
    "Options",
    "PythonProcedure",
    "SessionState",
    "StoredProcedure",
    "VariableCell",
]


@dataclass(frozen=True, slots=True)
class StoredProcedure:
    """A T-SQL procedure of the catalog, parsed."""

    name: str
    parameters: tuple[ast.Parameter, ...]
    body: tuple[ast.Statement, ...]
    object_id: int = 0
    text: str = ""
    quoted_identifier: bool = True


@dataclass(slots=True)
class Argument:
    """One evaluated argument of an EXEC. ``value`` None (not a TypedValue) is DEFAULT. ``set`` writes an
    OUTPUT argument back to the caller's variable; None when OUTPUT was not written."""

    name: str | None
    value: TypedValue | None
    set: Callable[[TypedValue], None] | None = None


@dataclass(frozen=True, slots=True)
class PythonProcedure:
    """A system procedure written in Python. ``run`` gets the calling frame and the arguments in order,
    yields result sets, messages and (through the interpreter, unchanged but for ``kind``) Done replies of
    its statements, and returns the procedure's status; SqlError ends it as it would a statement."""

    name: str
    run: Callable[[Interpreter, Frame, tuple[Argument, ...]], Iterator[Reply]]


class Evaluator(Protocol):
    """What the interpreter needs of a database engine (the embedded server, or an upstream)."""

    @property
    def functions(self) -> Functions: ...

    def context(self, frame: Frame) -> FunctionContext:
        """What functions may ask, as the frame sees it."""

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        """Run one leaf statement (SELECT also with assignment to the frame's variables, DML, DDL, USE,
        transactions, SET options, native statements) and yield its replies with its ``Done``.

        ``Done.count`` is @@ROWCOUNT after it (None leaves @@ROWCOUNT at 0); the interpreter sets ``kind`` and
        applies NOCOUNT. Raises SqlError when the statement fails: replies already yielded stand.
        """

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        """An expression that ``scalar.evaluate`` refuses (subqueries)."""

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        """A predicate that ``scalar.test`` refuses (EXISTS, IN (SELECT ...))."""

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        """@@name (upper case), but for those that the interpreter keeps. Raises SqlError 137."""

    def procedure(self, name: ast.Name, frame: Frame) -> StoredProcedure | PythonProcedure | None:
        """The procedure called ``name``; None when there is none (2812)."""

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> SqlType:
        """A declared type; for user-defined ones the base type. Raises SqlError 2715."""

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        """Parse dynamic SQL under the frame's options. Raises SyntaxError_."""

    def enter(self, frame: Frame) -> None:
        """A procedure's or string's frame begins."""

    def leave(self, frame: Frame) -> None:
        """A frame ends (also by an error): drop what it owned (#temp tables, table variables)."""

    def transaction_count(self) -> int:
        """@@TRANCOUNT."""

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        """Roll back everything (XACT_ABORT, batch-aborting errors in a transaction): environment changes."""


class Interpreter:
    """Runs batches over ``evaluator``. ``cancelled`` is asked between statements and while waiting."""

    def __init__(self, evaluator: Evaluator, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.evaluator = evaluator
        self.cancelled = cancelled

    def run(self, batch: ast.Batch, frame: Frame) -> Iterator[Reply]:
        """Run ``batch`` in ``frame``, yielding every reply. Errors become messages; none is raised."""
        del batch, frame
        return iter(())
