"""RPCs that carry statements: which text an RPC runs or prepares, and with which parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tdsproxy.frontend.handler import RpcParameter, RpcRequest
from tdsproxy.proxy.plan import Variable, type_text
from tdsproxy.proxy.probe import Held
from tdsproxy.tds.rpc import PROCEDURE_NAMES, ProcId
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Message

FIRST_HANDLE: Final = 0x40000000
"""Handles of statements prepared here: servers count theirs from 1."""

_NAME: Final = re.compile(
    r"""^\s*(?:(?:\[?master\]?\s*\.)?\s*(?:\[?(?:sys|dbo)\]?)?\s*\.)?\s*[\["]?(sp_\w+)[\]"]?(?:;1)?\s*$""",
    re.IGNORECASE | re.VERBOSE,
)


class Kind(Enum):
    EXECUTESQL = "executesql"
    PREPARE = "prepare"
    EXECUTE = "execute"
    PREPEXEC = "prepexec"
    UNPREPARE = "unprepare"


_KINDS: Final = {
    "sp_executesql": Kind.EXECUTESQL,
    "sp_prepare": Kind.PREPARE,
    "sp_execute": Kind.EXECUTE,
    "sp_prepexec": Kind.PREPEXEC,
    "sp_unprepare": Kind.UNPREPARE,
}


@dataclass(frozen=True, slots=True)
class StatementCall:
    """An RPC about a statement. ``handle`` is the one given, None for none; ``handle_name`` as the caller
    wrote it; ``arguments`` are the statement's own parameters."""

    kind: Kind
    text: str | None = None
    declarations: str = ""
    handle: int | None = None
    handle_name: str = ""
    arguments: tuple[RpcParameter, ...] = ()


def statement_call(request: RpcRequest) -> StatementCall | None:
    """What the RPC says; None for every other procedure, and for parameters that make no sense here."""
    kind = _kind(request.procedure)
    if kind is None:
        return None
    parameters = request.parameters
    if kind is Kind.EXECUTESQL:
        text = _text(parameters, 0)
        declarations = _text(parameters, 1) or ""
        return None if text is None else StatementCall(kind, text, declarations, arguments=parameters[2:])
    if not parameters:
        return None
    handle = parameters[0].value if isinstance(parameters[0].value, int) else None
    name = parameters[0].name
    if kind in (Kind.EXECUTE, Kind.UNPREPARE):
        return StatementCall(kind, handle=handle, handle_name=name, arguments=parameters[1:])
    text = _text(parameters, 2)
    if text is None:
        return None
    arguments = parameters[3:] if kind is Kind.PREPEXEC else ()
    return StatementCall(kind, text, _text(parameters, 1) or "", handle, name, arguments)


def _kind(procedure: str | int) -> Kind | None:
    if isinstance(procedure, int):
        try:
            return _KINDS.get(PROCEDURE_NAMES[ProcId(procedure)])
        except ValueError:
            return None
    match = _NAME.match(procedure)
    return None if match is None else _KINDS.get(match.group(1).lower())


def _text(parameters: Sequence[RpcParameter], index: int) -> str | None:
    if index >= len(parameters):
        return None
    value = parameters[index].value
    return value if isinstance(value, str) else None


def declared_variables(declarations: str) -> tuple[Variable, ...] | None:
    """The parameters that a text like ``@a int, @b nvarchar(20) OUTPUT`` declares; None when it can't be
    read."""
    if not declarations.strip():
        return ()
    try:
        batch = parse(f"CREATE PROCEDURE p {declarations} AS RETURN")
    except SyntaxError_:
        return None
    (procedure,) = batch.statements
    if not isinstance(procedure, ast.CreateProcedure):
        return None
    return tuple(Variable(each.name, type_text(each.type)) for each in procedure.parameters)


def bind(variables: Sequence[Variable], arguments: Sequence[RpcParameter]) -> dict[str, Held]:
    """The parameters' values by name in lower case: named arguments by their names, others by position."""
    held: dict[str, Held] = {}
    names = {each.name.lower() for each in variables}
    for variable, argument in zip(variables, arguments, strict=False):
        key = argument.name.lower() if argument.name.lower() in names else variable.name.lower()
        if argument.type is not None and not argument.default:
            held[key] = Held(argument.type, argument.value)
    return held


MAX_HANDLES: Final = 1000
"""Statements that one connection may have prepared here at a time: drivers keep a few."""
MAX_PREPARED_TEXT: Final = 16 * 1024 * 1024
"""Characters that they may have altogether."""


class TooManyPrepared(SqlError):
    """8180 behind 701: no more statements can be prepared on the connection."""

    def __init__(self) -> None:
        super().__init__(
            Message(
                701,
                17,
                130,
                "There is insufficient system memory in resource pool 'default' to run this query.",
            ),
            Message(8180, 16, 1, "Statement(s) could not be prepared."),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A native statement that was prepared here."""

    text: str
    declarations: str

    @property
    def size(self) -> int:
        return len(self.text) + len(self.declarations)


class Handles:
    """The statements prepared here on one connection, by handle."""

    def __init__(self) -> None:
        self._next = FIRST_HANDLE
        self._statements: dict[int, Prepared] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._statements)

    def __contains__(self, handle: object) -> bool:
        return handle in self._statements

    def add(self, prepared: Prepared) -> int:
        """The handle of a statement. Raises TooManyPrepared."""
        size = prepared.size
        if len(self._statements) >= MAX_HANDLES or self._size + size > MAX_PREPARED_TEXT:
            raise TooManyPrepared
        self._size += size
        handle = self._next
        self._next += 1
        self._statements[handle] = prepared
        return handle

    def get(self, handle: int | None) -> Prepared | None:
        return None if handle is None else self._statements.get(handle)

    def drop(self, handle: int) -> None:
        dropped = self._statements.pop(handle, None)
        if dropped is not None:
            self._size -= dropped.size

    def clear(self) -> None:
        self._statements.clear()
        self._size = 0
