"""The side request: the client's own statements, and behind them a question about its session.

The question is a SELECT whose first column has a name that nothing else has. Where it stands in the answer,
the client's part ends; when it is missing, that part did not run to its end.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.frontend.values import from_wire, sql_type
from tdsproxy.proxy.literals import literal
from tdsproxy.proxy.plan import Part
from tdsproxy.tds.buffer import encode_ucs2
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.tokens import ColMetadata, Row, TokenParser, TokenType
from tdsproxy.tds.versions import is_wide
from tdsproxy.tsql import types as sql
from tdsproxy.tsql.replies import Command
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

QUOTED_IDENTIFIER: Final = 256
NOCOUNT: Final = 512
XACT_ABORT: Final = 16384
"""Their bits in @@OPTIONS."""

QUESTIONS: Final = (
    "DB_NAME()",
    "@@TRANCOUNT",
    "@@OPTIONS",
    "SUSER_SNAME()",
    "IS_SRVROLEMEMBER('sysadmin')",
    "@@SPID",
    "IS_SRVROLEMEMBER('dbcreator')",
)
HELD_BACK: Final = 64 * 1024
"""Bytes of an answer that are gathered before its beginning is passed on."""

_INT_FORMS: Final = (1, 2)
"""Lengths of the TYPE_INFO of an int: the fixed type's, and the nullable one's."""
_BEFORE_NAME: Final = 64
"""More than lies between the token COLMETADATA and the name of its first column."""


@dataclass(frozen=True, slots=True)
class Held:
    """A variable's value between two batches."""

    type: SqlType
    value: Value


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The session's state as its server tells it."""

    database: str
    quoted_identifier: bool
    login: str
    spid: int
    server_roles: frozenset[str]
    nocount: bool = False
    xact_abort: bool = False
    transactions: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """``before`` are the tokens of the client's own part, whose last DONE says that more follows. ``facts``
    None: the question got no row, as the session does not run statements now (PARSEONLY, NOEXEC, FMTONLY)."""

    before: bytes
    facts: SessionFacts | None
    values: dict[str, Held]


class Probe:
    """One side request for one part of a batch. ``held`` are the values of the variables known before."""

    def __init__(self, part: Part, held: dict[str, Held]) -> None:
        self._variables = part.variables
        self._mark = f"tdsproxy {secrets.token_hex(8)}"
        own = carried(part, held)
        self._assigns = own.assigns
        self._name = encode_ucs2(self._mark)
        self.passed_on = False
        self.text = own.text + self._question()

    def _question(self) -> str:
        columns = [f"1 AS [{self._mark}]", *QUESTIONS, *(each.name for each in self._variables)]
        return f"\nSELECT {', '.join(columns)}"

    def read(self, body: bytes, version: int) -> Answer | None:
        """Split the answer; None when the question was not reached. Raises ProtocolError."""
        start = self._find(body, version)
        if start is None:
            return None
        before = self.strip(body[:start], version)
        row = _first_row(TokenParser(version).feed(body[start:]))
        if row is None:
            return Answer(before, None, {})
        columns, values = row
        count = 1 + len(QUESTIONS)
        if len(columns) != count + len(self._variables):
            raise ProtocolError("the upstream's answer to a question has other columns")
        held = {
            variable.name.lower(): Held(type_, from_wire(value, type_))
            for variable, type_, value in zip(self._variables, columns[count:], values[count:], strict=True)
        }
        return Answer(before, read_facts(values[1:count]), held)

    def pass_on(self, held: bytearray, version: int) -> bytes:
        """What may go to the client of an answer whose question has not come yet: taken out of ``held``, but
        for an end that may be the question's beginning. Called with no less than ``HELD_BACK`` bytes."""
        count = len(held) - len(self._name) - _BEFORE_NAME
        piece = bytes(held[:count])
        del held[:count]
        piece = self.strip(piece, version)
        self.passed_on = True
        return piece

    def reached(self, held: bytearray, since: int) -> bool:
        """Whether the question is in ``held``, of which all before ``since`` was looked at already."""
        return held.find(self._name, max(0, since - len(self._name))) >= 0

    def strip(self, tokens: bytes, version: int) -> bytes:
        """Tokens that answer the request, without what the client did not ask for."""
        return without_assignment(tokens, version) if self._assigns and not self.passed_on else tokens

    def _find(self, body: bytes, version: int) -> int | None:
        """Where the question's COLMETADATA begins: a known distance before the first column's name."""
        name = self._name
        at = body.find(name)
        width = 4 if is_wide(version) else 2
        while at >= 0:
            for form in _INT_FORMS:
                start = at - 1 - form - 2 - width - 2 - 1
                if start >= 0 and body[start] == TokenType.COLMETADATA:
                    return start
            at = body.find(name, at + 1)
        return None


@dataclass(frozen=True, slots=True)
class Carried:
    """A part's text with the variables declared before it in front, on lines as in the client's batch.
    ``assigns``: their values are set by a statement whose DONE the client has to be spared."""

    text: str
    assigns: bool


def carried(part: Part, held: dict[str, Held]) -> Carried:
    """The part as a batch of its own."""
    variables = part.variables[: part.known]
    declared = ", ".join(f"{each.name} {each.declared}" for each in variables)
    values = [
        f"{each.name} = {literal(now.value, now.type)}"
        for each in variables
        if (now := held.get(each.name.lower())) is not None and now.value is not None
    ]
    declare = f"DECLARE {declared}; " if declared else ""
    assign = f"SELECT {', '.join(values)}; " if values else ""
    return Carried("\n" * (part.line - 1) + declare + assign + part.text, bool(values))


def without_assignment(tokens: bytes, version: int) -> bytes:
    """The tokens without the DONE of the statement that set the variables: it is the first one, behind what a
    reset has changed."""
    size = 13 if is_wide(version) else 9
    pos = 0
    while pos < len(tokens) and tokens[pos] in (TokenType.ENVCHANGE, TokenType.INFO):
        pos += 3 + int.from_bytes(tokens[pos + 1 : pos + 3], "little")
    if tokens[pos : pos + 1] != bytes((TokenType.DONE,)) or pos + size > len(tokens):
        return tokens
    if int.from_bytes(tokens[pos + 3 : pos + 5], "little") != Command.SELECT:
        return tokens
    return tokens[:pos] + tokens[pos + size :]


def _first_row(tokens: Sequence[object]) -> tuple[list[SqlType], tuple[Any, ...]] | None:
    types: list[SqlType] | None = None
    for token in tokens:
        if isinstance(token, ColMetadata) and types is None:
            types = [sql_type(column.type_info) or sql.NULL for column in token.columns]
        elif isinstance(token, Row) and types is not None:
            return types, token.values
    return None


def read_facts(values: tuple[Any, ...]) -> SessionFacts:
    """The answers to ``QUESTIONS``. Raises ProtocolError."""
    database, transactions, options, login, sysadmin, spid, dbcreator = values
    if not isinstance(database, str) or not isinstance(login, str):
        raise ProtocolError("the upstream does not say who is logged in")
    roles = {"sysadmin": sysadmin, "dbcreator": dbcreator}
    return SessionFacts(
        database=database,
        quoted_identifier=bool((options or 0) & QUOTED_IDENTIFIER),
        transactions=int(transactions or 0),
        nocount=bool((options or 0) & NOCOUNT),
        xact_abort=bool((options or 0) & XACT_ABORT),
        login=login,
        spid=int(spid or 0),
        server_roles=frozenset(name for name, member in roles.items() if member == 1),
    )
