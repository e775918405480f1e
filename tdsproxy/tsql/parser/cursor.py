"""Walking over the tokens of one batch: the lowest layer of the parser."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.lexer import Kind, Token, error, near, tokenize

NAME_KINDS: Final = frozenset({Kind.IDENT, Kind.QUOTED})
STRING_KINDS: Final = frozenset({Kind.STRING, Kind.NSTRING})
MAX_DEPTH: Final = 120
"""How deep expressions, queries and blocks may nest before error 191."""


class Cursor:
    """The current token ``tok`` and the ways to look at it and to go on."""

    def __init__(self, text: str, *, quoted_identifier: bool = True, line: int = 1) -> None:
        self.text = text
        self.tokens = tokenize(text, quoted_identifier=quoted_identifier, line=line)
        self.index = 0
        self.tok = self.tokens[0]
        self.depth = 0

    # ------------------------------------------------------------------ looking

    def peek(self, distance: int = 1) -> Token:
        """The token ``distance`` places on; the END token beyond the last."""
        index = self.index + distance
        return self.tokens[index] if index < len(self.tokens) else self.tokens[-1]

    def at(self, *words: str) -> bool:
        """Whether the current token is one of ``words`` (upper case) or signs."""
        return self.tok.word in words

    def at_words(self, *words: str) -> bool:
        """Whether the next tokens are ``words`` in this order."""
        if self.tok.word != words[0]:
            return False
        return all(self.peek(i).word == word for i, word in enumerate(words[1:], 1))

    @property
    def at_end(self) -> bool:
        return self.tok.kind is Kind.END

    @property
    def at_name(self) -> bool:
        return self.tok.kind in NAME_KINDS

    @property
    def at_label(self) -> bool:
        """``name:``, which no clause may take for its own word."""
        following = self.peek()
        return self.tok.kind is Kind.IDENT and following.word == ":" and following.pos == self.tok.end

    @property
    def last(self) -> Token:
        """The token before the current one."""
        return self.tokens[self.index - 1] if self.index else self.tokens[0]

    # ------------------------------------------------------------------ going on

    def advance(self) -> Token:
        """Step over the current token and return it. END is never passed."""
        token = self.tok
        if token.kind is not Kind.END:
            self.index += 1
            self.tok = self.tokens[self.index]
        return token

    def accept(self, *words: str) -> bool:
        """Step over the current token if it is one of ``words``."""
        if self.tok.word in words:
            self.advance()
            return True
        return False

    def accept_words(self, *words: str) -> bool:
        """Step over all of ``words`` if they stand here in this order."""
        if not self.at_words(*words):
            return False
        for _ in words:
            self.advance()
        return True

    def expect(self, *words: str) -> Token:
        """Step over one of ``words``; anything else is a syntax error."""
        if self.tok.word not in words:
            raise self.error()
        return self.advance()

    def name(self) -> str:
        """An identifier, bare or in brackets or quotes."""
        if self.tok.kind not in NAME_KINDS:
            raise self.error()
        return str(self.advance().value)

    def collation_name(self) -> str:
        """A collation's name, which is never in brackets."""
        if self.tok.kind is Kind.QUOTED:
            raise self.error()
        return self.name()

    def word(self) -> str:
        """A bare word, reserved or not, in upper case."""
        if self.tok.kind not in (Kind.IDENT, Kind.KEYWORD):
            raise self.error()
        return self.advance().word

    def variable(self) -> str:
        """A local variable's name with its sign."""
        if self.tok.kind is not Kind.VARIABLE:
            raise self.error()
        return str(self.advance().value)

    def string(self) -> str:
        if self.tok.kind not in STRING_KINDS:
            raise self.error()
        return str(self.advance().value)

    def integer(self) -> int:
        """An integer literal, possibly with a sign."""
        negative = self.accept("-")
        if not negative:
            self.accept("+")
        if self.tok.kind is not Kind.INT:
            raise self.error()
        number = int(self.advance().text)
        return -number if negative else number

    def names(self) -> tuple[str, ...]:
        """A comma list of identifiers."""
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        return tuple(found)

    def name_list(self) -> tuple[str, ...]:
        """A comma list of identifiers in parentheses."""
        self.expect("(")
        found = self.names()
        self.expect(")")
        return found

    def object_name(self, most: int = 4) -> ast.Name:
        """``[[[server.]database.]schema.]object``; parts may be left out: ``db..t``. More than ``most`` parts
        are error 117."""
        start = self.tok
        parts = ["" if self.at(".") else self.name()]
        while self.at("."):
            self.advance()
            parts.append("" if self.at(".") else self.name())
        if len(parts) > most:
            text = ".".join(parts)
            raise error(
                117,
                f"The object name '{text}' contains more than the maximum number of prefixes. "
                f"The maximum is {most - 1}.",
                start.line,
            )
        return self.qualified(parts, start)

    def local_name(self, statement: str) -> ast.Name:
        """The name of an object in the current database; error 166 for another one's."""
        token = self.tok
        name = self.object_name(3)
        if name.database is not None:
            raise error(
                166,
                f"'{statement}' does not allow specifying the database name as a prefix to the object name.",
                token.line,
            )
        return name

    def qualified(self, parts: list[str], start: Token) -> ast.Name:
        """The name of at most four ``parts``, "" where one was left out."""
        padded: list[str | None] = [None, None, None, None, *(part or None for part in parts)]
        server, database, schema, name = padded[-4:]
        return ast.Name(name or "", schema, database, server, pos=start.pos, line=start.line)

    def skip_parentheses(self) -> None:
        """Step over a parenthesised group whatever it holds."""
        self.expect("(")
        depth = 1
        while depth:
            if self.at_end:
                raise self.error()
            depth += {"(": 1, ")": -1}.get(self.advance().word, 0)

    def source(self, start: Token) -> str:
        """The text from ``start`` up to the last token stepped over."""
        return self.text[start.pos : self.last.end]

    # ------------------------------------------------------------------ errors

    def error(self, token: Token | None = None) -> SyntaxError_:
        """102 or 156 near ``token``, or near the current one."""
        return near(self.tokens, token or self.tok)

    def deeper(self) -> None:
        """Count one level of nesting; the caller takes it back with ``shallower``."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.too_deep()

    def too_deep(self) -> SyntaxError_:
        return error(
            191,
            "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into "
            "smaller queries.",
            self.tok.line,
        )

    def shallower(self) -> None:
        self.depth -= 1
