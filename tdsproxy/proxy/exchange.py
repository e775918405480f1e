"""One statement at the upstream, and its answer: what is the client's, and what answers our own question.

The batch sent has three parts. Values for the variables that the statement names, and a SELECT of one column
whose name nothing else has: what is answered up to there nobody asked for. The statement. And a SELECT that
begins with a column of that name again: how the session stands now.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.frontend.values import from_wire, sql_type
from tdsproxy.proxy.probe import QUESTIONS, SessionFacts, read_facts
from tdsproxy.proxy.upstream import MAX_ANSWER
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.tokens import (
    ColMetadata,
    Done,
    EnvChange,
    EnvChangeType,
    Row,
    Token,
    TokenParser,
)
from tdsproxy.tsql import types as sql
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_HEAD: Final = 4
"""Columns of the second question in front of the facts: its mark, @@ERROR, @@ROWCOUNT, XACT_STATE()."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The session behind a statement; ``values`` are the variables', by name in lower case."""

    error: int
    rowcount: int
    transaction_state: int
    facts: SessionFacts
    values: dict[str, tuple[SqlType, Value]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of the statement's answer, and their bytes. Several tokens are rows of one result set."""

    tokens: Sequence[Token]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """``before`` sets up what ``text`` needs, on the same line; ``variables`` are asked for behind it."""

    text: str
    line: int = 1
    before: str = ""
    variables: tuple[str, ...] = ()


class Exchange:
    """Feed the packets of the answer, take the pieces that are the client's."""

    def __init__(self, statement: Statement, version: int) -> None:
        self._mark = f"tdsproxy {secrets.token_hex(8)}"
        self._variables = statement.variables
        asked = ", ".join((*QUESTIONS, *statement.variables))
        self.text = (
            "\n" * (statement.line - 1)
            + f"{statement.before}SELECT 0 AS [{self._mark}]; {statement.text};"
            + f"\nSELECT 1 AS [{self._mark}], @@ERROR, @@ROWCOUNT, XACT_STATE(), {asked}"
        )
        self._parser = TokenParser(version, max_value=MAX_ANSWER)
        self._held = bytearray()
        self._dropped = 0
        self._marked = False
        self._types: list[SqlType] = []
        self.begun = False
        """The statement was reached: what went before it did not fail."""
        self.standing: Standing | None = None
        """None until the answer has ended, and when the statement has ended the batch."""
        self.descriptor: bytes | None = None
        """The descriptor of the transaction that the session is in now, when that has changed."""

    def feed(self, payload: bytes) -> Iterator[Piece]:
        """Raises ProtocolError."""
        ends: list[int] = []
        self._held += payload
        tokens = self._parser.feed(payload, ends)
        start = self._dropped
        rows: list[Token] = []
        from_ = start
        for token, end in zip(tokens, ends, strict=True):
            if isinstance(token, Row) and not self._marked:
                if not rows:
                    from_ = start
                rows.append(token)
            else:
                if rows:
                    yield Piece(rows, self._cut(from_, start))
                    rows = []
                if self._is_clients(token):
                    yield Piece((token,), self._cut(start, end))
            start = end
        if rows:
            yield Piece(rows, self._cut(from_, start))
        del self._held[: start - self._dropped]
        self._dropped = start

    def _cut(self, start: int, end: int) -> bytes:
        return bytes(self._held[start - self._dropped : end - self._dropped])

    def _is_clients(self, token: Token) -> bool:
        if isinstance(token, ColMetadata) and token.columns and token.columns[0].name == self._mark:
            self._marked = True
            self._types = [sql_type(column.type_info) or sql.NULL for column in token.columns]
            return False
        if isinstance(token, Row):
            if len(token.values) > 1:
                self._read(token.values)
            return False
        if isinstance(token, Done):
            return self._ends_a_statement(token)
        if isinstance(token, EnvChange):
            self._follow(token)
        return True

    def _ends_a_statement(self, token: Done) -> bool:
        if self._marked:
            self._marked = False
            if len(self._types) == 1:
                self.begun = True
            return False
        return self.begun or token.error

    def _follow(self, token: EnvChange) -> None:
        if token.kind == EnvChangeType.BEGIN_TRANSACTION and isinstance(token.new, bytes):
            self.descriptor = token.new
        elif token.kind in (
            EnvChangeType.COMMIT_TRANSACTION,
            EnvChangeType.ROLLBACK_TRANSACTION,
            EnvChangeType.TRANSACTION_ENDED,
        ):
            self.descriptor = bytes(8)

    def _read(self, values: tuple[Any, ...]) -> None:
        count = _HEAD + len(QUESTIONS)
        if len(values) != count + len(self._variables):
            raise ProtocolError("the upstream's answer to a question has other columns")
        self.standing = Standing(
            int(values[1] or 0),
            int(values[2] or 0),
            int(values[3] or 0),
            read_facts(values[_HEAD:count]),
            {
                name.lower(): (type_, from_wire(value, type_))
                for name, type_, value in zip(
                    self._variables, self._types[count:], values[count:], strict=True
                )
            },
        )


Ask = Callable[[Exchange], Iterable[bytes]]
"""Sends an exchange's batch; the payloads of the answer's packets, as they come."""
