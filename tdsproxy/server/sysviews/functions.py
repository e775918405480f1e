"""Table functions of the system: dm_exec_sql_text, fn_listextendedproperty, STRING_SPLIT ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
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


def _words(argument: Stored) -> str:
    return argument if isinstance(argument, str) else ""


def _file_exists(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    for file, directory, parent in scope.look("xp_fileexist", _words(arguments[0])):
        yield {
            "file_exists": file,
            "file_is_a_directory": directory,
            "parent_directory_exists": parent,
        }


def _file_system(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """Below a directory, at every depth, what fits a pattern with * and ?."""
    directory, pattern = _words(arguments[0]).rstrip("/"), _words(arguments[1]) or "*"
    parents = [directory]
    for name, depth, file in scope.look("xp_dirtree", directory or "/", 0, 1):
        level = int(str(depth))
        full = f"{parents[level - 1]}/{name}"
        parents[level:] = [full]
        if fnmatchcase(str(name), pattern):
            yield {
                "full_filesystem_path": full,
                "parent_directory": parents[level - 1],
                "file_or_directory_name": name,
                "level": level - 1,
                "is_directory": int(not file),
                "is_read_only": 0,
                "is_system": 0,
                "is_hidden": int(str(name).startswith(".")),
                "has_integrity_stream": 0,
                "is_temporary": 0,
                "is_sparse": 0,
                "size_in_bytes": 0,
            }


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
            "dm_os_file_exists",
            parse_columns(
                "file_exists tinyint!, file_is_a_directory tinyint!, parent_directory_exists tinyint!"
            ),
            (t.nvarchar(256),),
            _file_exists,
            1,
        ),
        TableFunction(
            "dm_os_enumerate_filesystem",
            parse_columns(
                "full_filesystem_path nvarchar(512)!, parent_directory nvarchar(512)!,"
                " file_or_directory_name nvarchar(512)!, level int!, is_directory bit!, is_read_only bit!,"
                " is_system bit!, is_hidden bit!, has_integrity_stream bit!, is_temporary bit!,"
                " is_sparse bit!, creation_time datetime2(7), last_access_time datetime2(7),"
                " last_write_time datetime2(7), size_in_bytes bigint"
            ),
            (t.nvarchar(256), t.nvarchar(256)),
            _file_system,
            2,
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
