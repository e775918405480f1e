"""Where the parts of a parsed batch stand in its text: another server gets them as they were written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tdsproxy.tsql import ast
from tdsproxy.tsql.gate import inner_statements
from tdsproxy.tsql.lexer import Kind, Token, tokenize


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a batch, and the line that it begins on."""

    text: str
    line: int


class Texts:
    """The texts of statements, of the expressions that may need a query, and of the queries of cursors.

    Nodes are known by identity: two that say the same may stand in different places.
    """

    def __init__(self) -> None:
        self._found: dict[int, Excerpt] = {}
        self._batches: list[ast.Batch] = []  # a node's identity is its own only while it lives

    def add(self, batch: ast.Batch, *, quoted_identifier: bool = True) -> None:
        tokens = tokenize(batch.text, quoted_identifier=quoted_identifier)
        starts = [token.pos for token in tokens]
        for statement in _every(batch.statements):
            first, last = bisect_left(starts, statement.pos), bisect_left(starts, statement.end)
            self._found[id(statement)] = Excerpt(batch.text[statement.pos : statement.end], statement.line)
            for node, start, end, line in _pieces(statement, tokens[first:last]):
                self._found[id(node)] = Excerpt(batch.text[start:end], line)
        self._batches.append(batch)

    def of(self, node: ast.Node) -> Excerpt | None:
        """The text of a node of a batch that was added."""
        return self._found.get(id(node))


def _every(statements: Sequence[ast.Statement]) -> Iterator[ast.Statement]:
    for statement in statements:
        yield statement
        yield from _every(inner_statements(statement))


Piece = tuple[ast.Node, int, int, int]


def _pieces(statement: ast.Statement, tokens: Sequence[Token]) -> Iterator[Piece]:
    """The nodes directly within a statement, with their first and last offset and line."""
    if len(tokens) < 2:
        return
    match statement:
        case ast.If():
            yield statement.condition, tokens[1].pos, statement.then.pos, tokens[1].line
        case ast.While():
            yield statement.condition, tokens[1].pos, statement.body.pos, tokens[1].line
        case ast.SetVariable() if len(tokens) > 3:
            yield statement.value, tokens[3].pos, statement.end, tokens[3].line
        case ast.Print():
            yield statement.value, tokens[1].pos, statement.end, tokens[1].line
        case ast.Return() if statement.value is not None:
            yield statement.value, tokens[1].pos, statement.end, tokens[1].line
        case ast.Declare():
            yield from _declared(statement, tokens)
        case ast.DeclareCursor():
            yield from _cursor(statement, tokens)
        case _:
            return


def _declared(statement: ast.Declare, tokens: Sequence[Token]) -> Iterator[Piece]:
    values = {item.name.lower(): item.value for item in statement.items if item.value is not None}
    for group in _split(tokens[1:]):
        value = values.get(group[0].text.lower()) if group else None
        at = next((index for index, token in enumerate(group) if token.word == "="), None)
        if value is not None and at is not None and at + 1 < len(group):
            first = group[at + 1]
            yield value, first.pos, group[-1].end, first.line


def _split(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Runs of tokens between the commas that no parenthesis encloses."""
    depth = start = 0
    for index, token in enumerate(tokens):
        depth += (token.word == "(") - (token.word == ")")
        if token.word == "," and depth == 0:
            yield tokens[start:index]
            start = index + 1
    yield tokens[start:]


def _cursor(statement: ast.DeclareCursor, tokens: Sequence[Token]) -> Iterator[Piece]:
    """The query: behind FOR, and before FOR READ ONLY or FOR UPDATE."""
    words = [token.word for token in tokens]
    if "FOR" not in words:
        return
    start = words.index("FOR") + 1
    end = len(tokens)
    depth = 0
    for index in range(start, len(tokens)):
        depth += (words[index] == "(") - (words[index] == ")")
        if depth == 0 and words[index] == "FOR" and words[index + 1 : index + 2] in (["READ"], ["UPDATE"]):
            end = index
    if start < end:
        yield statement.query, tokens[start].pos, tokens[end - 1].end, tokens[start].line


def table_body(text: str, name: str) -> str | None:
    """The parenthesis of ``@name TABLE (...)`` in a DECLARE; None when it is not there."""
    tokens = tokenize(text)
    for index, token in enumerate(tokens):
        if token.kind is not Kind.VARIABLE or token.text.lower() != name.lower():
            continue
        at = next((n for n in range(index, len(tokens)) if tokens[n].word == "("), None)
        if at is None:
            return None
        depth = 0
        for closing in tokens[at:]:
            depth += (closing.word == "(") - (closing.word == ")")
            if depth == 0:
                return text[tokens[at].pos : closing.end]
    return None
