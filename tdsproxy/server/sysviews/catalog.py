"""The system views by name, and SQLite virtual tables that give the compiler their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import apsw

from tdsproxy.server.catalogview import SystemFunction, SystemView
from tdsproxy.server.identity import COLLATION
from tdsproxy.server.schema import object_id_of
from tdsproxy.server.sysviews import databases, information_schema, objects, security, server, sessions
from tdsproxy.server.sysviews.functions import TABLE_FUNCTIONS, TableFunction
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import EPOCH, Scope
from tdsproxy.server.typeinfo import numbers
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.values import Value

_BASE: Final[tuple[View, ...]] = (
    *databases.VIEWS,
    *sessions.VIEWS,
    *objects.VIEWS,
    *information_schema.VIEWS,
    *security.VIEWS,
    *server.VIEWS,
)

_OLD_NAMES: Final = frozenset(
    {
        "sysdatabases",
        "sysobjects",
        "syscolumns",
        "sysprocesses",
        "sysfiles",
        "sysaltfiles",
        "syslogins",
        "syslanguages",
        "spt_values",
    }
)
"""The views of SQL Server 2000 that are found as dbo.name, too."""


def system_object_id(item: View) -> int:
    """System objects have negative ids."""
    return -object_id_of("S", item.schema, item.name)


def _system_objects(scope: Scope) -> Iterator[Row]:
    del scope
    for item in _BASE:
        yield {
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


def _all_objects(scope: Scope) -> Iterator[Row]:
    yield from objects._objects(scope)
    yield from _system_objects(scope)


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
                "collation_name": COLLATION if column.type.is_character else None,
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
        view("sys.system_objects", objects._OBJECT_COLUMNS, _system_objects),
        view("sys.system_views", objects._OBJECT_COLUMNS, _system_objects),
        view("sys.all_objects", objects._OBJECT_COLUMNS, _all_objects),
        view("sys.all_views", objects._OBJECT_COLUMNS, _system_objects),
        view("sys.system_columns", objects._COLUMN_COLUMNS, _system_columns),
        view("sys.all_columns", objects._COLUMN_COLUMNS, _all_columns),
        view(
            "sys.all_sql_modules",
            "object_id int!, definition nvarchar(max), uses_ansi_nulls bit, uses_quoted_identifier bit",
            objects._sql_modules,
        ),
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
        self._cache: dict[tuple[str, str], list[tuple[Stored, ...]]] = {}

    def new_epoch(self) -> None:
        """A new statement begins: what the views show may have changed."""
        self._cache.clear()

    def view(self, schema: str, name: str, database: str) -> SystemView | None:
        found = find_view(schema, name)
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
        table = f"tf_{found.name}".lower()
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
        module = _Module(rows, columns, ["__database"] if parameters is None else parameters)
        self._connection.create_module(
            table,
            cast("Any", module),
            use_bestindex_object=True,
            eponymous=True,
            eponymous_only=True,
            read_only=True,
        )


def _stored(found: View, values: tuple[Value, ...]) -> tuple[Stored, ...]:
    return tuple(to_storage(value, column.type) for value, column in zip(values, found.columns, strict=True))


class _Module:
    """An eponymous virtual table: the visible columns, then hidden ones that take the arguments."""

    def __init__(
        self,
        rows: Callable[..., Iterable[tuple[Stored, ...]]],
        columns: list[str],
        parameters: list[str],
    ) -> None:
        self.rows = rows
        self.width = len(columns)
        self.parameters = len(parameters)
        shown = [_quote(name) for name in columns]
        hidden = [f"{_quote(name)} HIDDEN" for name in parameters]
        self.declaration = f"CREATE TABLE ignored({', '.join(shown + hidden)})"

    def Connect(
        self, connection: apsw.Connection, modulename: str, databasename: str, tablename: str, *args: Any
    ) -> tuple[str, _Table]:
        return self.declaration, _Table(self)

    Create = Connect


class _Table:
    def __init__(self, module: _Module) -> None:
        self.module = module

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:
        """Only the arguments can be used; without all of those that are named, the plan is no good."""
        given: dict[int, int] = {}
        for index in range(info.nConstraint):
            column = info.get_aConstraint_iColumn(index)
            if column < self.module.width:
                continue
            if info.get_aConstraint_op(index) != apsw.SQLITE_INDEX_CONSTRAINT_EQ:
                continue
            if not info.get_aConstraint_usable(index):
                return False
            given[column - self.module.width] = index
        places = []
        for argument, (parameter, index) in enumerate(sorted(given.items()), 1):
            info.set_aConstraintUsage_argvIndex(index, argument)
            info.set_aConstraintUsage_omit(index, True)
            places.append(str(parameter))
        info.idxStr = ",".join(places)
        info.estimatedRows = 200
        info.estimatedCost = 400.0
        return True

    def Open(self) -> _Cursor:
        return _Cursor(self.module)

    def Disconnect(self) -> None:
        return

    Destroy = Disconnect


class _Cursor:
    def __init__(self, module: _Module) -> None:
        self.module = module
        self._arguments: list[Stored] = []
        self._rows: Iterator[tuple[Stored, ...]] = iter(())
        self._row: tuple[Stored, ...] | None = None
        self._number = 0

    def Filter(self, number: int, text: str, values: tuple[Stored, ...]) -> None:
        arguments: list[Stored] = [None] * self.module.parameters
        for place, value in zip((text or "").split(","), values, strict=False):
            arguments[int(place)] = value
        self._arguments = arguments
        self._rows = iter(self.module.rows(*arguments))
        self._number = 0
        self.Next()

    def Eof(self) -> bool:
        return self._row is None

    def Next(self) -> None:
        self._row = next(self._rows, None)
        self._number += 1

    def Column(self, number: int) -> Stored:
        if number < 0 or self._row is None:
            return self._number
        width = self.module.width
        return self._row[number] if number < width else self._arguments[number - width]

    def Rowid(self) -> int:
        return self._number

    def Close(self) -> None:
        self._rows = iter(())


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
