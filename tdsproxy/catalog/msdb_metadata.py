"""How msdb's tables are described to the embedded server: in the hidden tables of ``server.metadata``.

SQLite's own schema cannot say that the key of backupset is an int with IDENTITY: it calls it INTEGER. The
description is written when msdb is made, in the form that ``server.metadata`` reads.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.msdb_schema import HistoryTable, TableColumn

_HIDDEN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS __tds_objects(object_id INTEGER PRIMARY KEY, schema_name TEXT NOT NULL,"
    " name TEXT NOT NULL, kind TEXT NOT NULL, sqlite_name TEXT, parent_id INTEGER NOT NULL DEFAULT 0,"
    " created TEXT NOT NULL, modified TEXT NOT NULL, definition TEXT NOT NULL, settings TEXT)",
    "CREATE TABLE IF NOT EXISTS __tds_schemas(schema_id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL COLLATE NOCASE UNIQUE)",
    "CREATE TABLE IF NOT EXISTS __tds_identity(sqlite_name TEXT PRIMARY KEY COLLATE NOCASE,"
    " last_value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS __tds_state(version INTEGER NOT NULL)",
    "INSERT INTO __tds_state SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM __tds_state)",
)


def describe_tables(file: CatalogFile, tables: Iterable[HistoryTable]) -> None:
    """Writes the descriptions that are missing; to be called within a ``write`` block."""
    for statement in _HIDDEN_TABLES:
        file.read(statement)
    created = dt.datetime.now().isoformat(" ", "milliseconds")
    for table in tables:
        file.read(
            "INSERT OR IGNORE INTO __tds_objects(object_id, schema_name, name, kind, sqlite_name, created,"
            " modified, definition) SELECT ?, 'dbo', ?, 'U', ?, ?, ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM __tds_objects WHERE schema_name = 'dbo' AND name = ? AND kind = 'U')",
            (
                *(_object_id("U", table.name), table.name, table.name),
                *(created, created, _definition(table), table.name),
            ),
        )


def _object_id(kind: str, name: str) -> int:
    return (crc32(f"{kind}|dbo|{name}".lower().encode()) & 0x3FFFFFFF) + 0x10000000


def _definition(table: HistoryTable) -> str:
    keys = []
    if table.key:
        number = _object_id("PK", table.name)
        pairs = [[name, False] for name in table.key]
        keys.append([f"PK__{table.name[:9]}__{number:016X}", number, True, pairs, True, True])
    return json.dumps(
        {
            "columns": [_column(column) for column in table.columns],
            "keys": keys,
            "indexes": [],
            "foreign_keys": [],
            "checks": [],
        },
        separators=(",", ":"),
    )


def _column(column: TableColumn) -> dict[str, Any]:
    kind = column.type
    made: dict[str, Any] = {
        "name": column.name,
        "type": [kind.name, kind.length, kind.precision, kind.scale, kind.numeric],
        "nullable": column.nullable,
    }
    if column.identity:
        made |= {"identity": [1, 1], "rowid": True}
    return made
