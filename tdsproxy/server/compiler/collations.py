"""T-SQL's collations as SQLite's."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.compiler.typed import CASE_INSENSITIVE, Typed
from tdsproxy.server.workspace import quoted

_DEFAULT_COLLATIONS: Final = frozenset(
    {"", "SQL_LATIN1_GENERAL_CP1_CI_AS", "DATABASE_DEFAULT", "CATALOG_DEFAULT"}
)


_BEYOND: Final = "\U0010ffff"
_FOLDED_INTO: Final = frozenset("fFkKsS")
"""Letters that characters beyond ASCII fold into: the sharp s, the ligatures, the Kelvin sign."""


def seek_range(text: str) -> tuple[str, str]:
    """A half-open range, in SQLite's NOCASE order, with every text that equals ``text`` under the default
    collation: so that an index, or at least a cheap comparison, can find the candidates.

    Texts with characters that the collation ignores altogether (NUL, zero-width joiners) in front of the
    range's end are not in it.
    """
    trimmed = text.rstrip(" ")
    for position, char in enumerate(trimmed):
        if char in _FOLDED_INTO or not char.isascii():
            return trimmed[:position], trimmed[:position] + _BEYOND
    return trimmed, trimmed + "!"


def collation_of(name: str) -> str:
    """The SQLite collation that stands for a T-SQL collation, as it is written in SQL."""
    if name.upper() in _DEFAULT_COLLATIONS:
        return CASE_INSENSITIVE
    return quoted(f"ts:{name}")


def collation_name(sql: str) -> str | None:
    """The T-SQL collation behind ``collation_of``; None for the default."""
    return None if sql == CASE_INSENSITIVE else sql.strip('"').removeprefix("ts:")


def stronger(left: Typed, right: Typed) -> str:
    """The collation of a comparison: an explicit or column one wins over the default."""
    return left.collation if left.collation != CASE_INSENSITIVE else right.collation
