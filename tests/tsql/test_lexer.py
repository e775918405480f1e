"""Tokens: kinds, values, positions, the errors of the lexer."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.lexer import Kind, Token, tokenize


def one(text: str, **settings: bool) -> Token:
    tokens = tokenize(text, **settings)
    assert [token.kind for token in tokens[1:]] == [Kind.END]
    return tokens[0]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("abc", Kind.IDENT, "abc"),
        ("select", Kind.KEYWORD, "select"),
        ("Größe", Kind.IDENT, "Größe"),
        ("#t", Kind.IDENT, "#t"),
        ("##t", Kind.IDENT, "##t"),
        ("a@$#_1", Kind.IDENT, "a@$#_1"),
        ("n", Kind.IDENT, "n"),
        ("$action", Kind.IDENT, "$action"),
        ("[a]]b c]", Kind.QUOTED, "a]b c"),
        ('"a""b"', Kind.QUOTED, 'a"b'),
        ("'it''s'", Kind.STRING, "it's"),
        ("''", Kind.STRING, ""),
        ("N'x'", Kind.NSTRING, "x"),
        ("n'ж'", Kind.NSTRING, "ж"),
        ("'a\\\nb'", Kind.STRING, "ab"),
        ("'a\nb'", Kind.STRING, "a\nb"),
        ("007", Kind.INT, 7),
        ("1.50", Kind.DECIMAL, Decimal("1.50")),
        ("1.", Kind.DECIMAL, Decimal(1)),
        (".5", Kind.DECIMAL, Decimal("0.5")),
        ("1e3", Kind.FLOAT, 1000.0),
        ("1.5E-2", Kind.FLOAT, 0.015),
        ("2e", Kind.FLOAT, 2.0),
        ("$1.25", Kind.MONEY, Decimal("1.25")),
        ("£-3", Kind.MONEY, Decimal(-3)),
        ("0x", Kind.BINARY, b""),
        ("0xABC", Kind.BINARY, b"\x0a\xbc"),
        ("@v", Kind.VARIABLE, "@v"),
        ("@@RowCount", Kind.GLOBAL, "@@RowCount"),
        ("@@mine", Kind.VARIABLE, "@@mine"),
        ("+=", Kind.OP, "+="),
        ("<>", Kind.OP, "<>"),
        ("::", Kind.OP, "::"),
    ],
)
def test_one_token(text: str, kind: Kind, value: object) -> None:
    token = one(text)
    assert (token.kind, token.value, token.text) == (kind, value, text)
    assert (token.pos, token.end) == (0, len(text))


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a.b..c", ["a", ".", "b", ".", ".", "c"]),
        ("absN'x'", ["absN", "'x'"]),
        ("1else", ["1", "else"]),
        ("10x", ["10", "x"]),
        ("a--b\nc", ["a", "c"]),
        ("a/* /* b */ ' */c", ["a", "c"]),
        ("a/**/b", ["a", "b"]),
        ("x=-1", ["x", "=", "-", "1"]),
        ("@a+=1", ["@a", "+=", "1"]),
        ("a>=b", ["a", ">=", "b"]),
        ("t.1", ["t", ".1"]),
        ("\ufeffa\u00a0b", ["a", "b"]),
        (":setvar", [":", "setvar"]),
    ],
)
def test_boundaries(text: str, texts: list[str]) -> None:
    assert [token.text for token in tokenize(text)[:-1]] == texts


def test_lines_count_in_blanks_strings_and_comments() -> None:
    tokens = tokenize("a\n/* x\n/* y\n*/ */ b 'c\nd' [e\nf]\r\ng -- h\n\ni")
    assert [(token.value, token.line) for token in tokens[:-1]] == [
        ("a", 1), ("b", 4), ("c\nd", 4), ("e\nf", 5), ("g", 7), ("i", 9),
    ]  # fmt: skip


def test_double_quotes_follow_the_setting() -> None:
    assert one('"a""b"', quoted_identifier=False).kind is Kind.STRING
    assert one('"a""b"', quoted_identifier=False).value == 'a"b'


@pytest.mark.parametrize(
    ("text", "numbers", "line"),
    [
        ("a\n'b''c", (105, 102), 2),
        ("[b", (105, 102), 1),
        ("[b]]", (105, 102), 1),
        ('"b', (105, 102), 1),
        ("N'", (105, 102), 1),
        ("\n/* /* */", (113,), 2),
        ("a" * 129, (103,), 1),
        ("[" + "a" * 129 + "]", (103,), 1),
        ("@" + "a" * 128, (103,), 1),
        ("[]", (1038,), 1),
        ("1" * 39, (1007,), 1),
        ("1" * 20 + "." + "1" * 19, (1007,), 1),
        ("1e999", (168,), 1),
    ],
)
def test_errors(text: str, numbers: tuple[int, ...], line: int) -> None:
    with pytest.raises(SyntaxError_) as caught:
        tokenize(text)
    assert tuple(message.number for message in caught.value.messages) == numbers
    assert {(message.severity, message.line) for message in caught.value.messages} == {(15, line)}


@pytest.mark.parametrize("text", ["{}", "SELECT 1{}", "SELECT 1 {}-- x{}", "{}SELECT 1{}", "'a{}"])
def test_many_blanks_at_the_end_are_passed_at_once(text: str) -> None:
    """Found by the campaign ``readers``: each was tried again, which took the square of their number."""
    blanks = "\t " * 500_000
    try:
        tokens = tokenize(text.format(blanks, blanks))
    except SyntaxError_:
        assert text.startswith("'")
    else:
        assert [token.text for token in tokens] == [*text.format("", "").removesuffix("-- x").split(), ""]


def test_an_unclosed_quote_is_quoted() -> None:
    with pytest.raises(SyntaxError_) as caught:
        tokenize("select 'it''s")
    assert [message.text for message in caught.value.messages] == [
        "Unclosed quotation mark after the character string 'it's'.",
        "Incorrect syntax near 'it's'.",
    ]


@given(st.text(alphabet="aN'\"[]/*-\n @#0x1.e$=<>\\;"))
def test_tokens_tile_the_text(text: str) -> None:
    try:
        tokens = tokenize(text)
    except SyntaxError_:
        return
    for before, after in pairwise(tokens):
        assert before.end <= after.pos
        assert after.line == before.line + text.count("\n", before.pos, after.pos)
    for token in tokens[:-1]:
        assert text[token.pos : token.end] == token.text


@given(st.text())
def test_a_quoted_string_comes_back(value: str) -> None:
    token = one("N'" + value.replace("'", "''") + "'")
    assert token.value == value.replace("\\\r\n", "").replace("\\\n", "")
