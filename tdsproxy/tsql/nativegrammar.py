"""BACKUP and RESTORE on lark: our tokens in, the syntax tree of one statement out.

The statement's end is found by the grammar itself: tokens are fed to the LALR parser one by one, and the
first that it cannot take where the statement may end begins the next statement. What a bare word is,
keyword or name or option, follows from what the parser can take at that point.

Importing lark and building the tables takes about a tenth of a second, so this module is imported when the
first native statement is met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from lark import Lark, Transformer
from lark import Token as LarkToken
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer
from lark.parsers.lalr_interactive_parser import InteractiveParser

from tdsproxy.tsql import ast, options
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.lexer import Kind, Token, error, near
from tdsproxy.tsql.resources import grammar_text

_SIGNS: Final = {",": "_COMMA", "=": "_EQUAL", "(": "_LPAR", ")": "_RPAR", "-": "MINUS", "+": "PLUS"}
_VALUES: Final = {
    Kind.QUOTED: "NAME",
    Kind.VARIABLE: "VARIABLE",
    Kind.STRING: "STRING",
    Kind.NSTRING: "STRING",
    Kind.INT: "INTEGER",
}
_DEVICES: Final = frozenset({"DISK", "TAPE", "URL", "VIRTUAL_DEVICE", "DATABASE_SNAPSHOT", "PIPE"})
_END: Final = "$END"


def read_native(tokens: Sequence[Token], index: int) -> tuple[ast.Backup | ast.Restore, int]:
    """Read the statement that begins with BACKUP or RESTORE at ``tokens[index]``.

    Returns it, with its span, and the index of the first token behind it. Raises SyntaxError_: 102, 156, or
    155 for a word behind WITH that is no option of the statement.
    """
    first = tokens[index]
    parser = _grammar().parse_interactive(start=first.word.lower())
    while True:
        token = tokens[index]
        choices = _choices(parser)
        terminal = _terminal(first.word, tokens, index, choices)
        if terminal is None:
            break
        _feed(parser, terminal, token, tokens)
        index += 1
    if _END not in _choices(parser):
        raise near(tokens, tokens[index])
    statement = _feed(parser, _END, tokens[index], tokens)
    assert isinstance(statement, ast.Backup | ast.Restore)
    return _placed(statement, first, tokens[index - 1]), index


def _placed(statement: ast.Backup | ast.Restore, first: Token, last: Token) -> ast.Backup | ast.Restore:
    return ast.replace(statement, pos=first.pos, end=last.end, line=first.line)


def _feed(parser: InteractiveParser, terminal: str, token: Token, tokens: Sequence[Token]) -> object:
    found = LarkToken(terminal, token)
    found.value = token
    try:
        return parser.feed_token(found)
    except UnexpectedToken as unexpected:
        raise near(tokens, token) from unexpected


def _choices(parser: InteractiveParser) -> Mapping[str, object]:
    """The terminals that the parser can take now."""
    found: Mapping[str, object] = parser.choices()  # type: ignore[no-untyped-call]
    return found


def _terminal(
    statement: str, tokens: Sequence[Token], index: int, choices: Mapping[str, object]
) -> str | None:
    """The terminal that ``tokens[index]`` is here; None when the statement cannot go on with it."""
    token = tokens[index]
    found: str | None
    if token.kind is Kind.OP:
        found = _SIGNS.get(token.word)
    elif token.kind in (Kind.IDENT, Kind.KEYWORD):
        found = _word(statement, tokens, index, choices)
    else:
        found = _VALUES.get(token.kind)
    return found if found in choices else None


def _word(statement: str, tokens: Sequence[Token], index: int, choices: Mapping[str, object]) -> str | None:
    token = tokens[index]
    word = token.word
    if options.OptionKind.FLAG.value in choices:
        return _option(statement, token)
    if "DEVICE" in choices and word in _DEVICES and tokens[index + 1].word == "=":
        return "DEVICE"
    if word in choices:
        return word
    if "_" + word in choices:
        return "_" + word
    return "NAME" if token.kind is Kind.IDENT else None


def _option(statement: str, token: Token) -> str | None:
    known = options.lookup(statement, token.word)
    if known is not None:
        return known.kind.value
    if token.kind is Kind.KEYWORD:
        return None
    raise _unknown_option(statement, token)


def _unknown_option(statement: str, token: Token) -> SyntaxError_:
    return error(155, f"'{token.text}' is not a recognized {statement} option.", token.line)


class _NoLexer(Lexer):
    """Tokens are fed one by one; lark lexes nothing."""

    def __init__(self, conf: object) -> None:
        self.conf = conf

    def lex(self, *_: object) -> Iterator[LarkToken]:
        return iter(())


class _Builder(Transformer[LarkToken, object]):
    """One method for each rule or alias of ``grammar/native.lark``; a terminal's value is our token."""

    def backup(self, parts: list[Any]) -> ast.Backup:
        kind, database, devices, mirrors, found = parts
        return ast.Backup(kind, database, devices, mirrors, found)

    def backup_files(self, parts: list[Any]) -> ast.Backup:
        kind, database, files, devices, mirrors, found = parts
        return ast.Backup(kind, database, devices, mirrors, found, files)

    def backup_group(self, parts: list[Any]) -> ast.Backup:
        _, group, devices, found = parts
        return ast.Backup("GROUP", group[0], devices, (), found, group=group)

    def backup_server(self, parts: list[Any]) -> ast.Backup:
        _, devices, found = parts
        return ast.Backup("SERVER", ast.Operand(), devices, (), found)

    def backup_kind(self, parts: list[LarkToken]) -> str:
        return _token(parts[0]).word

    restore_kind = backup_kind
    media_kind = backup_kind

    def group(self, parts: list[ast.Operand]) -> tuple[ast.Operand, ...]:
        return tuple(parts)

    texts = group

    def mirrors(self, parts: list[tuple[ast.Device, ...]]) -> tuple[tuple[ast.Device, ...], ...]:
        return tuple(parts)

    def mirror(self, parts: list[tuple[ast.Device, ...]]) -> tuple[ast.Device, ...]:
        return parts[0]

    def restore(self, parts: list[Any]) -> ast.Restore:
        kind, database, devices, found = parts
        return ast.Restore(kind, database, devices, found)

    def restore_files(self, parts: list[Any]) -> ast.Restore:
        kind, database, files, devices, found = parts
        return ast.Restore(kind, database, devices, found, files)

    def restore_state(self, parts: list[Any]) -> ast.Restore:
        kind, database, found = parts
        return ast.Restore(kind, database, (), found)

    def restore_media(self, parts: list[Any]) -> ast.Restore:
        kind, devices, found = parts
        return ast.Restore(kind, None, devices, found)

    def selections(self, parts: list[tuple[tuple[str, ast.Operand | None], ...]]) -> tuple[object, ...]:
        return tuple(selection for group in parts for selection in group)

    def selection(self, parts: list[Any]) -> tuple[tuple[str, ast.Operand | None], ...]:
        word = _token(parts[0]).word
        if len(parts) == 1:
            return ((word, None),)
        return tuple((word, operand) for operand in parts[1])

    def devices(self, parts: list[ast.Device]) -> tuple[ast.Device, ...]:
        return tuple(parts)

    def physical_device(self, parts: list[Any]) -> ast.Device:
        return ast.Device(_token(parts[0]).word, parts[1])

    def logical_device(self, parts: list[ast.Operand]) -> ast.Device:
        return ast.Device("LOGICAL", parts[0])

    def options(self, parts: list[tuple[ast.Option, ...]]) -> tuple[ast.Option, ...]:
        return parts[0] if parts else ()

    def with_options(self, parts: list[ast.Option]) -> tuple[ast.Option, ...]:
        return tuple(parts)

    def option(self, parts: list[Any]) -> ast.Option:
        token = _token(parts[0])
        values = tuple(part for part in parts[1:] if isinstance(part, ast.Operand))
        arguments = tuple(part for part in parts[1:] if isinstance(part, tuple))
        return ast.Option(token.word, values, arguments, pos=token.pos, line=token.line)

    def encryption(self, parts: list[Any]) -> ast.Option:
        token = _token(parts[0])
        word, operand = parts[3]
        arguments = (parts[1], (f"SERVER {word}", operand))
        return ast.Option(token.word, (), arguments, pos=token.pos, line=token.line)

    def argument(self, parts: list[Any]) -> tuple[str, ast.Operand]:
        word = _token(parts[0]).word
        return ("ASYMMETRIC KEY" if word == "ASYMMETRIC" else word), parts[-1]

    def operand(self, parts: list[LarkToken]) -> ast.Operand:
        token = _token(parts[0])
        if token.kind is Kind.VARIABLE:
            return ast.Operand(None, str(token.value), pos=token.pos, line=token.line)
        return ast.Operand(str(token.value), identifier=True, pos=token.pos, line=token.line)

    identifier = operand

    def text(self, parts: list[Any]) -> ast.Operand:
        if isinstance(parts[0], ast.Operand):
            return parts[0]
        token = _token(parts[0])
        if token.kind is Kind.VARIABLE:
            return ast.Operand(None, str(token.value), pos=token.pos, line=token.line)
        value = int(token.text) if token.kind is Kind.INT else str(token.value)
        return ast.Operand(value, pos=token.pos, line=token.line)

    any = text
    count = text

    def number(self, parts: list[LarkToken]) -> ast.Operand:
        return self.text(parts[-1:])

    def negative(self, parts: list[LarkToken]) -> ast.Operand:
        token = _token(parts[1])
        return ast.Operand(-int(token.text), pos=token.pos, line=token.line)


def _token(found: LarkToken) -> Token:
    value = found.value
    assert isinstance(value, Token)
    return value


@cache
def _grammar() -> Lark:
    return Lark(
        grammar_text("native.lark"),
        parser="lalr",
        lexer=_NoLexer,
        start=["backup", "restore"],
        maybe_placeholders=False,
        strict=True,
        transformer=_Builder(),
    )
