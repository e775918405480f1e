"""Which messages are worth a parse, and what the parse then found.

Nearly all that a client sends has nothing to do with backups. ``may_be_native`` looks at the bytes of a
message once and lets those go on as they are. It may say yes too often, as the word can stand in a string;
it never says no to a native statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tdsproxy.tsql import ast

_UPPER: Final = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_KEYS: Final = re.compile(rb"(?:MASTER|SYMMETRIC|ENCRYPTION)(?:[\s\xa0]|/\*|--)")


def may_be_native(body: bytes | bytearray) -> bool:
    """Whether the text of a SQLBatch or RPC message, UTF-16LE or single bytes, can hold a native
    statement."""
    return holds_native(searchable(body))


def searchable(body: bytes | bytearray) -> bytes | bytearray:
    """A message's text without its zero bytes and in upper case, so that both encodings look the same."""
    return body.translate(_UPPER, b"\0")


def holds_native(text: bytes | bytearray) -> bool:
    """As ``may_be_native``, of what ``searchable`` has made."""
    return (
        b"BACKUP" in text
        or b"RESTORE" in text
        or b"CERTIFICATE" in text
        or b"CREDENTIAL" in text
        or (b"KEY" in text and _KEYS.search(text) is not None)
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A native statement of a batch. ``nested``: it stands within IF, WHILE, TRY or a block, so that only
    running the batch tells whether it runs."""

    statement: ast.NativeStatement
    nested: bool


def native_statements(batch: ast.Batch) -> list[Found]:
    """The native statements of ``batch`` in their order. Those in the body of a module that the batch creates
    do not run with it and are not among them."""
    return list(_walk(batch.statements, False))


def _walk(statements: tuple[ast.Statement, ...], nested: bool) -> Iterator[Found]:
    for statement in statements:
        if isinstance(statement, ast.NativeStatement):
            yield Found(statement, nested)
        else:
            yield from _walk(inner_statements(statement), True)


def inner_statements(statement: ast.Statement) -> tuple[ast.Statement, ...]:
    """The statements directly within ``statement``, in the order of the text."""
    match statement:
        case ast.Block():
            return statement.statements
        case ast.If():
            return (statement.then,) if statement.otherwise is None else (statement.then, statement.otherwise)
        case ast.While():
            return (statement.body,)
        case ast.TryCatch():
            return statement.try_ + statement.catch
        case _:
            return ()
