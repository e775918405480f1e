"""EXEC of procedures and strings, sp_executesql, and RPCs: binding arguments, frames, status, outputs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tdsproxy.tsql import ast, binding
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Argument, Procedure, PythonProcedure, StoredProcedure
from tdsproxy.tsql.failures import cannot_convert
from tdsproxy.tsql.replies import Command, Done, DoneKind, Message, Reply, ReturnStatus, ReturnValue
from tdsproxy.tsql.scalar import TypedValue, undeclared
from tdsproxy.tsql.signals import BatchEnded, Caught, Returned, ScopeEnded
from tdsproxy.tsql.state import Frame, FrameKind
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.tsql.interpreter import Interpreter

MAX_NESTING: Final = 32
_LINKED: Final = (
    "Could not find server '{}' in sys.servers. Verify that the correct server name was specified."
)


class _Failed(Exception):
    """A call that failed before, or as, its frame began; its messages are sent. ``status`` None: none is
    returned."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__()
        self.status = status


class Calls:
    """The part of the interpreter that begins and ends frames."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    # ----------------------------------------------------------------- statements

    def execute(self, statement: ast.Execute, frame: Frame) -> Iterator[Reply]:
        """EXEC of a procedure. Raises SqlError for what is wrong before anything is called."""
        name = self._name(statement, frame)
        arguments = [self._argument(argument, frame) for argument in statement.arguments]
        yield from self._finish(self._call(name, arguments, frame, statement), statement, frame)

    def execute_string(self, statement: ast.ExecuteString, frame: Frame) -> Iterator[Reply]:
        """EXEC ('...')."""
        if statement.at is not None:
            raise SqlError.of(7202, 11, 2, _LINKED.format(statement.at))
        text = ""
        for part in statement.parts:
            made = self._interpreter.scalar(part, frame)
            text += str(convert(made.value, made.type, t.nvarchar(t.MAX)) or "")
        yield from self._finish(self._string(text, frame, statement), statement, frame)

    def _finish(
        self, call: Generator[Reply, None, int], statement: ast.Execute | ast.ExecuteString, frame: Frame
    ) -> Iterator[Reply]:
        """Run a call of EXEC and end it: status, transaction count, token."""
        interpreter = self._interpreter
        before = interpreter.evaluator.transaction_count()
        error = False
        try:
            status: int | None = yield from call
        except _Failed as failed:
            status, error = failed.status, True
        except Caught:
            yield from self._end(frame)
            raise
        result = statement.result if isinstance(statement, ast.Execute) else None
        returned = frame.storage.pop("returned", None)
        if result is not None and status is not None:
            value = returned if isinstance(returned, TypedValue) else TypedValue(status, t.INT)
            interpreter.store(result, value, frame)
        if status is not None and not frame.in_proc:
            yield ReturnStatus(status)
        after = interpreter.evaluator.transaction_count()
        if after != before and not frame.session.doomed:
            yield from self._mismatch(before, after, statement, frame)
            error = True
        yield from self._end(frame, error=error)

    def _end(self, frame: Frame, *, error: bool = False) -> Iterator[Reply]:
        """The token of an EXEC: DONEPROC from a batch, DONEINPROC from a procedure."""
        if frame.in_proc:
            yield from self._interpreter.done(Done(Command.EXECUTE, error=error), frame)
        else:
            yield Done(Command.EXECUTE, error=error, kind=DoneKind.PROC)

    def _mismatch(
        self, before: int, after: int, statement: ast.Execute | ast.ExecuteString, frame: Frame
    ) -> Iterator[Reply]:
        text = (
            "Transaction count after EXECUTE indicates a mismatching number of BEGIN and COMMIT statements. "
            f"Previous count = {before}, current count = {after}."
        )
        name = (
            statement.procedure.object
            if isinstance(statement, ast.Execute) and isinstance(statement.procedure, ast.Name)
            else ""
        )
        error = SqlError(Message(266, 16, 2, text, 0, name))
        if frame.catches():
            yield from self._end(frame)
            raise Caught(error.messages, frame, own_frame_too=True, dooms=False)
        yield from self._interpreter.report(error, frame, None)

    def _name(self, statement: ast.Execute, frame: Frame) -> ast.Name:
        if isinstance(statement.procedure, ast.Name):
            return statement.procedure
        made = self._interpreter.environment(frame).variable(statement.procedure.name)
        return split_name(str(made.value or ""), statement.line)

    def _argument(self, argument: ast.ExecArgument, frame: Frame) -> Argument:
        if argument.value is None:
            return Argument(argument.name, None)
        if isinstance(argument.value, ast.Variable) and argument.value.name.lower() in frame.tables:
            return Argument(argument.name, None, table=(argument.value.name, frame))
        if not argument.output:
            return Argument(argument.name, self._interpreter.scalar(argument.value, frame))
        if not isinstance(argument.value, ast.Variable):
            text = "Cannot use the OUTPUT option when passing a constant to a stored procedure."
            raise SyntaxError_(Message(179, 15, 1, text))
        variable = argument.value.name
        found = frame.get(variable)
        if found is None:
            raise undeclared(variable, argument.value.line)
        return Argument(argument.name, found, lambda made: self._interpreter.store(variable, made, frame))

    # ----------------------------------------------------------------- RPC

    def rpc(self, name: ast.Name | Procedure, arguments: Sequence[Argument], frame: Frame) -> Iterator[Reply]:
        """A client's RPC; see ``Interpreter.rpc``."""
        finals: dict[int, TypedValue] = {}
        bound = [_collecting(argument, index, finals) for index, argument in enumerate(arguments)]
        statement = ast.Execute(name if isinstance(name, ast.Name) else ast.Name(name.name))
        error = False
        status: int | None = None
        outputs = True
        before = self._interpreter.evaluator.transaction_count()
        try:
            status = yield from self._call(name, bound, frame, statement, rpc=True)
        except _Failed as failed:
            status, error = failed.status, True
            outputs = status is not None
        except (ScopeEnded, BatchEnded):
            error, outputs = True, False
        if status is not None:
            yield ReturnStatus(status)
        after = self._interpreter.evaluator.transaction_count()
        if status is not None and after != before and not _is_executesql(name):
            yield from self._mismatch(before, after, statement, frame)
            error = True
        if outputs:
            for index, argument in enumerate(arguments):
                if argument.set is not None and argument.value is not None:
                    final = finals.get(index, argument.value)
                    yield ReturnValue(index, argument.name or "", final.type, final.value)
        yield Done(Command.EXECUTE, error=error, kind=DoneKind.PROC)

    # ----------------------------------------------------------------- calls

    def _call(
        self,
        name: ast.Name | Procedure,
        arguments: Sequence[Argument],
        frame: Frame,
        statement: ast.Statement,
        *,
        rpc: bool = False,
    ) -> Generator[Reply, None, int]:
        """Call a procedure: its replies, then its status. Raises _Failed, BatchEnded, Caught."""
        if isinstance(name, ast.Name):
            if name.server is not None:
                yield from self._fail(SqlError.of(7202, 11, 2, _LINKED.format(name.server)), frame, statement)
            if name.object.lower() == "sp_executesql":
                return (yield from self._executesql(name, arguments, frame, statement, rpc=rpc))
            try:
                procedure = self._interpreter.evaluator.procedure(name, frame)
            except SqlError as error:
                yield from self._fail(error, frame, statement)
                raise _Failed from None
            if procedure is None:
                text = f"Could not find stored procedure '{_written(name)}'."
                called = name.object if rpc else ""
                yield from self._fail(SqlError(Message(2812, 16, 62, text, 1, called)), frame, statement)
                raise _Failed
        else:
            procedure = name
        if isinstance(procedure, PythonProcedure):
            return (yield from self._python(procedure, arguments, frame, statement))
        return (yield from self._stored(procedure, arguments, frame, statement, rpc=rpc))

    def _fail(
        self, error: SqlError, frame: Frame, statement: ast.Statement, status: int | None = None
    ) -> Iterator[Reply]:
        """An error of the call itself: a statement's error of the caller. Always raises."""
        if frame.catches():
            messages = self._interpreter.located(error, statement, frame)
            self._interpreter.log(error, messages, statement, frame)
            raise Caught(messages, frame, own_frame_too=True, dooms=False)
        yield from self._interpreter.report(error, frame, statement)
        raise _Failed(status)

    def _python(
        self,
        procedure: PythonProcedure,
        arguments: Sequence[Argument],
        frame: Frame,
        statement: ast.Statement,
    ) -> Generator[Reply, None, int]:
        inner = self._frame(frame, FrameKind.PROCEDURE, procedure.name)
        interpreter = self._interpreter
        run = procedure.run(inner, arguments)
        interpreter.succeeded(inner, 0)
        rows = False
        try:
            while True:
                try:
                    reply = next(run)
                except StopIteration as stop:
                    if isinstance(stop.value, TypedValue):
                        frame.storage["returned"] = stop.value
                        return 0
                    return int(stop.value or 0)
                if isinstance(reply, Done):
                    if not reply.error:
                        interpreter.succeeded(inner, reply.count or 0)
                    yield from interpreter.done(reply, inner, rows=rows)
                    rows = False
                    continue
                rows = rows or not isinstance(reply, Message)
                if isinstance(reply, Message) and reply.is_error:
                    if frame.catches():
                        raise Caught((reply,), inner, own_frame_too=True, dooms=False)
                    frame.session.error = reply.number
                yield reply
        except SqlError as error:
            yield from self._fail(error, frame, statement, 1)
            raise _Failed(1) from None
        finally:
            run.close()

    def _stored(
        self,
        procedure: StoredProcedure,
        arguments: Sequence[Argument],
        frame: Frame,
        statement: ast.Statement,
        *,
        rpc: bool,
    ) -> Generator[Reply, None, int]:
        inner = self._frame(frame, FrameKind.PROCEDURE, procedure.name)
        inner.procedure_id = procedure.object_id
        inner.text = procedure.text
        inner.options.quoted_identifier = procedure.quoted_identifier
        inner.database = procedure.database
        if inner.nest_level > MAX_NESTING:
            yield from self._too_deep(frame, statement)
        if len(arguments) > len(procedure.parameters):
            yield from self._too_many(procedure, frame, statement)
        try:
            outputs = self._bind(
                procedure.parameters, arguments, inner, procedure.name, state=1 if rpc else 5
            )
        except SqlError as error:
            yield from self._fail(_placed(error, procedure.name), frame, statement)
        yield from self._body(procedure.body, inner)
        if inner.return_status is None:
            inner.return_status = 10 - inner.worst_severity if inner.worst_severity > 10 else 0
        try:
            _write_back(outputs, inner)
        except SqlError as error:
            yield from self._fail(_placed(error, procedure.name), frame, statement)
        return inner.return_status

    def _too_deep(self, frame: Frame, statement: ast.Statement) -> Iterator[Reply]:
        text = (
            "Maximum stored procedure, function, trigger, or view nesting level exceeded "
            f"(limit {MAX_NESTING})."
        )
        yield from self._interpreter.failed(SqlError.of(217, 16, 1, text), statement, frame)
        raise BatchEnded

    def _too_many(
        self, procedure: StoredProcedure, frame: Frame, statement: ast.Statement
    ) -> Iterator[Reply]:
        if not procedure.parameters:
            text = f"Procedure {procedure.name} has no parameters and arguments were supplied."
            error = SqlError(Message(8146, 16, 2, text, 0, procedure.name))
        else:
            text = f"Procedure or function {procedure.name} has too many arguments specified."
            error = SqlError(Message(8144, 16, 2, text, 0, procedure.name))
        yield from self._interpreter.failed(error, statement, frame)
        raise BatchEnded

    def _string(self, text: str, frame: Frame, statement: ast.Statement) -> Generator[Reply, None, int]:
        inner = self._frame(frame, FrameKind.STRING, "")
        inner.text = text
        if inner.nest_level > MAX_NESTING:
            yield from self._too_deep(frame, statement)
        batch = yield from self._compiled(text, inner, frame)
        yield from self._body(batch.statements, inner)
        return 10 - inner.worst_severity if inner.worst_severity > 10 else 0

    def _compiled(
        self, text: str, inner: Frame, frame: Frame, *, status: bool = False, parameters: bool = False
    ) -> Generator[Reply, None, ast.Batch]:
        """Parse and check dynamic SQL; an error of it is the string's own. With ``parameters`` it may not
        create modules."""
        try:
            batch = self._interpreter.evaluator.parse(text, inner)
            if parameters:
                _refuse_modules(batch)
            binding.check(batch.statements, inner.variables)
        except SqlError as error:
            if frame.catches():
                raise Caught(error.messages, frame, own_frame_too=True, dooms=False) from None
            yield from self._interpreter.report(error, frame, None)
            raise _Failed(error.number if status else None) from None
        return batch

    def _body(
        self, statements: Sequence[ast.Statement], inner: Frame, *, status: bool = False
    ) -> Generator[Reply, None, None]:
        """Run a frame's statements between entering and leaving it. Raises _Failed when an error ends it."""
        evaluator = self._interpreter.evaluator
        try:
            evaluator.enter(inner)
        except SqlError as error:
            yield from self._interpreter.report(error, inner, None)
            raise _Failed(error.number if status else None) from None
        try:
            yield from self._interpreter.declare_tables_within(statements, inner)
            yield from self._interpreter.statements(statements, inner)
        except Returned:
            pass
        except ScopeEnded:
            raise _Failed(inner.session.error if status else None) from None
        finally:
            leaving = list(evaluator.leave(inner))
        yield from leaving

    def _frame(self, caller: Frame, kind: FrameKind, procedure: str) -> Frame:
        return Frame(
            caller.session,
            caller.options.copy(),
            kind,
            nest_level=caller.nest_level + 1,
            procedure=procedure,
            parent=caller,
        )

    # ----------------------------------------------------------------- sp_executesql

    def _executesql(
        self,
        name: ast.Name,
        arguments: Sequence[Argument],
        frame: Frame,
        statement: ast.Statement,
        *,
        rpc: bool,
    ) -> Generator[Reply, None, int]:
        """sp_executesql @stmt, @params, values: the status is @@ERROR at its end."""
        try:
            text, declaration, values = _executesql_arguments(arguments)
        except SqlError as error:
            yield from self._fail(error, frame, statement, error.number)
            raise _Failed(error.number) from None
        inner = self._frame(frame, FrameKind.RPC, "")
        inner.text = text
        inner.database = name.database
        if inner.nest_level > MAX_NESTING:
            yield from self._too_deep(frame, statement)
        parameters: tuple[ast.Parameter, ...] = ()
        if declaration.strip():
            parameters = yield from self._parameters(declaration, inner, frame)
        if len(values) > len(parameters):
            text = "Procedure or function  has too many arguments specified."
            extra = SqlError(Message(8144, 16, 2, text, 0))
            if rpc:
                yield from self._fail(extra, frame, statement, 8144)
            yield from self._interpreter.failed(extra, statement, frame)
            raise BatchEnded
        try:
            outputs = self._bind(parameters, values, inner, "", query=f"({declaration}){text}")
        except SqlError as error:
            yield from self._fail(
                _placed(error, ""), frame, statement, _bind_status(error, parameters, values)
            )
        batch = yield from self._compiled(text, inner, frame, status=True, parameters=bool(parameters))
        yield from self._body(batch.statements, inner, status=True)
        status = inner.session.error
        try:
            _write_back(outputs, inner)
        except SqlError as error:
            yield from self._fail(_placed(error, ""), frame, statement)
        return status

    def _parameters(
        self, declaration: str, inner: Frame, frame: Frame
    ) -> Generator[Reply, None, tuple[ast.Parameter, ...]]:
        batch = yield from self._compiled(
            f"CREATE PROCEDURE p ({declaration}) AS RETURN", inner, frame, status=True
        )
        made = batch.statements[0]
        return made.parameters if isinstance(made, ast.CreateProcedure) else ()

    # ----------------------------------------------------------------- arguments

    def _bind(
        self,
        parameters: Sequence[ast.Parameter],
        arguments: Sequence[Argument],
        inner: Frame,
        procedure: str,
        query: str | None = None,
        state: int = 5,
    ) -> list[tuple[str, Argument]]:
        """Declare the parameters with their values in ``inner``; answers the outputs to write back.

        Raises SqlError 201, 8143, 8145, 8162, 8114, 8178.
        """
        given = _match(parameters, arguments, procedure)
        outputs: list[tuple[str, Argument]] = []
        for parameter in parameters:
            if parameter.type.type is None and self._bind_table(parameter, given, inner, procedure):
                continue
            type_ = self._interpreter.evaluator.resolve_type(parameter.type, inner)
            argument = given.get(parameter.name.lower())
            if argument is not None and argument.set is not None:
                if not parameter.output:
                    text = (
                        f'The formal parameter "{parameter.name}" was not declared as an OUTPUT '
                        "parameter, but the "
                        "actual parameter passed in requested output."
                    )
                    raise SqlError.of(8162, 16, 2, text)
                outputs.append((parameter.name, argument))
            made = self._value(parameter, argument, inner, procedure, query)
            inner.declare(parameter.name, type_, _passed(made, type_, state))
        return outputs

    def _bind_table(
        self, parameter: ast.Parameter, given: dict[str, Argument], inner: Frame, procedure: str
    ) -> bool:
        """Whether the parameter is one of a table type: then it is the caller's table, or an empty one."""
        evaluator = self._interpreter.evaluator
        table = evaluator.table_type(parameter.name, parameter.type, inner)
        if table is None:
            return False
        argument = given.get(parameter.name.lower())
        if argument is None or argument.table is None:
            if argument is not None and argument.value is not None:
                shown = parameter.type.name.object
                text = f"Operand type clash: {argument.value.type} is incompatible with {shown}"
                raise SqlError.of(206, 16, 2, text)
            inner.tables[parameter.name.lower()] = table
            return True
        source, caller = argument.table
        evaluator.share_table(parameter.name, source, caller, inner)
        return True

    def _value(
        self,
        parameter: ast.Parameter,
        argument: Argument | None,
        inner: Frame,
        procedure: str,
        query: str | None,
    ) -> TypedValue:
        if argument is not None and argument.value is not None:
            return argument.value
        if parameter.default is not None:
            return self._interpreter.scalar(parameter.default, inner)
        if query is not None:
            text = (
                f"The parameterized query '{query}' expects the parameter '{parameter.name}', which was not "
                "supplied."
            )
            raise SqlError.of(8178, 16, 1, text)
        text = (
            f"Procedure or function '{procedure}' expects parameter '{parameter.name}', which was "
            "not supplied."
        )
        raise SqlError.of(201, 16, 4, text)


def _match(
    parameters: Sequence[ast.Parameter], arguments: Sequence[Argument], procedure: str
) -> dict[str, Argument]:
    """Arguments by the lower-case name of their parameter. Raises SqlError 8143, 8145."""
    names = [parameter.name.lower() for parameter in parameters]
    given: dict[str, Argument] = {}
    for index, argument in enumerate(arguments):
        if argument.name is None:
            name = names[index]
        else:
            name = argument.name.lower()
            name = name if name.startswith("@") else "@" + name
            if name not in names:
                text = f"{argument.name} is not a parameter for procedure {procedure}."
                if not procedure:
                    continue
                raise SqlError.of(8145, 16, 1, text)
        if name in given:
            text = f"Parameter '{argument.name or name}' was supplied multiple times."
            raise SqlError.of(8143, 16, 1, text)
        given[name] = argument
    return given


def _passed(made: TypedValue, type_: SqlType, state: int) -> Value:
    """A value for a parameter. Raises SqlError 8114 whatever is wrong with it."""
    if made.type.name == "null" or made.value is None:
        return None
    if made.type.name == "table":
        return made.value
    try:
        return convert(made.value, made.type, type_)
    except SqlError:
        raise cannot_convert(made.type, type_, state) from None


def _write_back(outputs: Sequence[tuple[str, Argument]], inner: Frame) -> None:
    """Give the outputs to the caller. Raises SqlError 8114."""
    for name, argument in outputs:
        final = inner.get(name)
        if final is None or argument.set is None:
            continue
        try:
            argument.set(final)
        except SqlError:
            wanted = argument.value.type if argument.value is not None else final.type
            raise cannot_convert(final.type, wanted, 2) from None


def _collecting(argument: Argument, index: int, finals: dict[int, TypedValue]) -> Argument:
    """An RPC's argument whose output lands in ``finals``, in the type that the client declared."""
    if argument.set is None:
        return argument
    wanted = argument.value

    def keep(made: TypedValue) -> None:
        type_ = made.type if wanted is None else wanted.type
        finals[index] = TypedValue(convert(made.value, made.type, type_), type_)

    return Argument(argument.name, argument.value, keep)


def _executesql_arguments(arguments: Sequence[Argument]) -> tuple[str, str, Sequence[Argument]]:
    """(statement, parameter declarations, values). Raises SqlError 201, 214."""
    if not arguments:
        text = "Procedure or function 'sp_executesql' expects parameter '@statement', which was not supplied."
        raise SqlError.of(201, 16, 10, text)
    texts = []
    for argument, name, state in zip(arguments[:2], ("@statement", "@params"), (2, 3), strict=False):
        made = argument.value
        if made is not None and made.type.name != "null" and not made.type.is_unicode:
            text = f"Procedure expects parameter '{name}' of type 'ntext/nchar/nvarchar'."
            raise SqlError(Message(214, 16, state, text, 1, "sp_executesql"))
        texts.append("" if made is None or made.value is None else str(made.value))
    return texts[0], texts[1] if len(texts) > 1 else "", arguments[2:]


def _bind_status(error: SqlError, parameters: Sequence[ast.Parameter], values: Sequence[Argument]) -> int:
    """The status of sp_executesql when its arguments do not fit: 1 for one that is missing and no more."""
    names = {parameter.name.lower().lstrip("@") for parameter in parameters}
    strange = any(value.name and value.name.lower().lstrip("@") not in names for value in values)
    return error.number if error.number != 8178 or strange else 1


def _refuse_modules(batch: ast.Batch) -> None:
    """Raises SyntaxError_ 156 for CREATE PROCEDURE, VIEW ... in a statement with parameters."""
    words = {
        ast.CreateProcedure: "PROCEDURE",
        ast.CreateFunction: "FUNCTION",
        ast.CreateTrigger: "TRIGGER",
        ast.CreateView: "VIEW",
    }
    for statement in batch.statements:
        word = words.get(type(statement))
        if word is not None:
            text = f"Incorrect syntax near the keyword '{word}'."
            raise SyntaxError_(Message(156, 15, 1, text, statement.line))


def _placed(error: SqlError, procedure: str) -> SqlError:
    """The error as one of the procedure's head: its name, line 0."""
    return SqlError(*(replace(message, line=0, procedure=procedure) for message in error.messages))


def _is_executesql(name: ast.Name | Procedure) -> bool:
    return isinstance(name, ast.Name) and name.object.lower() == "sp_executesql"


def _written(name: ast.Name) -> str:
    parts = [name.database, name.schema, name.object]
    while parts and parts[0] is None:
        parts.pop(0)
    return ".".join(part or "" for part in parts)


def split_name(text: str, line: int = 1) -> ast.Name:
    """The name in a variable of EXEC @name, or of an RPC: up to four parts, brackets and quotes taken off."""
    parts: list[str] = [""]
    closing = ""
    index = 0
    while index < len(text):
        char = text[index]
        if closing:
            if char == closing and text[index + 1 : index + 2] == closing:
                parts[-1] += char
                index += 1
            elif char == closing:
                closing = ""
            else:
                parts[-1] += char
        elif char in '["':
            closing = "]" if char == "[" else '"'
        elif char == ".":
            parts.append("")
        else:
            parts[-1] += char
        index += 1
    cleaned = [part.strip() or None for part in parts[-4:]]
    padded = [None] * (4 - len(cleaned)) + cleaned
    return ast.Name(padded[3] or "", padded[2], padded[1], padded[0], line=line)
