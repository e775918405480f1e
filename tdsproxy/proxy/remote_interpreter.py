"""The interpreter in front of another server: which statements are run here, and which are sent whole.

A procedure, a string or an INSERT ... EXEC without a native statement is the server's: it runs there as one
statement, in a scope of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from tdsproxy.proxy.local import MSDB, is_local, may_be_local, may_be_ours, sets_recovery
from tdsproxy.proxy.plan import is_native_error
from tdsproxy.proxy.remote_evaluator import RemoteEvaluator
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


class Claim(Enum):
    """Whether a text is ours. IN_MSDB: only where that is the current database. NATIVE: nothing in it is
    about msdb, so that what stands around a native statement is the upstream's."""

    NO = 0
    IN_MSDB = 1
    NATIVE = 2
    YES = 3


def claim(
    text: str, *, quoted_identifier: bool = True, values: Sequence[object] = (), local: bool = False
) -> Claim:
    """Whether a text is ours. What nests too deeply to be looked at is the upstream's. Raises SyntaxError_
    when a native statement can't be parsed."""
    try:
        return _claim(text, quoted_identifier=quoted_identifier, values=values, local=local)
    except RecursionError:
        return Claim.NO


def _claim(text: str, *, quoted_identifier: bool, values: Sequence[object], local: bool) -> Claim:
    """Whether a text is ours: it holds a native statement, wherever it stands, or runs strings while one of
    its literals, or one of ``values``, may be one; or, when ``local``, a statement is about msdb. Raises
    SyntaxError_ when a native statement can't be parsed."""
    try:
        batch = parse(text, quoted_identifier=quoted_identifier)
    except SyntaxError_ as error:
        if is_native_error(error, text, quoted_identifier=quoted_identifier):
            raise
        return Claim.NO
    if any(_sets_recovery(statement) for statement in batch.statements):
        return Claim.YES
    in_msdb = local and any(map(may_be_local, batch.statements))
    enters = in_msdb and any(map(_enters_msdb, batch.statements))
    if enters or (local and any(is_local(statement, "") for statement in batch.statements)):
        return Claim.YES
    if native_statements(batch):
        return Claim.YES if in_msdb else Claim.NATIVE
    if any(_runs_strings(statement) for statement in batch.statements):
        tokens = tokenize(text, quoted_identifier=quoted_identifier)
        literals = [token.value for token in tokens if token.kind in _STRINGS]
        if any(_may_be_ours(value, local=local) for value in (*literals, *values)):
            return Claim.YES
    return Claim.IN_MSDB if in_msdb else Claim.NO


def _may_be_ours(value: object, *, local: bool) -> bool:
    return isinstance(value, str) and (may_be_ours if local else may_be_native)(
        value.encode("utf-16-le", "surrogatepass")
    )


def _sets_recovery(statement: ast.Statement) -> bool:
    return sets_recovery(statement) or any(map(_sets_recovery, inner_statements(statement)))


def _enters_msdb(statement: ast.Statement) -> bool:
    if isinstance(statement, ast.Use):
        return statement.database.lower() == MSDB
    return any(map(_enters_msdb, inner_statements(statement)))


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
    """For a ``RemoteEvaluator``. ``local``: statements about msdb are ours, too."""

    def __init__(self, evaluator: RemoteEvaluator, cancelled: Callable[[], bool], *, local: bool) -> None:
        super().__init__(evaluator, cancelled)
        self._remote = evaluator
        self._local = local

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
            return _may_be_ours(text, local=self._local) and self._claims(text, (), quoted=quoted)
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
        if not values or not isinstance(values[0], str):
            return False
        if not any(_may_be_ours(value, local=self._local) for value in values):
            return False
        return self._claims(values[0], values[1:], quoted=quoted)

    @staticmethod
    def _is_table(value: ast.Expr, frame: Frame) -> bool:
        return isinstance(value, ast.Variable) and value.name.lower() in frame.tables

    def _claims(self, text: str, values: Sequence[object], *, quoted: bool) -> bool:
        try:
            found = claim(text, quoted_identifier=quoted, values=values, local=self._local)
        except SyntaxError_:
            return True  # the interpreter says what is wrong with it
        in_msdb = self._remote.facts.database.lower() == MSDB
        return found in (Claim.YES, Claim.NATIVE) or (found is Claim.IN_MSDB and in_msdb)

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
