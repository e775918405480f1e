"""Table functions of the system: dm_exec_sql_text, fn_listextendedproperty, STRING_SPLIT ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.server.sysviews.model import Row, ViewColumn, default_of, parse_columns
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class TableFunction:
    """``rows`` gets the arguments in storage form. ``schemas``: where it is found by a qualified name."""

    name: str
    columns: tuple[ViewColumn, ...]
    parameters: tuple[SqlType, ...]
    rows: Callable[[Scope, Sequence[Stored]], Iterable[Row]]
    required: int = 0
    schemas: frozenset[str] = frozenset({"sys"})

    def tuples(self, scope: Scope, arguments: Sequence[Stored]) -> Iterator[tuple[Value, ...]]:
        for row in self.rows(scope, arguments):
            yield tuple(row.get(c.name, None if c.nullable else default_of(c.type)) for c in self.columns)


def _no_rows(scope: Scope, arguments: Sequence[Stored]) -> Iterable[Row]:
    return ()


def _sql_text(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    handle = arguments[0]
    if isinstance(handle, bytes):
        spid = int.from_bytes(handle, "big")
        for session in scope.sessions():
            if session.spid == spid:
                yield {"dbid": session.database_id, "encrypted": 0, "text": session.request_text}


def _split(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    text, separator, ordinal = (*arguments, None, None, None)[:3]
    if text is None or not separator:
        return
    for place, part in enumerate(str(text).split(str(separator)), 1):
        yield {"value": part, "ordinal": place if ordinal else None}


def _series(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    start, stop, step = (*arguments, None, None, None)[:3]
    if start is None or stop is None:
        return
    first, last = int(start), int(stop)
    stride = int(step) if step is not None else (1 if last >= first else -1)
    if stride:
        for value in range(first, last + (1 if stride > 0 else -1), stride):
            yield {"value": value}


TABLE_FUNCTIONS: Final = {
    item.name.lower(): item
    for item in (
        TableFunction(
            "fn_listextendedproperty",
            parse_columns("objtype sysname, objname sysname, name sysname!, value sql_variant"),
            (t.SYSNAME,) * 7,
            _no_rows,
            schemas=frozenset({"sys", "dbo"}),
        ),
        TableFunction(
            "dm_exec_sql_text",
            parse_columns("dbid smallint, objectid int, number smallint, encrypted bit!, text nvarchar(max)"),
            (t.varbinary(64),),
            _sql_text,
            1,
        ),
        TableFunction(
            "STRING_SPLIT",
            parse_columns("value nvarchar(4000)!, ordinal bigint"),
            (t.nvarchar(t.MAX), t.nvarchar(1), t.BIT),
            _split,
            2,
            frozenset(),
        ),
        TableFunction(
            "GENERATE_SERIES",
            parse_columns("value int!"),
            (t.INT, t.INT, t.INT),
            _series,
            2,
            frozenset(),
        ),
    )
}
