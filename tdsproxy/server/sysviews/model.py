"""What a system view is: typed columns, and rows made when a query asks for them.

Columns are declared in one string, as the documentation lists them::

    "name sysname!, database_id int!, owner_sid varbinary(85), is_read_only bit!"

``!`` marks a column that is never NULL: drivers see the fixed-length type for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.sysviews.scope import Scope

_COLUMN: Final = re.compile(r"(\w+|\[[^]]+\])\s+(\w+)(?:\(\s*(\w+)\s*(?:,\s*(\d+)\s*)?\))?\s*(!?)$")
_SPLIT: Final = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True, slots=True)
class ViewColumn:
    name: str
    type: SqlType
    nullable: bool = True


Row = Mapping[str, Value]
"""A row by column name; a column that is left out is NULL, or zero or empty where it cannot be NULL."""


@dataclass(frozen=True, slots=True)
class View:
    """One system view. ``rows`` yields mappings, not all columns need to be there."""

    schema: str
    name: str
    columns: tuple[ViewColumn, ...]
    rows: Callable[[Scope], Iterable[Row]]

    def tuples(self, scope: Scope) -> Iterable[tuple[Value, ...]]:
        """The rows in the order of the columns, with the defaults filled in."""
        plan = [(c.name, None if c.nullable else default_of(c.type)) for c in self.columns]
        for row in self.rows(scope):
            yield tuple(row.get(name, default) for name, default in plan)


def default_of(type_: SqlType) -> Value:
    """The empty value of a type: what a NOT NULL column shows when nothing is known."""
    if type_.is_character:
        return ""
    if type_.is_binary:
        return b""
    if type_.name in ("float", "real"):
        return 0.0
    if type_.is_integer or type_.name == "bit":
        return 0
    return None


def nothing(scope: Scope) -> Iterable[Row]:
    """The rows of a view that exists so that tools can ask, and has nothing to show here."""
    return ()


def view(qualified: str, columns: str, rows: Callable[[Scope], Iterable[Row]] = nothing) -> View:
    """A view from its ``schema.name`` and its declared columns."""
    schema, name = qualified.split(".")
    return View(schema, name, parse_columns(columns), rows)


def parse_columns(text: str) -> tuple[ViewColumn, ...]:
    return tuple(_column(part.strip()) for part in _SPLIT.split(text) if part.strip())


def _column(text: str) -> ViewColumn:
    match = _COLUMN.match(text)
    if match is None:
        raise ValueError(f"not a column declaration: {text!r}")
    name, word, first, second, mark = match.groups()
    return ViewColumn(name.strip("[]"), parse_type(word, first, second), not mark)


def parse_type(word: str, first: str | None = None, second: str | None = None) -> SqlType:
    """A type from its name and the numbers behind it; ``sysname`` is nvarchar(128)."""
    if word == "sysname":
        return t.SYSNAME
    if word in t.LENGTH_TYPES:
        return SqlType(word, t.MAX if first == "max" else int(first or 1))
    if word in ("numeric", "decimal"):
        return t.decimal(int(first or 18), int(second or 0), numeric=word == "numeric")
    if word in t.SCALED_TIME_TYPES:
        return SqlType(word, scale=int(first or 7))
    plain = {"money": t.MONEY, "smallmoney": t.SMALLMONEY, "float": t.FLOAT, "real": t.REAL}
    if word == "timestamp":
        return t.TIMESTAMP
    return plain.get(word, SqlType(word))
