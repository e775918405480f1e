"""What a database holds, as T-SQL names it: tables with their constraints, modules, schemas.

Plain records; ``schema_reader`` makes them from a SQLite file, ``table_sql`` turns a table back into
SQLite's DDL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

import msgspec
from msgspec.structs import replace

from tdsproxy.tsql.types import SqlType

DEFAULT_SCHEMA: Final = "dbo"
DEFAULT_COLLATION: Final = "SQL_Latin1_General_CP1_CI_AS"


def object_id_of(kind: str, schema: str, name: str) -> int:
    """A positive 31-bit id that stays the same for an object that no metadata knows."""
    return (crc32(f"{kind}|{schema}|{name}".lower().encode()) & 0x3FFFFFFF) + 0x10000000


class IdentityInfo(msgspec.Struct, frozen=True):
    seed: int
    increment: int


class DefaultInfo(msgspec.Struct, frozen=True):
    """A DEFAULT constraint; ``text`` is the T-SQL expression as sys.default_constraints shows it. ``native``
    is the same as SQLite SQL where plain SQLite can fill it in."""

    name: str
    object_id: int
    text: str
    system_named: bool = True
    native: str | None = None


class ColumnInfo(msgspec.Struct, frozen=True):
    """``ordinal`` counts from 1 (column_id). ``computed`` is the T-SQL text of a computed column, which has
    no SQLite column of its own. ``rowid`` says that it is SQLite's INTEGER PRIMARY KEY; ``generated`` that
    SQLite computes it."""

    name: str
    type: SqlType
    nullable: bool
    ordinal: int
    identity: IdentityInfo | None = None
    default: DefaultInfo | None = None
    computed: str | None = None
    persisted: bool = False
    collation: str | None = None
    rowguidcol: bool = False
    rowid: bool = False
    generated: bool = False

    @property
    def writable(self) -> bool:
        return self.computed is None and not self.generated


class KeyInfo(msgspec.Struct, frozen=True):
    """A PRIMARY KEY or UNIQUE constraint; ``columns`` as (name, descending)."""

    name: str
    object_id: int
    primary: bool
    columns: tuple[tuple[str, bool], ...]
    clustered: bool = False
    system_named: bool = True


class IndexInfo(msgspec.Struct, frozen=True):
    """An index made by CREATE INDEX. ``sqlite_name`` is its name in the file: index names are per table in
    T-SQL and per database in SQLite."""

    name: str
    columns: tuple[tuple[str, bool], ...]
    unique: bool = False
    clustered: bool = False
    include: tuple[str, ...] = ()
    where: str = ""
    sqlite_name: str = ""


class ForeignKeyInfo(msgspec.Struct, frozen=True):
    """``on_delete`` and ``on_update``: NO ACTION, CASCADE, SET NULL, SET DEFAULT. ``referenced_table`` is
    the SQLite name of the parent."""

    name: str
    object_id: int
    columns: tuple[str, ...]
    referenced_schema: str
    referenced_table: str
    referenced_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    system_named: bool = True
    disabled: bool = False


class CheckInfo(msgspec.Struct, frozen=True):
    """A CHECK constraint; ``text`` is the predicate in T-SQL, ``native`` in SQLite's SQL when SQLite itself
    checks it. ``column`` names the one column of a constraint that was written with a column."""

    name: str
    object_id: int
    text: str
    column: str | None = None
    native: str | None = None
    system_named: bool = True
    disabled: bool = False


class TableInfo(msgspec.Struct, frozen=True):
    """One table. ``sqlite_name`` is its name in the file (``T`` for dbo.T, ``s.T`` for s.T). ``row_key``
    are the columns that address a row: ("rowid",), or the primary key of a WITHOUT ROWID table.
    ``known`` says that our metadata describes it."""

    schema: str
    name: str
    object_id: int
    sqlite_name: str
    columns: tuple[ColumnInfo, ...]
    keys: tuple[KeyInfo, ...] = ()
    indexes: tuple[IndexInfo, ...] = ()
    foreign_keys: tuple[ForeignKeyInfo, ...] = ()
    checks: tuple[CheckInfo, ...] = ()
    created: str = ""
    modified: str = ""
    row_key: tuple[str, ...] = ("rowid",)
    known: bool = False

    def column(self, name: str) -> ColumnInfo | None:
        lowered = name.lower()
        for column in self.columns:
            if column.name.lower() == lowered:
                return column
        return None

    @property
    def primary_key(self) -> KeyInfo | None:
        return next((key for key in self.keys if key.primary), None)

    @property
    def identity_column(self) -> ColumnInfo | None:
        return next((column for column in self.columns if column.identity), None)

    @property
    def numbered_indexes(self) -> tuple[tuple[int, KeyInfo | IndexInfo], ...]:
        """The indexes with their index_id: 1 is the clustered one; without one there is the heap, 0, which
        is not listed."""
        everything: list[KeyInfo | IndexInfo] = [*self.keys, *self.indexes]
        clustered = [index for index in everything if index.clustered]
        others = [index for index in everything if not index.clustered]
        return tuple(
            [(1, index) for index in clustered[:1]]
            + [(number, index) for number, index in enumerate(others + clustered[1:], 2)]
        )

    def constraint(self, name: str) -> KeyInfo | ForeignKeyInfo | CheckInfo | DefaultInfo | None:
        lowered = name.lower()
        for item in self.constraints():
            if item.name.lower() == lowered:
                return item
        return None

    def constraints(self) -> Iterator[KeyInfo | ForeignKeyInfo | CheckInfo | DefaultInfo]:
        yield from self.keys
        yield from self.foreign_keys
        yield from self.checks
        for column in self.columns:
            if column.default is not None:
                yield column.default

    def with_columns(self, columns: tuple[ColumnInfo, ...]) -> TableInfo:
        return replace(
            self,
            columns=tuple(replace(column, ordinal=n) for n, column in enumerate(columns, 1)),
        )


class ModuleInfo(msgspec.Struct, frozen=True):
    """A view (V), procedure (P), scalar function (FN), inline (IF) or multi-statement (TF) table function,
    trigger (TR) or synonym (SN, ``text`` is the target's name). ``text`` is the whole statement, to the
    byte. A view that was made by another SQLite tool has ``foreign`` set and SQLite's text; a trigger that
    does not fire has ``disabled``."""

    schema: str
    name: str
    object_id: int
    kind: str
    text: str
    created: str = ""
    modified: str = ""
    parent_id: int = 0
    quoted_identifier: bool = True
    ansi_nulls: bool = True
    foreign: bool = False
    disabled: bool = False


class SchemaInfo(msgspec.Struct, frozen=True):
    name: str
    schema_id: int


class PropertyInfo(msgspec.Struct, frozen=True):
    """An extended property. ``kind`` is sys.extended_properties' class; ``value`` lies as sql_variant does in
    a file, None for NULL."""

    kind: int
    major: int
    minor: int
    name: str
    value: str | None


class DatabaseSchema(msgspec.Struct, frozen=True):
    """Everything in one database at one moment. Keys of the mappings are (schema, name) in lower case."""

    tables: dict[tuple[str, str], TableInfo] = msgspec.field(default_factory=dict)
    modules: dict[tuple[str, str], ModuleInfo] = msgspec.field(default_factory=dict)
    schemas: tuple[SchemaInfo, ...] = ()
    properties: tuple[PropertyInfo, ...] = ()

    def table(self, schema: str, name: str) -> TableInfo | None:
        return self.tables.get((schema.lower(), name.lower()))

    def module(self, schema: str, name: str) -> ModuleInfo | None:
        return self.modules.get((schema.lower(), name.lower()))

    def has_schema(self, name: str) -> bool:
        return any(schema.name.lower() == name.lower() for schema in self.schemas)

    def by_id(self, object_id: int) -> TableInfo | ModuleInfo | None:
        for table in self.tables.values():
            if table.object_id == object_id:
                return table
        for module in self.modules.values():
            if module.object_id == object_id:
                return module
        return None

    def referencing(self, table: TableInfo) -> list[tuple[TableInfo, ForeignKeyInfo]]:
        """The foreign keys of any table that point to ``table``."""
        lowered = table.sqlite_name.lower()
        return [
            (child, key)
            for child in self.tables.values()
            for key in child.foreign_keys
            if key.referenced_table.lower() == lowered
        ]


BUILT_IN_SCHEMAS: Final = (
    SchemaInfo("dbo", 1),
    SchemaInfo("guest", 2),
    SchemaInfo("INFORMATION_SCHEMA", 3),
    SchemaInfo("sys", 4),
)
