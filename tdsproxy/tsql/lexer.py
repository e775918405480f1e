"""T-SQL text into tokens.

One compiled alternation does the work; only nested comments are followed by hand. Comments and blanks
are dropped. Positions are offsets in the Python string; lines count line feeds from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.resources import reserved_words


class Kind(IntEnum):
    """What a token is. IDENT is a word that is not reserved, KEYWORD one that is."""

    IDENT = 1
    QUOTED = 2
    KEYWORD = 3
    STRING = 4
    NSTRING = 5
    INT = 6
    DECIMAL = 7
    FLOAT = 8
    MONEY = 9
    BINARY = 10
    VARIABLE = 11
    GLOBAL = 12
    OP = 13
    END = 14


class Token(NamedTuple):
    """``word`` is what the grammar compares: a bare word in upper case, an operator as it stands, ``""`` for
    everything else. ``value`` is the decoded value: the name without its brackets, the string without its
    quotes, int, Decimal, float or bytes."""

    kind: Kind
    text: str
    word: str
    value: str | int | float | Decimal | bytes
    pos: int
    end: int
    line: int


_PATTERN = re.compile(
    r"""
    [ \t]*+ (?:
      (?P<string>[Nn]?'(?:[^']++|'')*+'?+)
    | (?P<word>(?:[^\W\d]|\#)[\w@$\#]*+)
    | (?P<sign>[,();=]|\.(?!\d))
    | (?P<variable>@(?!@)[\w@$\#]*+)
    | (?P<binary>0[xX][0-9a-fA-F]*+)
    | (?P<number>(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE](?:[+-]?\d++|(?![A-Za-z_\d])))?+)
    # The end is a blank, too: else blanks before it would be tried from each of them on.
    | (?P<blank>[\s\ufeff]++|--[^\n]*+|/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/|\Z)
    | (?P<comment>/\*)
    | (?P<bracket>\[(?:[^\]]++|\]\])*+\]?+)
    | (?P<global>@@[\w@$\#]*+)
    | (?P<money>[$£¥€¤¢]\s*[+-]?(?:\d++(?:\.\d*+)?|\.\d++))
    | (?P<doubled>"(?:[^"]++|"")*+"?+)
    | (?P<pseudo>\$[A-Za-z][\w]*+)
    | (?P<op>[-+*/%&|^]=|<>|!=|!<|!>|<=|>=|::|.)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_CONTINUATION = re.compile(r"\\\r?\n")
_QUOTE_LIMIT = 128
_OP: Final = Kind.OP

GLOBAL_VARIABLES: Final = frozenset(
    """
    @@CONNECTIONS @@CPU_BUSY @@CURSOR_ROWS @@DATEFIRST @@DBTS @@ERROR @@FETCH_STATUS @@IDENTITY @@IDLE
    @@IO_BUSY @@LANGID @@LANGUAGE @@LOCK_TIMEOUT @@MAX_CONNECTIONS @@MAX_PRECISION @@MICROSOFTVERSION
    @@NESTLEVEL @@OPTIONS @@PACK_RECEIVED @@PACK_SENT @@PACKET_ERRORS @@PROCID @@REMSERVER @@ROWCOUNT
    @@SERVERNAME @@SERVICENAME @@SPID @@TEXTSIZE @@TIMETICKS @@TOTAL_ERRORS @@TOTAL_READ @@TOTAL_WRITE
    @@TRANCOUNT @@VERSION
    """.split()  # noqa: SIM905
)
"""The functions written with two signs, in upper case; any other ``@@name`` is a local variable."""


def tokenize(text: str, *, quoted_identifier: bool = True, line: int = 1) -> list[Token]:
    """Return the tokens of ``text`` with one END token behind them.

    ``"x"`` is an identifier or, without ``quoted_identifier``, a string; ``line`` numbers the first line.
    Raises SyntaxError_: 105 (unclosed quotation mark), 113 (unclosed comment), 103 (name too long), 1007
    (number too big), 1038 (empty name).
    """
    tokens: list[Token] = []
    append, new, classes = tokens.append, tuple.__new__, dict(_reserved_entries())
    special = _SPECIAL if quoted_identifier else _SPECIAL | {"doubled": _doubled_string}
    pos, length = 0, len(text)
    while pos < length:
        for found in _PATTERN.finditer(text, pos):
            group = found.lastgroup
            if group is None:
                continue
            start, pos = found.span(group)
            if group == "blank":
                line += text.count("\n", start, pos)
                continue
            part = text[start:pos]
            if group == "word":
                entry = classes.get(part)
                if entry is None:
                    entry = classes[part] = _word(part, line)
                append(new(Token, (entry[0], part, entry[1], part, start, pos, line)))
            elif group == "sign" or group == "op":
                append(new(Token, (_OP, part, part, part, start, pos, line)))
            elif group == "comment":
                pos = _comment_end(text, pos, line)
                line += text.count("\n", start, pos)
                break
            else:
                append(special[group](part, start, pos, line))
                line += part.count("\n")
        else:
            break
    append(Token(Kind.END, "", "", "", length, length, line))
    return tokens


@cache
def _reserved_entries() -> dict[str, tuple[Kind, str]]:
    entries: dict[str, tuple[Kind, str]] = {}
    for word in reserved_words():
        entries[word] = (Kind.KEYWORD, word)
        entries[word.lower()] = (Kind.KEYWORD, word)
    return entries


def _word(part: str, line: int) -> tuple[Kind, str]:
    upper = part.upper()
    if upper in reserved_words():
        return Kind.KEYWORD, upper
    _short(part, line)
    return Kind.IDENT, upper


def _short(name: str, line: int) -> str:
    if len(name) > 128:
        raise error(
            103,
            f"The identifier that starts with '{name[:128]}' is too long. Maximum length is 128.",
            line,
            4,
        )
    return name


def _string(part: str, start: int, end: int, line: int) -> Token:
    national = part[0] != "'"
    value = _unquote(part[1:] if national else part, "'", line)
    return Token(Kind.NSTRING if national else Kind.STRING, part, "", value, start, end, line)


def _delimited(part: str, close: str, start: int, end: int, line: int) -> Token:
    value = _unquote(part, close, line)
    if not value:
        raise error(
            1038,
            "An object or column name is missing or empty. For SELECT INTO statements, verify each column "
            "has a name. For other statements, look for empty alias names. Aliases defined as "
            '"" or [] are not allowed. Change the alias to a valid name.',
            line,
            4,
        )
    return Token(Kind.QUOTED, part, "", _short(value, line), start, end, line)


def _unquote(part: str, close: str, line: int) -> str:
    """The content of a quoted part, whose closing sign the pattern leaves optional."""
    content = part[1:]
    if not content.endswith(close) or (len(content) - len(content.rstrip(close))) % 2 == 0:
        rest = content.replace(close + close, close)
        shown = rest[:_QUOTE_LIMIT]
        raise SyntaxError_(
            Message(105, 15, 1, f"Unclosed quotation mark after the character string '{shown}'.", line),
            Message(102, 15, 1, f"Incorrect syntax near '{shown}'.", line),
        )
    content = content[:-1]
    if close in content:
        content = content.replace(close + close, close)
    if "\\" in content and close != "]":
        content = _CONTINUATION.sub("", content)
    return content


def _number(part: str, start: int, end: int, line: int) -> Token:
    if part.isdigit():
        digits = part.lstrip("0")
        if len(digits) > 38:
            raise _too_big(part, line)
        return Token(Kind.INT, part, "", int(digits or "0"), start, end, line)
    if "e" in part or "E" in part:
        number = float(part if part[-1].isdigit() else part.rstrip("eE+-") + "e0")
        if number in (float("inf"), float("-inf")):
            raise error(
                168,
                f"The floating point value '{part}' is out of the range of computer representation "
                "(8 bytes).",
                line,
            )
        return Token(Kind.FLOAT, part, "", number, start, end, line)
    if len(part.replace(".", "").lstrip("0")) > 38:
        raise _too_big(part, line)
    return Token(Kind.DECIMAL, part, "", Decimal(part), start, end, line)


def _too_big(part: str, line: int) -> SyntaxError_:
    return error(
        1007,
        f"The number '{part}' is out of the range for numeric representation (maximum precision 38).",
        line,
    )


def _variable(part: str, start: int, end: int, line: int) -> Token:
    return Token(Kind.VARIABLE, part, "", _short(part, line), start, end, line)


def _global(part: str, start: int, end: int, line: int) -> Token:
    kind = Kind.GLOBAL if part.upper() in GLOBAL_VARIABLES else Kind.VARIABLE
    return Token(kind, part, "", part, start, end, line)


def _binary(part: str, start: int, end: int, line: int) -> Token:
    digits = part[2:]
    return Token(Kind.BINARY, part, "", bytes.fromhex("0" * (len(digits) % 2) + digits), start, end, line)


def _money(part: str, start: int, end: int, line: int) -> Token:
    return Token(Kind.MONEY, part, "", Decimal("".join(part[1:].split())), start, end, line)


def _bracketed(part: str, start: int, end: int, line: int) -> Token:
    return _delimited(part, "]", start, end, line)


def _doubled(part: str, start: int, end: int, line: int) -> Token:
    return _delimited(part, '"', start, end, line)


def _doubled_string(part: str, start: int, end: int, line: int) -> Token:
    return Token(Kind.STRING, part, "", _unquote(part, '"', line), start, end, line)


def _pseudo_column(part: str, start: int, end: int, line: int) -> Token:
    return Token(Kind.IDENT, part, part.upper(), part, start, end, line)


_SPECIAL: Final[dict[str, Callable[[str, int, int, int], Token]]] = {
    "string": _string,
    "variable": _variable,
    "number": _number,
    "bracket": _bracketed,
    "global": _global,
    "binary": _binary,
    "money": _money,
    "doubled": _doubled,
    "pseudo": _pseudo_column,
}


def _comment_end(text: str, pos: int, line: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, pos)
        if edge is None:
            raise error(113, "Missing end comment mark '*/'.", line)
        depth += 1 if edge.group() == "/*" else -1
        pos = edge.end()
    return pos


def error(number: int, text: str, line: int, state: int = 1, severity: int = 15) -> SyntaxError_:
    """The exception for one message of the parser."""
    return SyntaxError_(Message(number, severity, state, text, line))


_WITH: Final = (
    "Incorrect syntax near the keyword 'with'. If this statement is a common table expression, an "
    "xmlnamespaces clause or a change tracking context "
    "clause, the previous statement must be terminated with a semicolon."
)


def near(tokens: Sequence[Token], token: Token) -> SyntaxError_:
    """The syntax error at ``token``: 156 for a reserved word, 319 for WITH, else 102. At the end of the batch
    SQL Server names the last token, with 102 whatever it is."""
    if token.kind is Kind.END:
        last = tokens[-2] if len(tokens) > 1 else token
        return error(102, f"Incorrect syntax near '{shown(last)}'.", last.line)
    if token.word == "WITH":
        return error(319, _WITH, token.line)
    if token.kind is Kind.KEYWORD:
        return error(156, f"Incorrect syntax near the keyword '{token.text}'.", token.line)
    return error(102, f"Incorrect syntax near '{shown(token)}'.", token.line)


def shown(token: Token) -> str:
    """A token as messages quote it: names and strings without their quotes."""
    if token.kind in (Kind.QUOTED, Kind.STRING, Kind.NSTRING):
        return str(token.value)[:_QUOTE_LIMIT]
    return token.text[:_QUOTE_LIMIT]
