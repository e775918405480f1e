"""What a batch with native statements is made of: parts for the upstream, and statements of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.gate import native_statements
from tdsproxy.tsql.lexer import Kind, Token, tokenize
from tdsproxy.tsql.parser import parse

STARTS: Final = frozenset({"BACKUP", "RESTORE"})
OBJECTS: Final = frozenset(
    {
        "DATABASE",
        "LOG",
        "TRAN",
        "TRANSACTION",
        "HEADERONLY",
        "FILELISTONLY",
        "LABELONLY",
        "VERIFYONLY",
        "REWINDONLY",
        "CERTIFICATE",
        "MASTER",
        "SERVICE",
        "SYMMETRIC",
    }
)
PERMISSIONS: Final = frozenset({"GRANT", "DENY", "REVOKE", "FOR", ","})


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared variable: ``name`` with its sign, ``declared`` the type as written."""

    name: str
    declared: str


@dataclass(frozen=True, slots=True)
class Part:
    """A run of the batch's other statements, then one native statement; the last part may have none.

    ``text`` is the run's source, ``line`` its first line; ``variables`` are those in scope behind it, of
    which the first ``known`` were declared before it.
    """

    text: str
    line: int
    native: ast.NativeStatement | None
    variables: tuple[Variable, ...]
    known: int

    def native_text(self, source: str) -> str:
        """The native statement's own text."""
        return "" if self.native is None else source[self.native.pos : self.native.end]


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch that is run here. ``source`` is what the positions of the statements index."""

    source: str
    parts: tuple[Part, ...]


# Statements that a batch may not leave: they would have to reach over the parts.
_BINDING: Final = (
    ast.Return,
    ast.Goto,
    ast.Label,
    ast.DeclareCursor,
    ast.CursorAction,
    ast.Fetch,
    ast.Throw,
    ast.Transaction,  # its descriptor has to be in every request that follows
    ast.CreateProcedure,
    ast.CreateFunction,
    ast.CreateTrigger,
    ast.CreateView,
)


def make_plan(text: str, *, quoted_identifier: bool = True, declared: Sequence[Variable] = ()) -> Plan | None:
    """The plan for a batch, or None when it is the upstream's: no native statement at the top level, one
    within control flow, or statements that can't be taken apart.

    ``declared`` are variables that are there before the batch begins (an RPC's parameters). Raises
    SyntaxError_ when a native statement can't be parsed.
    """
    try:
        batch = parse(text, quoted_identifier=quoted_identifier)
    except SyntaxError_ as error:
        if is_native_error(error, text, quoted_identifier=quoted_identifier):
            raise
        return None
    found = native_statements(batch)
    if not found or any(each.nested for each in found):
        return None
    if any(isinstance(each, _BINDING) for each in batch.statements):
        return None
    return _divide(batch, tuple(declared))


def is_native_error(error: SyntaxError_, text: str, *, quoted_identifier: bool) -> bool:
    """Whether the text fails at, or behind, its first native statement: what stands before it fails
    otherwise when it is all there is."""
    native = first_native(text)
    if native is None or error.messages[0].line < native.line:
        return False
    try:
        parse(text[: native.pos], quoted_identifier=quoted_identifier)
    except SyntaxError_ as before:
        return before.messages != error.messages
    return True


def first_native(text: str) -> Token | None:
    """The first BACKUP or RESTORE in statement position; None when the words stand elsewhere: in strings,
    comments and names, or as the permission of a GRANT."""
    try:
        tokens = tokenize(text)
    except SyntaxError_:
        return None
    before = ""
    for token, after in pairwise(tokens):
        if token.kind is Kind.KEYWORD and token.word in STARTS and before not in PERMISSIONS:
            named = after.kind in (Kind.KEYWORD, Kind.IDENT) and after.word in OBJECTS
            if named or after.kind is Kind.END:
                return token
        before = token.word
    return None


def _divide(batch: ast.Batch, declared: tuple[Variable, ...]) -> Plan | None:
    source = batch.text
    parts: list[Part] = []
    variables = list(declared)
    known = len(variables)
    start, line = 0, 1
    empty = True
    for statement in batch.statements:
        if isinstance(statement, ast.Declare):
            for item in statement.items:
                if item.type is None:
                    return None  # a table variable ends with its batch
                variables.append(Variable(item.name, type_text(item.type)))
        if isinstance(statement, ast.NativeStatement):
            text = "" if empty else source[start : statement.pos]
            parts.append(Part(text, line, statement, tuple(variables), known))
            known = len(variables)
            start, empty = statement.end, True
            if source[start : start + 1] == ";":
                start += 1
            line = 1 + source.count("\n", 0, start)
        else:
            empty = False
    if not empty:
        parts.append(Part(source[start:], line, None, tuple(variables), known))
    return Plan(source, tuple(parts))


def type_text(name: ast.TypeName) -> str:
    """A type as it is written in a DECLARE."""
    if name.type is not None:
        return str(name.type)
    parts = [part for part in (name.name.schema, name.name.object) if part is not None]
    return ".".join(f"[{part.replace(']', ']]')}]" for part in parts)
