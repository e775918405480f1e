"""Batches that were parsed before: drivers send the same text again and again, with other parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tdsproxy.store.encoding import storable_text
from tdsproxy.tsql import ast, binding
from tdsproxy.tsql.parser import parse

MOST: Final = 256
LONGEST: Final = 4000
"""Characters of a text that is kept: longer ones are scripts, which run once."""

_SECRET: Final = ("PASSWORD", "SECRET", "LOGIN", "PWD")


class ParsedBatches:
    """The syntax trees of the texts used last, for all sessions of an engine. From any thread."""

    def __init__(self) -> None:
        self._kept = lru_cache(maxsize=MOST)(_parse)
        self._batches = lru_cache(maxsize=MOST)(_checked)

    def checked(self, text: str, *, quoted_identifier: bool) -> ast.Batch:
        """A batch of a client, which declares its own variables: as ``parse``, and checked as the interpreter
        checks it. Raises SyntaxError_."""
        if not may_be_kept(text):
            return _checked(text, quoted_identifier)
        return self._batches(text, quoted_identifier)

    def parse(self, text: str, *, quoted_identifier: bool) -> ast.Batch:
        """As ``tsql.parser.parse``. Raises SyntaxError_; errors are not kept, nor what holds a secret."""
        if not may_be_kept(text):
            return _parse(text, quoted_identifier)
        return self._kept(text, quoted_identifier)

    @property
    def size(self) -> int:
        """How many texts are kept."""
        return self._kept.cache_info().currsize + self._batches.cache_info().currsize


def _parse(text: str, quoted_identifier: bool) -> ast.Batch:
    return parse(storable_text(text), quoted_identifier=quoted_identifier)


def _checked(text: str, quoted_identifier: bool) -> ast.Batch:
    batch = _parse(text, quoted_identifier)
    binding.check(batch.statements)
    return batch


def may_be_kept(text: str) -> bool:
    """Whether a text is short enough, and holds no secret."""
    if len(text) > LONGEST:
        return False
    upper = text.upper()
    return not any(word in upper for word in _SECRET)
