"""Queries that were compiled before: a batch that is sent again needs no second compilation.

A compiled query depends on its syntax tree, the current database, the types of the variables in reach and the
objects of the databases that it names. What also depends on a frame (temporary tables, table variables, what
a trigger sees) is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdsproxy.server.workspace import is_temporary
from tdsproxy.tsql import ast
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.schema import DatabaseSchema
    from tdsproxy.server.schema_reader import SchemaReader
    from tdsproxy.server.select_run import Compiled

MOST: Final = 256
_ORDER: Final = SqlType("date")
_Types = tuple[tuple[str, SqlType], ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    query: ast.Query
    database: str
    types: _Types
    seen: dict[str, DatabaseSchema]
    files: tuple[str, ...]
    compiled: Compiled


class CompiledQueries:
    """The compiled queries of one session. A tree is known by its identity: ``ParsedBatches`` hands out the
    same one for the same text."""

    def __init__(self, reader: SchemaReader, resolve: Callable[[str], object]) -> None:
        self._reader = reader
        self._resolve = resolve
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def find(self, query: ast.Query, database: str, frame: Frame) -> Compiled | None:
        """The query as it was compiled, if that would come out the same now. Raises SqlError as naming its
        databases does."""
        kept = self._kept.get(id(query))
        if kept is None or kept.query is not query:
            return None
        if kept.database != database or kept.types != _types(frame):
            return None
        for name in kept.files:
            self._resolve(name)
        for schema, objects in kept.seen.items():
            if not self._reader.is_at(schema, objects):
                del self._kept[id(query)]
                return None
        self._kept.move_to_end(id(query))
        return kept.compiled

    def keep(self, query: ast.Query, database: str, frame: Frame, compiled: Compiled) -> None:
        """Remembers a compilation that has just been made, if it may be used again."""
        context = compiled.context
        seen = self._reader.seen()
        if context.bound_to_frame or any(is_temporary(schema) for schema in seen):
            return
        files = tuple(sorted(context.files))
        self._kept[id(query)] = _Kept(query, database, _types(frame), seen, files, compiled)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def known(self, query: ast.Query) -> Compiled | None:
        """What is kept of a query, whether or not it still holds."""
        kept = self._kept.get(id(query))
        return kept.compiled if kept is not None and kept.query is query else None

    def schemas_of(self, query: ast.Query) -> tuple[str, ...]:
        """The SQLite schemas whose objects a kept query has read."""
        kept = self._kept.get(id(query))
        return tuple(kept.seen) if kept is not None and kept.query is query else ()

    def clear(self) -> None:
        self._kept.clear()


def _types(frame: Frame) -> _Types:
    """What a compilation depends on beside the objects: the variables, and how literals are read as dates."""
    order = (f"{frame.options.date_format} {frame.options.language}", _ORDER)
    return (order, *((name, cell.type) for name, cell in frame.variables.items()))
