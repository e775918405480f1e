"""What scalar expressions see from inside a frame."""

from __future__ import annotations

from typing import Protocol

from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionContext, Functions
from tdsproxy.tsql.scalar import TypedValue, undeclared
from tdsproxy.tsql.state import Frame


class Surroundings(Protocol):
    """The part of the Evaluator that expressions need."""

    @property
    def functions(self) -> Functions: ...

    def context(self, frame: Frame) -> FunctionContext: ...

    def global_variable(self, name: str, frame: Frame) -> TypedValue: ...

    def transaction_count(self) -> int: ...


def own_global(name: str, frame: Frame) -> TypedValue | None:
    """The @@variables that the interpreter keeps; None for all others."""
    session = frame.session
    match name.upper():
        case "@@ERROR":
            return TypedValue(session.error, t.INT)
        case "@@ROWCOUNT":
            return TypedValue(session.rowcount, t.INT)
        case "@@FETCH_STATUS":
            return TypedValue(session.fetch_status, t.INT)
        case "@@CURSOR_ROWS":
            return TypedValue(session.cursor_rows, t.INT)
        case "@@NESTLEVEL":
            return TypedValue(frame.nest_level, t.INT)
        case "@@PROCID":
            return TypedValue(frame.procedure_id, t.INT)
        case "@@DATEFIRST":
            return TypedValue(frame.options.date_first, t.TINYINT)
        case _:
            return None


class FrameEnvironment:
    """``scalar.Environment`` over a frame and an evaluator."""

    __slots__ = ("_evaluator", "frame")

    def __init__(self, evaluator: Surroundings, frame: Frame) -> None:
        self._evaluator = evaluator
        self.frame = frame

    @property
    def functions(self) -> Functions:
        return self._evaluator.functions

    @property
    def context(self) -> FunctionContext:
        return self._evaluator.context(self.frame)

    def variable(self, name: str) -> TypedValue:
        found = self.frame.get(name)
        if found is None:
            raise undeclared(name)
        return found

    def global_variable(self, name: str) -> TypedValue:
        found = own_global(name, self.frame)
        if found is not None:
            return found
        if name.upper() == "@@TRANCOUNT":
            return TypedValue(self._evaluator.transaction_count(), t.INT)
        return self._evaluator.global_variable(name.upper(), self.frame)
