"""The system views by name, and SQLite virtual tables that give the compiler their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import apsw

from tdsproxy.server.catalogview import SystemFunction, SystemView
from tdsproxy.server.identity import COLLATION
from tdsproxy.server.schema import object_id_of
from tdsproxy.server.sysviews import (
    databases,
    features,
    idle,
    information_schema,
    keys,
    log_space,
    modules,
    monitoring,
    msdb,
    objects,
    older,
    performance,
    properties,
    security,
    server,
    sessions,
    storage,
    transactions,
)
from tdsproxy.server.sysviews.functions import TABLE_FUNCTIONS, TableFunction
from tdsproxy.server.sysviews.model import Row, View, ViewColumn, view
from tdsproxy.server.sysviews.scope import EPOCH, Scope
from tdsproxy.server.sysviews.virtual import register
from tdsproxy.server.typeinfo import numbers
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.values import Value

_BASE: Final[tuple[View, ...]] = (
    *databases.VIEWS,
    *sessions.VIEWS,
    *transactions.VIEWS,
    *objects.VIEWS,
    *information_schema.VIEWS,
    *security.VIEWS,
    *server.VIEWS,
    *modules.VIEWS,
    *monitoring.VIEWS,
    *storage.VIEWS,
    *log_space.VIEWS,
    *performance.VIEWS,
    *keys.VIEWS,
    *features.VIEWS,
    *properties.VIEWS,
    *older.VIEWS,
    *idle.VIEWS,
)

_OLD_NAMES: Final = frozenset(
    {
        "sysdatabases",
        "sysobjects",
        "syscolumns",
        "sysprocesses",
        "sysfiles",
        "sysaltfiles",
        "sysindexes",
        "sysmessages",
        "sysusers",
        "syslogins",
        "syslanguages",
        "spt_values",
        *older.NAMES,
    }
)
"""The views of SQL Server 2000 that are found as dbo.name, too."""


_BUILT_IN_COLLATION: Final = "Latin1_General_CI_AS_KS_WS"


def system_object_id(item: View) -> int:
    """System objects have negative ids."""
    return -object_id_of("S", item.schema, item.name)


def _system_objects(scope: Scope) -> Iterator[Row]:
    yield from _system_views(scope)
    yield from _system_functions()


def _system_views(scope: Scope) -> Iterator[Row]:
    del scope
    for item in _BASE:
        yield objects.VIEW_FACTS | {
            "name": item.name,
            "object_id": system_object_id(item),
            "schema_id": 3 if item.schema == "INFORMATION_SCHEMA" else 4,
            "parent_object_id": 0,
            "type": "V ",
            "type_desc": "VIEW",
            "create_date": EPOCH,
            "modify_date": EPOCH,
            "is_ms_shipped": 1,
        }


def _system_functions() -> Iterator[Row]:
    for item in TABLE_FUNCTIONS.values():
        if "sys" in item.schemas:
            yield {
                "name": item.name,
                "object_id": -object_id_of("S", "sys", item.name),
                "schema_id": 4,
                "parent_object_id": 0,
                "type": "IF",
                "type_desc": "SQL_INLINE_TABLE_VALUED_FUNCTION",
                "create_date": EPOCH,
                "modify_date": EPOCH,
                "is_ms_shipped": 1,
            }


def _all_objects(scope: Scope) -> Iterator[Row]:
    yield from objects._objects(scope)
    yield from _system_objects(scope)


def _all_views(scope: Scope) -> Iterator[Row]:
    yield from objects.views(scope)
    yield from _system_views(scope)


def _collation(column: ViewColumn) -> str | None:
    """Names are in the server's collation; SQL Server's own words are in the one that it was built with."""
    if not column.type.is_character:
        return None
    return _BUILT_IN_COLLATION if column.name.endswith("_desc") else COLLATION


def _system_columns(scope: Scope) -> Iterator[Row]:
    del scope
    for item in _BASE:
        for place, column in enumerate(item.columns, 1):
            about = numbers(column.type)
            yield {
                "object_id": system_object_id(item),
                "name": column.name,
                "column_id": place,
                "system_type_id": about.id,
                "user_type_id": about.id,
                "max_length": about.length,
                "precision": about.precision,
                "scale": about.scale,
                "collation_name": _collation(column),
                "is_nullable": int(column.nullable),
                "is_ansi_padded": int(column.type.is_character or column.type.is_binary),
            }


def _all_columns(scope: Scope) -> Iterator[Row]:
    yield from objects._columns(scope)
    yield from _system_columns(scope)


VIEWS: Final = {
    (item.schema.lower(), item.name.lower()): item
    for item in (
        *_BASE,
        view("sys.system_objects", objects.OBJECT_COLUMNS, _system_objects),
        view("sys.system_views", objects.VIEW_COLUMNS, _system_views),
        view("sys.all_objects", objects.OBJECT_COLUMNS, _all_objects),
        view("sys.all_views", objects.VIEW_COLUMNS, _all_views),
        view("sys.system_columns", objects._COLUMN_COLUMNS, _system_columns),
        view("sys.all_columns", objects._COLUMN_COLUMNS, _all_columns),
        view("sys.all_sql_modules", objects.MODULE_COLUMNS, objects._sql_modules),
        view("sys.system_sql_modules", objects.MODULE_COLUMNS),
    )
}


def find_view(schema: str, name: str) -> View | None:
    """The view called ``schema.name``, whatever the case; old names are found under ``dbo``, too."""
    key = (schema.lower(), name.lower())
    if key[0] == "dbo" and key[1] in _OLD_NAMES:
        return VIEWS.get(("sys", key[1])) or VIEWS.get(key)
    return VIEWS.get(key)


class VirtualCatalog:
    """A session's system catalog: each view becomes a virtual table when it is first named.

    ``scope_of`` gives what the views of one database read. Rows are made once per ``epoch`` and shared by
    the scans of a statement, so that joins of views stay linear.
    """

    def __init__(self, connection: apsw.Connection, scope_of: Callable[[str], Scope]) -> None:
        self._connection = connection
        self._scope_of = scope_of
        self._known: set[str] = set()
        self._places: dict[str, int] = {}
        self._cache: dict[tuple[str, str], list[tuple[Stored, ...]]] = {}

    def new_epoch(self) -> None:
        """A new statement begins: what the views show may have changed."""
        self._cache.clear()

    def view(self, schema: str, name: str, database: str) -> SystemView | None:
        found = find_view(schema, name)
        if found is None and schema.lower() == "dbo" and database.lower() == "msdb":
            found = msdb.VIEWS.get(name.lower())
        if found is None:
            return None
        table = f"ts_{found.schema}_{found.name}".lower()
        if table not in self._known:
            self._known.add(table)
            self._register(table, found)
        quoted = database.replace("'", "''")
        columns = tuple(Column(c.name, c.type, c.nullable) for c in found.columns)
        return SystemView(found.schema, found.name, columns, f"{table}('{quoted}')")

    def function(self, schema: str | None, name: str, database: str) -> SystemFunction | None:
        found = TABLE_FUNCTIONS.get(name.lower())
        if found is None or (schema is not None and schema.lower() not in found.schemas):
            return None
        # A function's table has no room for the database's name: there is one for each.
        place = self._places.setdefault(database.lower(), len(self._places))
        table = f"tf_{found.name}_{place}".lower()
        if table not in self._known:
            self._known.add(table)
            self._register_function(table, found, database)
        columns = tuple(Column(c.name, c.type, c.nullable) for c in found.columns)
        return SystemFunction(found.name, columns, table, found.parameters, found.required)

    def _register(self, table: str, found: View) -> None:
        def rows(database: str) -> Iterable[tuple[Stored, ...]]:
            key = (table, database)
            if key not in self._cache:
                scope = self._scope_of(database)
                self._cache[key] = [_stored(found, values) for values in found.tuples(scope)]
            return self._cache[key]

        self._make(table, rows, [c.name for c in found.columns])

    def _register_function(self, table: str, found: TableFunction, database: str) -> None:
        names = [f"arg{index}" for index in range(len(found.parameters))]

        def rows(*arguments: Stored) -> Iterable[tuple[Stored, ...]]:
            scope = self._scope_of(database)
            for values in found.tuples(scope, arguments):
                yield tuple(
                    to_storage(value, column.type)
                    for value, column in zip(values, found.columns, strict=True)
                )

        self._make(table, rows, [c.name for c in found.columns], names)

    def _make(
        self,
        table: str,
        rows: Callable[..., Iterable[tuple[Stored, ...]]],
        columns: list[str],
        parameters: list[str] | None = None,
    ) -> None:
        register(self._connection, table, rows, columns, ["__database"] if parameters is None else parameters)


def _stored(found: View, values: tuple[Value, ...]) -> tuple[Stored, ...]:
    return tuple(to_storage(value, column.type) for value, column in zip(values, found.columns, strict=True))
