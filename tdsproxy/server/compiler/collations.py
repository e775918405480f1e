"""T-SQL's collations as SQLite's."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.compiler.typed import CASE_INSENSITIVE, Typed
from tdsproxy.server.workspace import quoted

_DEFAULT_COLLATIONS: Final = frozenset(
    {"", "SQL_LATIN1_GENERAL_CP1_CI_AS", "DATABASE_DEFAULT", "CATALOG_DEFAULT"}
)


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
