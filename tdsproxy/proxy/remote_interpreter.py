"""The interpreter in front of another server: which statements are run here, and which are sent whole.

A procedure, a string or an INSERT ... EXEC without a native statement is the server's: it runs there as one
statement, in a scope of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdsproxy.proxy.plan import is_native_error
from tdsproxy.tsql import ast
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.gate import inner_statements, may_be_native, native_statements
from tdsproxy.tsql.interpreter import Interpreter
from tdsproxy.tsql.lexer import Kind, tokenize
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Command, Done, DoneKind, Reply, ReturnStatus
from tdsproxy.tsql.signals import Caught
from tdsproxy.tsql.state import Frame

_STRINGS = (Kind.STRING, Kind.NSTRING)


def is_programme(text: str, *, quoted_identifier: bool = True, values: Sequence[object] = ()) -> bool:
    """Whether the text has to be interpreted here: it holds a native statement, wherever it stands, or runs
    strings while one of its literals, or one of ``values``, may be one. Raises SyntaxError_ when a native
    statement can't be parsed."""
    try:
        batch = parse(text, quoted_identifier=quoted_identifier)
    except SyntaxError_ as error:
        if is_native_error(error, text, quoted_identifier=quoted_identifier):
            raise
        return False
    if native_statements(batch):
        return True
    if not any(_runs_strings(statement) for statement in batch.statements):
        return False
    tokens = tokenize(text, quoted_identifier=quoted_identifier)
    literals = [token.value for token in tokens if token.kind in _STRINGS]
    return any(_may_be_native(value) for value in (*literals, *values))


def _may_be_native(value: object) -> bool:
    return isinstance(value, str) and may_be_native(value.encode("utf-16-le", "surrogatepass"))


def _runs_strings(statement: ast.Statement) -> bool:
    match statement:
        case ast.ExecuteString():
            return statement.at is None
        case ast.Execute():
            name = statement.procedure
            return not isinstance(name, ast.Name) or name.object.lower() == "sp_executesql"
        case ast.Insert() if statement.execute is not None:
            return _runs_strings(statement.execute)
        case _:
            return any(_runs_strings(each) for each in inner_statements(statement))


class RemoteInterpreter(Interpreter):
    """For a ``RemoteEvaluator``."""

    def _leaf(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        match statement:
            case ast.Execute() | ast.ExecuteString() if not self._is_ours(statement, frame):
                yield from self._called(statement, frame)
            case ast.Insert(execute=ast.Execute() | ast.ExecuteString() as source) if not self._is_ours(
                source, frame
            ):
                yield from self._evaluated(self.evaluator.execute(statement, frame), frame)
            case ast.SetVariable(op="modify"):
                yield from self._evaluated(self.evaluator.execute(statement, frame), frame)
            case _:
                yield from super()._leaf(statement, frame)

    def _is_ours(self, statement: ast.Execute | ast.ExecuteString, frame: Frame) -> bool:
        """Whether a native statement is in what is executed, so that it has to be run step by step."""
        quoted = frame.options.quoted_identifier
        if isinstance(statement, ast.ExecuteString):
            if statement.at is not None:
                return False
            text = "".join(str(self.scalar(part, frame).value or "") for part in statement.parts)
            return _may_be_native(text) and self._is_programme(text, (), quoted=quoted)
        name = statement.procedure
        if not isinstance(name, ast.Name):
            called = frame.get(name.name)
            name = split_name(str("" if called is None else called.value or ""), statement.line)
        if name.object.lower() != "sp_executesql" or name.server is not None:
            return False
        values = [
            self.scalar(argument.value, frame).value
            for argument in statement.arguments
            if argument.value is not None and not self._is_table(argument.value, frame)
        ]
        if not values or not isinstance(values[0], str) or not any(map(_may_be_native, values)):
            return False
        return self._is_programme(values[0], values[1:], quoted=quoted)

    @staticmethod
    def _is_table(value: ast.Expr, frame: Frame) -> bool:
        return isinstance(value, ast.Variable) and value.name.lower() in frame.tables

    @staticmethod
    def _is_programme(text: str, values: Sequence[object], *, quoted: bool) -> bool:
        try:
            return is_programme(text, quoted_identifier=quoted, values=values)
        except SyntaxError_:
            return True  # the interpreter says what is wrong with it

    def _called(self, statement: ast.Execute | ast.ExecuteString, frame: Frame) -> Iterator[Reply]:
        """A call that the server runs whole: its tokens as they are, but within a string or an RPC of ours
        the status is not said and the end is a statement's."""
        ends: list[Done] = []
        replies = _unended(self.evaluator.execute(statement, frame), ends)
        try:
            yield from self._evaluated(replies, frame)
        except SqlError as error:
            if not frame.catches():
                raise
            yield from self._call_ended(frame)
            messages = self.located(error, None, frame)
            raise Caught(messages, frame, own_frame_too=True, dooms=False) from None
        status = frame.storage.pop("status", None)
        if isinstance(status, int) and not frame.in_proc:
            yield ReturnStatus(status)
        yield from self._call_ended(frame, error=not ends or ends[-1].error)

    def _call_ended(self, frame: Frame, *, error: bool = False) -> Iterator[Reply]:
        if frame.in_proc:
            yield from self.done(Done(Command.EXECUTE, error=error), frame)
        else:
            yield Done(Command.EXECUTE, error=error, kind=DoneKind.PROC)


def _unended(replies: Iterator[Reply], ends: list[Done]) -> Iterator[Reply]:
    """Without the DONEPROC: whoever called says in its own way that the call has ended."""
    for reply in replies:
        if isinstance(reply, Done) and reply.kind is DoneKind.PROC:
            ends.append(reply)
        else:
            yield reply
