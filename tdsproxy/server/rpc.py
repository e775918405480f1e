"""Remote procedure calls: the prepared-statement procedures, and procedures by name.

The order of tokens follows captures of SQL Server 2022: the statements' results, the return status, the
output parameters in the request's order, DONEPROC. What a statement's errors leave of that is the
interpreter's business; this module keeps the handles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tdsproxy.frontend.handler import RpcParameter, RpcRequest
from tdsproxy.server.table_parameters import tables_of
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import (
    Command,
    Done,
    DoneKind,
    Message,
    Reply,
    ReturnStatus,
    ReturnValue,
)
from tdsproxy.tsql.scalar import TypedValue

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

PROC_IDS: Final = {
    1: "sp_cursor",
    2: "sp_cursoropen",
    3: "sp_cursorprepare",
    4: "sp_cursorexecute",
    5: "sp_cursorprepexec",
    6: "sp_cursorunprepare",
    7: "sp_cursorfetch",
    8: "sp_cursoroption",
    9: "sp_cursorclose",
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    14: "sp_prepexecrpc",
    15: "sp_unprepare",
}
"""MS-TDS 2.2.6.6."""

_EXECUTE_SQL: Final = ast.Name("sp_executesql")
_NO_TEXT: Final = RpcParameter("", t.nvarchar(t.MAX), "")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared statement: its text and its declared parameters as they came; or, for sp_prepexecrpc, the
    procedure's name."""

    text: RpcParameter = _NO_TEXT
    declarations: RpcParameter = _NO_TEXT
    procedure: str = ""


def run_rpc(session: Session, request: RpcRequest) -> Iterator[Reply]:
    """All replies to one call, with its final DONEPROC."""
    name = request.procedure
    word = PROC_IDS.get(name, str(name)) if isinstance(name, int) else bare_name(name)
    call = _BUILT_IN.get(word)
    if call is None:
        shown = word if isinstance(name, int) else name
        yield from _call(session, split_name(shown), request.parameters)
        return
    try:
        yield from call(session, request.parameters)
    except SqlError as error:
        session.state.error = error.messages[0].number
        yield from error.messages
        yield ReturnStatus(error.messages[0].number)
        for ordinal, parameter in enumerate(request.parameters):
            if parameter.output:
                yield ReturnValue(ordinal, parameter.name, parameter.type or t.INT, parameter.value)
        yield Done(Command.EXECUTE, error=True, kind=DoneKind.PROC)


def bare_name(name: str) -> str:
    """The last part of a system procedure's name in lower case, without brackets; empty when the name is
    qualified by a schema other than sys or dbo."""
    written = split_name(name)
    if written.schema is not None and written.schema.lower() not in ("sys", "dbo"):
        return ""
    return written.object.lower()


def _argument(parameter: RpcParameter) -> Argument:
    if parameter.default:
        return Argument(parameter.name or None, None)
    value = TypedValue(parameter.value, parameter.type or t.NULL)
    return Argument(parameter.name or None, value, _ignore if parameter.output else None)


def _ignore(made: TypedValue) -> None:
    """The interpreter collects an RPC's outputs itself; this only says that one was asked for."""


def _call(session: Session, name: ast.Name, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    frame = session.batch_frame("")
    with tables_of(session, parameters, frame) as tables:
        arguments = [tables.get(n) or _argument(parameter) for n, parameter in enumerate(parameters)]
        yield from session.interpreter.rpc(name, arguments, frame)


def _leading(
    parameters: Sequence[RpcParameter], *names: tuple[str, ...]
) -> tuple[list[RpcParameter | None], list[tuple[int, RpcParameter]]]:
    """The procedure's own parameters, and the rest with their ordinals: the own ones come first, by place
    or by one of their names."""
    own: list[RpcParameter | None] = [None] * len(names)
    rest = []
    for ordinal, parameter in enumerate(parameters):
        word = parameter.name.lower()
        place = next((n for n, known in enumerate(names) if word in known and own[n] is None), None)
        if place is None and ordinal < len(names) and own[ordinal] is None:
            place = ordinal
        if place is not None:
            own[place] = parameter
        else:
            rest.append((ordinal, parameter))
    return own, rest


def _statement(
    session: Session,
    prepared: Prepared,
    arguments: Sequence[tuple[int, RpcParameter]],
    on_status: Callable[[], Iterator[Reply]] = lambda: iter(()),
) -> Iterator[Reply]:
    """Runs a prepared statement as sp_executesql would. ``on_status`` gives what follows the status."""
    lead = [prepared.text]
    if prepared.declarations.value or arguments:
        lead.append(prepared.declarations)
    lead = [replace(parameter, name="", output=False) for parameter in lead]
    given = [*lead, *(parameter for _, parameter in arguments)]
    frame = session.batch_frame("")
    with tables_of(session, given, frame) as tables:
        sent = [tables.get(n) or _argument(parameter) for n, parameter in enumerate(given)]
        for reply in session.interpreter.rpc(_EXECUTE_SQL, sent, frame):
            if isinstance(reply, ReturnValue):
                ordinal = arguments[reply.ordinal - len(lead)][0]
                yield replace(reply, ordinal=ordinal)
            else:
                yield reply
                if isinstance(reply, ReturnStatus):
                    yield from on_status()


def _text(parameter: RpcParameter | None) -> RpcParameter:
    if parameter is None or parameter.value is None:
        return _NO_TEXT
    return parameter


def _keep(session: Session, prepared: Prepared) -> int:
    number = session.next_handle
    session.next_handle += 1
    session.prepared[number] = prepared
    return number


# --------------------------------------------------------------------------- the procedures


def _execute_sql(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (statement, declarations), arguments = _leading(
        parameters, ("@stmt", "@statement"), ("@params", "@parameters")
    )
    if statement is None:
        yield from _call(session, _EXECUTE_SQL, parameters)
        return
    yield from _statement(session, Prepared(_text(statement), _text(declarations)), arguments)


def _prepare(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (handle, declarations, statement, _options), _ = _leading(
        parameters, ("@handle",), ("@params",), ("@stmt",), ("@options",)
    )
    prepared = Prepared(_text(statement), _text(declarations))
    _drop_old(session, handle)
    try:
        parse(str(prepared.text.value), quoted_identifier=session.options.quoted_identifier)
        if prepared.declarations.value:
            words = str(prepared.declarations.value)
            parse(f"CREATE PROCEDURE p ({words}) AS RETURN")
    except SyntaxError_ as error:
        raise SqlError(*error.messages, Message(8180, 16, 1, "Statement(s) could not be prepared.")) from None
    number = _keep(session, prepared)
    yield Done(Command.SELECT, 0, kind=DoneKind.IN_PROC)
    yield ReturnStatus(0)
    yield ReturnValue(0, handle.name if handle else "", t.INT, number)
    yield Done(Command.EXECUTE, kind=DoneKind.PROC)


def _prepare_and_execute(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (handle, declarations, statement), arguments = _leading(
        parameters, ("@handle",), ("@params",), ("@stmt",)
    )
    prepared = Prepared(_text(statement), _text(declarations))
    _drop_old(session, handle)

    def new_handle() -> Iterator[Reply]:
        yield ReturnValue(0, handle.name if handle else "", t.INT, _keep(session, prepared))

    yield from _statement(session, prepared, arguments, new_handle)


def _prepare_and_execute_rpc(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (handle, procedure), rest = _leading(parameters, ("@handle",), ("@rpcname", "@proc"))
    name = str(procedure.value) if procedure is not None and procedure.value is not None else ""
    _drop_old(session, handle)
    handle_name = handle.name if handle else ""
    yield from _procedure(session, name, rest, handle_name)


def _procedure(
    session: Session,
    name: str,
    arguments: Sequence[tuple[int, RpcParameter]],
    handle: str | None = None,
) -> Iterator[Reply]:
    """Calls a prepared procedure; with ``handle`` it gets a new handle of that name."""
    for reply in _call(session, split_name(name), [parameter for _, parameter in arguments]):
        if isinstance(reply, ReturnValue):
            yield replace(reply, ordinal=arguments[reply.ordinal][0])
            continue
        yield reply
        if isinstance(reply, ReturnStatus) and handle is not None:
            yield ReturnValue(0, handle, t.INT, _keep(session, Prepared(procedure=name)))


def _drop_old(session: Session, handle: RpcParameter | None) -> None:
    """Drivers pass the handle that they need no more in the in/out parameter."""
    if handle is not None and isinstance(handle.value, int):
        session.prepared.pop(handle.value, None)


def _find_handle(session: Session, handle: RpcParameter | None, procedure: str, state: int) -> Prepared:
    value = handle.value if handle is not None else None
    found = session.prepared.get(value) if isinstance(value, int) else None
    if found is None:
        number = value if isinstance(value, int) else 0
        text = f"Could not find prepared statement with handle {number}."
        raise SqlError(Message(8179, 16, state, text, 1, procedure))
    return found


def _execute_handle(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (handle,), arguments = _leading(parameters, ("@handle",))
    prepared = _find_handle(session, handle, "sp_execute", 4)
    if prepared.procedure:
        yield from _procedure(session, prepared.procedure, arguments)
    else:
        yield from _statement(session, prepared, arguments)


def _unprepare(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    (handle,), _ = _leading(parameters, ("@handle",))
    _find_handle(session, handle, "sp_unprepare", 8)
    _drop_old(session, handle)
    yield ReturnStatus(0)
    yield Done(Command.EXECUTE, kind=DoneKind.PROC)


def _reset_connection(session: Session, parameters: Sequence[RpcParameter]) -> Iterator[Reply]:
    yield from session.reset(keep_transaction=False)
    yield ReturnStatus(0)
    yield Done(Command.EXECUTE, kind=DoneKind.PROC)


_BUILT_IN: Final = {
    "sp_executesql": _execute_sql,
    "sp_prepare": _prepare,
    "sp_execute": _execute_handle,
    "sp_prepexec": _prepare_and_execute,
    "sp_prepexecrpc": _prepare_and_execute_rpc,
    "sp_unprepare": _unprepare,
    "sp_reset_connection": _reset_connection,
}
