"""RAISERROR and THROW."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.message_format import format_message
from tdsproxy.tsql.replies import Done, Message, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.tsql.interpreter import Interpreter

RAISERROR = 246
"""The CurCmd of RAISERROR and THROW, from captures."""


class Raised(SqlError):
    """From RAISERROR: XACT_ABORT does not count. ``logged``: WITH LOG."""

    def __init__(self, message: Message, *, logged: bool = False) -> None:
        super().__init__(message)
        self.logged = logged


class Thrown(SqlError):
    """From THROW: ends the batch, keeps its own line."""


def _no_message(number: int, severity: int, state: int) -> SqlError:
    if number < 13000 or number == 50000:
        text = (
            f"Error number {number} is invalid. The number must be from 13000 through 2147483647 and "
            "it cannot "
            "be 50000."
        )
        return SqlError.of(2732, 16, 1, text)
    text = (
        f"Error {number}, severity {severity}, state {state} was raised, but no message with that "
        "error number was "
        "found in sys.messages. If error is larger than 50000, make sure the user-defined message is "
        "added using "
        "sp_addmessage."
    )
    return SqlError.of(18054, 16, 1, text)


def raiserror(interpreter: Interpreter, statement: ast.Raiserror, frame: Frame) -> Iterator[Reply]:
    severity = _int(interpreter, statement.severity, frame)
    state = _int(interpreter, statement.state, frame)
    state = 1 if state < 0 else state % 256
    first = interpreter.scalar(statement.message, frame)
    options = {option.upper() for option in statement.options}
    number = 50000
    if isinstance(first.value, int) and not first.type.is_character:
        number = first.value
        stored = interpreter.evaluator.stored_message(number, frame)
        if stored is None:
            raise _no_message(number, severity, state)
        template = stored.text
        severity = stored.severity if severity < 0 else severity
    else:
        severity = max(severity, 0)
        template = str(convert(first.value, first.type, t.nvarchar(2048)) or "")
    logged = "LOG" in options
    if severity > 18 and not (logged and interpreter.evaluator.may_log(frame)):
        text = (
            "Error severity levels greater than 18 can only be specified by members of the "
            "sysadmin role, "
            "using the WITH LOG option."
        )
        raise SqlError.of(2754, 16, 1, text)
    if logged and not interpreter.evaluator.may_log(frame):
        raise SqlError.of(
            2778, 16, 1, "Only System Administrator can specify WITH LOG option for RAISERROR command."
        )
    text = format_message(template, [interpreter.scalar(arg, frame) for arg in statement.args])
    if severity > 10:
        message = Message(number, severity, state, text, statement.line, frame.procedure)
        raise Raised(message, logged=logged)
    frame.session.rowcount = 0
    frame.session.error = number if "SETERROR" in options else 0
    shown = 0 if severity == 10 else severity
    message = Message(number, severity, state, text, statement.line, frame.procedure)
    interpreter.evaluator.log(message, statement, frame, demanded=logged)
    yield replace(message, severity=shown)
    yield from interpreter.done(Done(RAISERROR), frame)


def throw(interpreter: Interpreter, statement: ast.Throw, frame: Frame) -> Iterator[Reply]:
    if statement.number is None or statement.message is None or statement.state is None:
        caught = frame.session.caught_messages
        if not caught:
            raise SqlError.of(
                10704, 15, 1, "To rethrow an error, a THROW statement must be used inside a CATCH block."
            )
        raise Thrown(*caught[-1])
    number = _int(interpreter, statement.number, frame)
    made = interpreter.scalar(statement.message, frame)
    text = convert(made.value, made.type, t.nvarchar(2048))
    state = _int(interpreter, statement.state, frame) % 256
    if number < 50000:
        raise SqlError.of(
            35100,
            16,
            10,
            f"Error number {number} in the THROW statement is outside the valid range. Specify an "
            "error number "
            "in the valid range of 50000 to 2147483647.",
        )
    message = Message(number, 16, state, str(text or ""), statement.line, frame.procedure)
    yield from ()
    raise Thrown(message)


def _int(interpreter: Interpreter, expr: ast.Expr, frame: Frame) -> int:
    made = interpreter.scalar(expr, frame)
    number = convert(made.value, made.type, t.INT)
    return number if isinstance(number, int) else 0
