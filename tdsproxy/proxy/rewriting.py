"""Statements as another server can run them on their own: with the values that the proxy keeps.

Scalar variables are declared in front; table variables are temporary tables, as they have to outlive a batch;
what the interpreter knows better than the server (@@ERROR, ERROR_MESSAGE() ...) becomes a literal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tdsproxy.proxy.exchange import Statement
from tdsproxy.proxy.literals import literal
from tdsproxy.proxy.texts import Excerpt
from tdsproxy.tsql import types as t
from tdsproxy.tsql.environment import own_global
from tdsproxy.tsql.functions.registry import CaughtError
from tdsproxy.tsql.lexer import Kind, Token, tokenize
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import Frame

TABLES: Final = "upstream tables"
"""In ``Frame.storage``: the temporary tables of the frame's table variables, by name in lower case."""

_KEPT: Final = frozenset({"@@ERROR", "@@ROWCOUNT", "@@FETCH_STATUS", "@@CURSOR_ROWS", "@@NESTLEVEL"})
_UNDECLARABLE: Final = frozenset({"cursor", "table", "null"})
_CAUGHT: Final[Mapping[str, Callable[[CaughtError], TypedValue]]] = {
    "ERROR_NUMBER": lambda error: TypedValue(error.number, t.INT),
    "ERROR_SEVERITY": lambda error: TypedValue(error.severity, t.INT),
    "ERROR_STATE": lambda error: TypedValue(error.state, t.INT),
    "ERROR_LINE": lambda error: TypedValue(error.line, t.INT),
    "ERROR_MESSAGE": lambda error: TypedValue(error.message, t.nvarchar(4000)),
    "ERROR_PROCEDURE": lambda error: TypedValue(error.procedure, t.nvarchar(128)),
}


def tables_of(frame: Frame) -> dict[str, str]:
    """The temporary tables that stand for the frame's table variables."""
    found = frame.storage.setdefault(TABLES, {})
    if not isinstance(found, dict):
        raise TypeError("not a frame of this evaluator")
    return found


def statement(excerpt: Excerpt, frame: Frame, before: str = "") -> Statement:
    """``excerpt`` to be run for ``frame``; ``before`` goes in front of it."""
    text, names, caught = _rewritten(excerpt.text, frame)
    declared = ", ".join([*caught, *(_declaration(name, frame) for name in names)])
    declare = f"DECLARE {declared}; " if declared else ""
    return Statement(text, excerpt.line, before + declare, tuple(names))


def _declaration(name: str, frame: Frame) -> str:
    cell = frame.variables[name.lower()]
    return f"{name} {cell.type} = {literal(cell.value, cell.type)}"


def _rewritten(text: str, frame: Frame) -> tuple[str, list[str], list[str]]:
    """The text with its replacements, the scalar variables that it names, and the declarations of those that
    stand for the caught error: like the functions they can be NULL."""
    tokens = tokenize(text, quoted_identifier=frame.options.quoted_identifier)
    tables = tables_of(frame)
    names: dict[str, str] = {}
    caught: dict[str, str] = {}
    parts: list[str] = []
    done = 0
    index = 0
    while index < len(tokens):
        token = tokens[index]
        new: str | None = None
        last = index
        if token.kind is Kind.VARIABLE:
            key = token.text.lower()
            cell = frame.variables.get(key)
            if key in tables:
                new = tables[key]
            elif cell is not None and cell.type.name not in _UNDECLARABLE:
                names.setdefault(key, token.text)
        elif token.kind is Kind.GLOBAL and token.text.upper() in _KEPT:
            kept = own_global(token.text, frame)
            new = None if kept is None else literal(kept.value, kept.type)
        elif token.word in _CAUGHT and _is_call(tokens, index):
            new = f"@tdsproxy_{token.word}"
            caught[token.word] = f"{new} {_caught(token.word, frame)}"
            last = index + 2
        if new is not None:
            parts += [text[done : token.pos], new]
            done = tokens[last].end
        index = last + 1
    parts.append(text[done:])
    return "".join(parts), list(names.values()), list(caught.values())


def _is_call(tokens: list[Token], index: int) -> bool:
    return [token.word for token in tokens[index + 1 : index + 3]] == ["(", ")"]


def _caught(word: str, frame: Frame) -> str:
    caught = frame.session.caught
    found = _CAUGHT[word](caught[-1] if caught else CaughtError(0, 0, 0, "", 0))
    return f"{found.type} = {literal(found.value if caught else None, found.type)}"
