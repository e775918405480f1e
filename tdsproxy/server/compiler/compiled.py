"""What compiling a query gives."""

from __future__ import annotations

import msgspec

from tdsproxy.server.compiler.typed import Typed
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.types import SqlType


class Output(msgspec.Struct, frozen=True):
    """One output column of a compiled query: ``sql`` reads it inside, ``name`` is what T-SQL calls it."""

    name: str
    typed: Typed

    @property
    def type(self) -> SqlType:
        return self.typed.type

    @property
    def nullable(self) -> bool:
        return self.typed.nullable

    @property
    def base(self) -> str | None:
        """The table column that it shows unchanged."""
        return self.typed.column.base if self.typed.column is not None else None

    def described(self) -> Column:
        return self.typed.described(self.name)


class CompiledQuery(msgspec.Struct, frozen=True):
    """``sql`` yields columns c1, c2 ... in storage form. ``single`` says that there is at most one row."""

    sql: str
    columns: tuple[Output, ...]
    single: bool = False
    variables: tuple[ast.SelectItem, ...] = ()
    table: object | None = None
    """The table whose rows the query shows one by one, where that was asked for; then k1, k2 ... are columns
    too, and address its row."""
    keys: int = 0
    order: tuple[int, ...] = ()
    """1-based output columns that the rows are sorted by, where all of the ORDER BY is."""
