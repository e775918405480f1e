"""The hidden tables in a database file that keep what SQLite's own schema can't express.

``__tds_objects`` holds one row for each object that was made by T-SQL: for a table its whole definition as
JSON, for a module its text. ``__tds_schemas`` holds the schemas but for the built-in ones, ``__tds_identity``
the last value of identity columns that aren't SQLite's AUTOINCREMENT, and ``__tds_state`` a number that
grows with each change of the others. They are made when first needed; a file without them is read as any
other SQLite file. Other tools may ignore them.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from tdsproxy.server.schema import (
    CheckInfo,
    ColumnInfo,
    DefaultInfo,
    ForeignKeyInfo,
    IdentityInfo,
    IndexInfo,
    KeyInfo,
    ModuleInfo,
    PropertyInfo,
    TableInfo,
    object_id_of,
)
from tdsproxy.server.workspace import Workspace
from tdsproxy.tsql.types import SqlType

PREFIX: Final = "__tds_"

_VERSIONS: Final = "@@DBTS"
"""The row of ``__tds_identity`` with the last rowversion; no table can have that name."""
_PROPERTIES: Final = (
    "CREATE TABLE IF NOT EXISTS {s}.__tds_properties(class INTEGER NOT NULL, major_id INTEGER NOT NULL,"
    " minor_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE NOCASE, value TEXT,"
    " PRIMARY KEY (class, major_id, minor_id, name)) WITHOUT ROWID"
)
"""Made when the first extended property is."""
_TABLES: Final = (
    "CREATE TABLE {s}.__tds_objects(object_id INTEGER PRIMARY KEY, schema_name TEXT NOT NULL,"
    " name TEXT NOT NULL, kind TEXT NOT NULL, sqlite_name TEXT, parent_id INTEGER NOT NULL DEFAULT 0,"
    " created TEXT NOT NULL, modified TEXT NOT NULL, definition TEXT NOT NULL, settings TEXT)",
    "CREATE TABLE {s}.__tds_schemas(schema_id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE)",
    "CREATE TABLE {s}.__tds_identity(sqlite_name TEXT PRIMARY KEY COLLATE NOCASE, last_value TEXT NOT NULL)",
    "CREATE TABLE {s}.__tds_state(version INTEGER NOT NULL)",
    "INSERT INTO {s}.__tds_state VALUES (1)",
)


def now_text() -> str:
    """The local time as create_date and modify_date keep it."""
    return dt.datetime.now().isoformat(" ", "milliseconds")


@dataclass(frozen=True, slots=True)
class ObjectRow:
    object_id: int
    schema: str
    name: str
    kind: str
    sqlite_name: str | None
    parent_id: int
    created: str
    modified: str
    definition: str
    settings: str


class Metadata:
    """The hidden tables of one attached database (``schema`` is its SQLite schema)."""

    def __init__(self, workspace: Workspace, schema: str) -> None:
        self._work = workspace
        self._schema = schema

    def exists(self) -> bool:
        return (
            self._work.value(f"SELECT 1 FROM {self._schema}.sqlite_schema WHERE name = '__tds_state'")
            is not None
        )

    def version(self) -> int:
        """Grows with each change; 0 when there is no metadata."""
        if not self.exists():
            return 0
        value = self._work.value(f"SELECT version FROM {self._schema}.__tds_state")
        return int(value) if isinstance(value, int) else 0

    def ensure(self) -> None:
        if not self.exists():
            for statement in _TABLES:
                self._work.run(statement.format(s=self._schema))

    def _touch(self) -> None:
        self._work.run(f"UPDATE {self._schema}.__tds_state SET version = version + 1")

    def rows(self) -> list[ObjectRow]:
        if not self.exists():
            return []
        found = self._work.run(
            "SELECT object_id, schema_name, name, kind, sqlite_name, parent_id, created, modified,"
            f" definition, coalesce(settings, '') FROM {self._schema}.__tds_objects"
        )
        return [ObjectRow(*row) for row in found]  # type: ignore[arg-type]

    def schemas(self) -> list[tuple[int, str]]:
        if not self.exists():
            return []
        found = self._work.run(f"SELECT schema_id, name FROM {self._schema}.__tds_schemas ORDER BY 1")
        return [(int(str(number)), str(name)) for number, name in found]

    def add_schema(self, name: str) -> None:
        self.ensure()
        self._work.run(
            f"INSERT INTO {self._schema}.__tds_schemas(schema_id, name)"
            f" SELECT coalesce(max(schema_id), 4) + 1, ? FROM {self._schema}.__tds_schemas",
            (name,),
        )
        self._touch()

    def drop_schema(self, name: str) -> None:
        self._work.run(f"DELETE FROM {self._schema}.__tds_schemas WHERE name = ?", (name,))
        self._touch()

    def new_id(self, kind: str, schema: str, name: str) -> int:
        """An object id that no object of the database has."""
        self.ensure()
        candidate = object_id_of(kind, schema, name)
        while self._work.value(
            f"SELECT 1 FROM {self._schema}.__tds_objects WHERE object_id = ?", (candidate,)
        ):
            candidate += 7919
        return candidate

    def save_table(self, table: TableInfo) -> None:
        """Writes or replaces a table's definition."""
        self.ensure()
        self._work.run(
            f"INSERT OR REPLACE INTO {self._schema}.__tds_objects(object_id, schema_name, name, kind,"
            " sqlite_name, created, modified, definition) VALUES (?,?,?,'U',?,?,?,?)",
            (
                table.object_id,
                table.schema,
                table.name,
                table.sqlite_name,
                table.created,
                table.modified,
                table_to_json(table),
            ),
        )
        self._touch()

    def save_module(self, module: ModuleInfo) -> None:
        self.ensure()
        settings = json.dumps(
            {
                "quoted_identifier": module.quoted_identifier,
                "ansi_nulls": module.ansi_nulls,
                **({"disabled": True} if module.disabled else {}),
            }
        )
        self._work.run(
            f"INSERT OR REPLACE INTO {self._schema}.__tds_objects(object_id, schema_name, name, kind,"
            " sqlite_name, parent_id, created, modified, definition, settings)"
            " VALUES (?,?,?,?,NULL,?,?,?,?,?)",
            (
                module.object_id,
                module.schema,
                module.name,
                module.kind,
                module.parent_id,
                module.created,
                module.modified,
                module.text,
                settings,
            ),
        )
        self._touch()

    def drop_object(self, object_id: int) -> None:
        """Forgets an object and what hangs on it (triggers)."""
        if self.exists():
            self._work.run(
                f"DELETE FROM {self._schema}.__tds_objects WHERE object_id = ? OR parent_id = ?",
                (object_id, object_id),
            )
            if self._has_properties():
                self._work.run(
                    f"DELETE FROM {self._schema}.__tds_properties WHERE major_id = ? AND class IN (1, 2, 7)",
                    (object_id,),
                )
            self._touch()

    def properties(self) -> tuple[PropertyInfo, ...]:
        if not self._has_properties():
            return ()
        found = self._work.run(
            f"SELECT class, major_id, minor_id, name, value FROM {self._schema}.__tds_properties"
            " ORDER BY 1, 2, 3, 4"
        )
        return tuple(PropertyInfo(*row) for row in found)  # type: ignore[arg-type]

    def save_property(self, made: PropertyInfo) -> None:
        self.ensure()
        self._work.run(_PROPERTIES.format(s=self._schema))
        self._work.run(
            f"INSERT OR REPLACE INTO {self._schema}.__tds_properties VALUES (?, ?, ?, ?, ?)",
            (made.kind, made.major, made.minor, made.name, made.value),
        )
        self._touch()

    def drop_property(self, gone: PropertyInfo) -> None:
        self._work.run(
            f"DELETE FROM {self._schema}.__tds_properties"
            " WHERE class = ? AND major_id = ? AND minor_id = ? AND name = ?",
            (gone.kind, gone.major, gone.minor, gone.name),
        )
        self._touch()

    def _has_properties(self) -> bool:
        found = f"SELECT 1 FROM {self._schema}.sqlite_schema WHERE name = '__tds_properties'"
        return self._work.value(found) is not None

    def last_identity(self, sqlite_name: str) -> int | None:
        if not self.exists():
            return None
        value = self._work.value(
            f"SELECT last_value FROM {self._schema}.__tds_identity WHERE sqlite_name = ?", (sqlite_name,)
        )
        return None if value is None else int(str(value))

    def save_identity(self, sqlite_name: str, last: int | None) -> None:
        self.ensure()
        if last is None:
            self._work.run(f"DELETE FROM {self._schema}.__tds_identity WHERE sqlite_name = ?", (sqlite_name,))
        else:
            self._work.run(
                f"INSERT OR REPLACE INTO {self._schema}.__tds_identity VALUES (?, ?)",
                (sqlite_name, str(last)),
            )

    def next_version(self, clock: int) -> int:
        """A number that the database has never given before: the last one and 1, or the ``clock`` of one who
        asks for the first time."""
        last = self.last_identity(_VERSIONS)
        number = clock if last is None else last + 1
        self.save_identity(_VERSIONS, number)
        return number


def module_from_row(row: ObjectRow) -> ModuleInfo:
    settings: dict[str, Any] = json.loads(row.settings) if row.settings else {}
    return ModuleInfo(
        row.schema,
        row.name,
        row.object_id,
        row.kind,
        row.definition,
        row.created,
        row.modified,
        row.parent_id,
        bool(settings.get("quoted_identifier", True)),
        bool(settings.get("ansi_nulls", True)),
        disabled=bool(settings.get("disabled", False)),
    )


# ------------------------------------------------------------------ a table as JSON


def table_to_json(table: TableInfo) -> str:
    return json.dumps(
        {
            "columns": [_column_to_json(column) for column in table.columns],
            "keys": [
                [k.name, k.object_id, k.primary, list(map(list, k.columns)), k.clustered, k.system_named]
                for k in table.keys
            ],
            "indexes": [
                [
                    i.name,
                    list(map(list, i.columns)),
                    i.unique,
                    i.clustered,
                    list(i.include),
                    i.where,
                    i.sqlite_name,
                ]
                for i in table.indexes
            ],
            "foreign_keys": [
                [
                    f.name,
                    f.object_id,
                    list(f.columns),
                    f.referenced_schema,
                    f.referenced_table,
                    list(f.referenced_columns),
                    f.on_delete,
                    f.on_update,
                    f.system_named,
                    f.disabled,
                ]
                for f in table.foreign_keys
            ],
            "checks": [
                [c.name, c.object_id, c.text, c.column, c.native, c.system_named, c.disabled]
                for c in table.checks
            ],
        },
        separators=(",", ":"),
    )


def _column_to_json(column: ColumnInfo) -> dict[str, Any]:
    kind = column.type
    made: dict[str, Any] = {
        "name": column.name,
        "type": [kind.name, kind.length, kind.precision, kind.scale, kind.numeric],
        "nullable": column.nullable,
    }
    if column.identity:
        made["identity"] = [column.identity.seed, column.identity.increment]
    if column.default:
        d = column.default
        made["default"] = [d.name, d.object_id, d.text, d.system_named, d.native]
    for name in ("computed", "persisted", "collation", "rowguidcol", "rowid"):
        value = getattr(column, name)
        if value:
            made[name] = value
    return made


def _column_from_json(made: dict[str, Any], ordinal: int) -> ColumnInfo:
    return ColumnInfo(
        made["name"],
        SqlType(*made["type"]),
        made["nullable"],
        ordinal,
        IdentityInfo(*made["identity"]) if "identity" in made else None,
        DefaultInfo(*made["default"]) if "default" in made else None,
        made.get("computed"),
        made.get("persisted", False),
        made.get("collation"),
        made.get("rowguidcol", False),
        made.get("rowid", False),
    )


def _pairs(items: list[list[Any]]) -> tuple[tuple[str, bool], ...]:
    return tuple((name, descending) for name, descending in items)


def table_from_row(row: ObjectRow) -> TableInfo:
    made: dict[str, Any] = json.loads(row.definition)
    columns = tuple(_column_from_json(column, n) for n, column in enumerate(made["columns"], 1))
    return TableInfo(
        row.schema,
        row.name,
        row.object_id,
        row.sqlite_name or row.name,
        columns,
        tuple(KeyInfo(k[0], k[1], k[2], _pairs(k[3]), k[4], k[5]) for k in made["keys"]),
        tuple(IndexInfo(i[0], _pairs(i[1]), i[2], i[3], tuple(i[4]), i[5], i[6]) for i in made["indexes"]),
        tuple(
            ForeignKeyInfo(f[0], f[1], tuple(f[2]), f[3], f[4], tuple(f[5]), f[6], f[7], f[8], f[9])
            for f in made["foreign_keys"]
        ),
        tuple(CheckInfo(*c) for c in made["checks"]),
        row.created,
        row.modified,
        known=True,
    )


def renumbered(table: TableInfo, columns: list[ColumnInfo]) -> TableInfo:
    """``table`` with ``columns`` numbered from 1."""
    return replace(table, columns=tuple(replace(c, ordinal=n) for n, c in enumerate(columns, 1)))
