"""Statements as they may be shown in a log: without the secrets that are written in them."""

from __future__ import annotations

import re
from typing import Final

from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.lexer import Kind, Token, tokenize

MASK: Final = "'***'"

_SECRETS: Final = frozenset({"PASSWORD", "MEDIAPASSWORD", "OLD_PASSWORD", "SECRET", "KEY_SOURCE", "BINARY"})
"""Words whose value is a secret; BINARY begins a certificate or key written out."""

_VALUES: Final = frozenset({Kind.STRING, Kind.NSTRING, Kind.BINARY, Kind.INT, Kind.QUOTED})
_SIGNATURE: Final = re.compile(r"([?&](?:sig|X-Amz-Signature|X-Amz-Credential)=)[^&'\"\s]*", re.IGNORECASE)
_USER: Final = re.compile(r"(://[^/'\":@\s]*:)[^/'\"@\s]*@")
_LITERAL: Final = re.compile(r"[Nn]?'(?:[^']|'')*+'?|0[xX][0-9A-Fa-f]+")


def masked(text: str, *, quoted_identifier: bool = True) -> str:
    """``text`` with ``'***'`` in place of passwords, secrets and keys, and without the signatures in URLs.
    Of a text that can't be read no literal is shown at all."""
    try:
        tokens = tokenize(text, quoted_identifier=quoted_identifier)
    except SyntaxError_:
        return _LITERAL.sub(MASK, text)
    out: list[str] = []
    done = 0
    for value in _secret_values(tokens):
        out += [text[done : value.pos], MASK]
        done = value.end
    out.append(text[done:])
    shown = _SIGNATURE.sub(r"\1***", "".join(out))
    return _USER.sub(r"\1***@", shown)


def _secret_values(tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    for index, token in enumerate(tokens):
        if token.word not in _SECRETS:
            continue
        following = index + 1
        while tokens[following].word in ("=", "(") or tokens[following].word in _SECRETS:
            following += 1
        if following > index + 1 and tokens[following].kind in _VALUES:
            found.append(tokens[following])
    return sorted(set(found), key=lambda token: token.pos)
