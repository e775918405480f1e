"""Reads what an attached database holds, from SQLite's schema and our metadata beside it.

Where the two disagree the file is right: another SQLite tool may have changed it. A table that no metadata
describes is read from SQLite's pragmas alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from tdsproxy.server.metadata import PREFIX, Metadata, module_from_row, table_from_row
from tdsproxy.server.schema import (
    BUILT_IN_SCHEMAS,
    DEFAULT_SCHEMA,
    ColumnInfo,
    DatabaseSchema,
    DefaultInfo,
    ForeignKeyInfo,
    IdentityInfo,
    IndexInfo,
    KeyInfo,
    ModuleInfo,
    SchemaInfo,
    TableInfo,
    object_id_of,
)
from tdsproxy.server.workspace import Workspace, is_temporary, text_literal
from tdsproxy.store.encoding import parse_declared
from tdsproxy.tsql import types as t

_AUTOINCREMENT: Final = re.compile(r"\bAUTOINCREMENT\b", re.IGNORECASE)
_WITHOUT_ROWID: Final = re.compile(r"\bWITHOUT\s+ROWID\b[^)]*$", re.IGNORECASE)
_UNKNOWN_TIME: Final = "2000-01-01 00:00:00.000"


@dataclass(frozen=True, slots=True)
class _IndexRow:
    name: str
    unique: bool
    origin: str
    columns: tuple[tuple[str, bool], ...]
    partial: bool


class SchemaReader:
    """Schemas of the databases attached to a workspace, read again when a file's schema has changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._work = workspace
        self._cache: dict[str, tuple[tuple[int, int], DatabaseSchema]] = {}
        self._read: set[str] = set()
        workspace.on_rollback.append(self._forget)

    def _forget(self) -> Callable[[], None]:
        return self._cache.clear

    def forget(self) -> None:
        """Reads everything again at the next question: a statement that changed a schema was undone."""
        self._cache.clear()

    def version(self, schema: str) -> tuple[int, int]:
        """A pair that differs after each change of the database's objects."""
        number = self._work.value(f"PRAGMA {schema}.schema_version")
        return (int(str(number)), Metadata(self._work, schema).version())

    def begin_statement(self) -> None:
        """From here on ``changed`` is about what is read."""
        self._read.clear()

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Statements that run within another one: what that has read is still its own afterwards."""
        kept = set(self._read)
        try:
            yield
        finally:
            self._read = kept

    def seen(self) -> dict[str, DatabaseSchema]:
        """The objects of each schema that the statement has read, as they were read."""
        return {schema: self._cache[schema][1] for schema in self._read if schema in self._cache}

    def is_at(self, schema: str, seen: DatabaseSchema) -> bool:
        """Whether the objects of a schema are still those that were ``seen``. The statement counts as one
        that has read them. A version alone would not tell: after a rollback it is given out again."""
        self._read.add(schema)
        cached = self._cache.get(schema)
        return cached is not None and cached[1] is seen and cached[0] == self.version(schema)

    def changed(self) -> bool:
        """Whether an object of a database that the statement has read the objects of has been changed since:
        what was made of them is void."""
        for schema in self._read:
            cached = self._cache.get(schema)
            if cached is not None and cached[0] != self.version(schema):
                return True
        return False

    def read(self, schema: str) -> DatabaseSchema:
        """The objects of the database attached as ``schema``."""
        self._read.add(schema)
        with self._work.reading():
            version = self.version(schema)
            cached = self._cache.get(schema)
            if cached is not None and cached[0] == version:
                return cached[1]
            made = _Reading(self._work, schema).database()
        self._cache[schema] = (version, made)
        return made


class _Reading:
    """One reading of one schema."""

    def __init__(self, work: Workspace, schema: str) -> None:
        self.work = work
        self.schema = schema
        self.literal = text_literal(schema)
        rows = work.run(
            f"SELECT type, name, coalesce(sql, '') FROM {schema}.sqlite_schema"
            " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        self.sql = {str(name): str(sql) for kind, name, sql in rows if kind == "table"}
        self.views = {str(name): str(sql) for kind, name, sql in rows if kind == "view"}

    def database(self) -> DatabaseSchema:
        metadata = Metadata(self.work, self.schema)
        known: dict[str, TableInfo] = {}
        modules: dict[tuple[str, str], ModuleInfo] = {}
        for row in metadata.rows():
            if row.kind == "U":
                table = table_from_row(row)
                known[table.sqlite_name.lower()] = table
            else:
                module = module_from_row(row)
                modules[(module.schema.lower(), module.name.lower())] = module
        columns = self._columns()
        indexes = self._indexes()
        foreign = self._foreign_keys()
        tables: dict[tuple[str, str], TableInfo] = {}
        for name in self.sql:
            if name.lower().startswith(PREFIX):
                continue
            described = known.get(name.lower())
            read = self._table(name, columns.get(name, []), indexes.get(name, []), foreign.get(name, []))
            table = read if described is None else _reconciled(described, read)
            tables[(table.schema.lower(), table.name.lower())] = table
        for name, sql in self.views.items():
            schema, plain = split_name(name)
            key = (schema.lower(), plain.lower())
            if key not in modules:
                number = object_id_of("V", schema, plain)
                modules[key] = ModuleInfo(
                    schema, plain, number, "V", sql, _UNKNOWN_TIME, _UNKNOWN_TIME, foreign=True
                )
        own = tuple(SchemaInfo(name, number) for number, name in metadata.schemas())
        return DatabaseSchema(tables, modules, BUILT_IN_SCHEMAS + own, metadata.properties())

    def _columns(self) -> dict[str, list[tuple[object, ...]]]:
        found: dict[str, list[tuple[object, ...]]] = defaultdict(list)
        for table, *rest in self.work.run(
            'SELECT m.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden'
            f" FROM {self.schema}.sqlite_schema m, pragma_table_xinfo(m.name, {self.literal}) x"
            " WHERE m.type = 'table' ORDER BY m.name, x.cid"
        ):
            found[str(table)].append(tuple(rest))
        return found

    def _indexes(self) -> dict[str, list[_IndexRow]]:
        parts: dict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
        heads: dict[tuple[str, str], tuple[bool, str, bool]] = {}
        for table, name, unique, origin, partial, column, descending in self.work.run(
            'SELECT m.name, i.name, i."unique", i.origin, i.partial, x.name, x."desc"'
            f" FROM {self.schema}.sqlite_schema m, pragma_index_list(m.name, {self.literal}) i,"
            f" pragma_index_xinfo(i.name, {self.literal}) x"
            " WHERE m.type = 'table' AND x.key = 1 ORDER BY m.name, i.seq DESC, x.seqno"
        ):
            key = (str(table), str(name))
            heads[key] = (bool(unique), str(origin), bool(partial))
            parts[key].append((str(column), bool(descending)))
        found: dict[str, list[_IndexRow]] = defaultdict(list)
        for (table, name), (unique, origin, partial) in heads.items():
            found[table].append(_IndexRow(name, unique, origin, tuple(parts[table, name]), partial))
        return found

    def _foreign_keys(self) -> dict[str, list[tuple[object, ...]]]:
        found: dict[str, list[tuple[object, ...]]] = defaultdict(list)
        for table, *rest in self.work.run(
            'SELECT m.name, f.id, f."table", f."from", f."to", f.on_update, f.on_delete'
            f" FROM {self.schema}.sqlite_schema m, pragma_foreign_key_list(m.name, {self.literal}) f"
            " WHERE m.type = 'table' ORDER BY m.name, f.id DESC, f.seq"
        ):
            found[str(table)].append(tuple(rest))
        return found

    def _table(
        self,
        sqlite_name: str,
        columns: list[tuple[object, ...]],
        indexes: list[_IndexRow],
        foreign: list[tuple[object, ...]],
    ) -> TableInfo:
        schema, name = split_name(sqlite_name)
        if is_temporary(self.schema):
            schema = "#0"
            name = sqlite_name
        sql = self.sql[sqlite_name]
        key_columns = sorted((int(str(c[4])), str(c[0])) for c in columns if c[4])
        without_rowid = bool(_WITHOUT_ROWID.search(sql))
        rowid_key = (
            len(key_columns) == 1 and not without_rowid and not any(index.origin == "pk" for index in indexes)
        )
        made = []
        for ordinal, (column, declared, not_null, default, pk, hidden) in enumerate(columns, 1):
            is_rowid = rowid_key and bool(pk)
            identity = IdentityInfo(1, 1) if is_rowid and _AUTOINCREMENT.search(sql) else None
            kind = t.BIGINT if is_rowid else parse_declared(str(declared))
            if kind == t.REAL:
                kind = t.FLOAT  # what SQLite calls REAL is a double; our own columns are described
            made.append(
                ColumnInfo(
                    str(column),
                    kind,
                    nullable=not not_null and not pk,
                    ordinal=ordinal,
                    identity=identity,
                    default=self._default(schema, name, str(column), default),
                    rowid=is_rowid,
                    generated=hidden in (2, 3),
                )
            )
        keys = [
            KeyInfo(
                _constraint_name("PK" if index.origin == "pk" else "UQ", schema, name, index.columns),
                object_id_of("PK", schema, f"{name}.{index.name}"),
                index.origin == "pk",
                index.columns,
                clustered=index.origin == "pk",
            )
            for index in indexes
            if index.origin in ("pk", "u")
        ]
        if rowid_key:
            pairs = ((key_columns[0][1], False),)
            keys.insert(
                0,
                KeyInfo(
                    _constraint_name("PK", schema, name, pairs),
                    object_id_of("PK", schema, name),
                    True,
                    pairs,
                    clustered=True,
                ),
            )
        plain = tuple(
            IndexInfo(index.name, index.columns, index.unique, sqlite_name=index.name)
            for index in indexes
            if index.origin == "c" and all(column != "None" for column, _ in index.columns)
        )
        return TableInfo(
            schema,
            name,
            object_id_of("U", schema, name),
            sqlite_name,
            tuple(made),
            tuple(keys),
            plain,
            tuple(self._read_foreign_keys(schema, name, foreign)),
            created=_UNKNOWN_TIME,
            modified=_UNKNOWN_TIME,
            row_key=tuple(column for _, column in key_columns) if without_rowid else ("rowid",),
        )

    @staticmethod
    def _default(schema: str, table: str, column: str, text: object) -> DefaultInfo | None:
        if text is None:
            return None
        number = object_id_of("D", schema, f"{table}.{column}")
        return DefaultInfo(
            f"DF__{table[:9]}__{column[:5]}__{number:08X}", number, f"({text})", True, str(text)
        )

    def _read_foreign_keys(
        self, schema: str, name: str, rows: list[tuple[object, ...]]
    ) -> list[ForeignKeyInfo]:
        grouped: dict[int, list[tuple[object, ...]]] = defaultdict(list)
        for row in rows:
            grouped[int(str(row[0]))].append(row)
        made = []
        for number, parts in grouped.items():
            parent = str(parts[0][1])
            columns = tuple(str(part[2]) for part in parts)
            targets = tuple(str(part[3]) for part in parts if part[3] is not None)
            parent_schema, _ = split_name(parent)
            object_id = object_id_of("F", schema, f"{name}.{number}")
            made.append(
                ForeignKeyInfo(
                    f"FK__{name[:9]}__{columns[0][:5]}__{object_id:08X}",
                    object_id,
                    columns,
                    parent_schema,
                    parent,
                    targets or self._primary_key_of(parent),
                    str(parts[0][5]),
                    str(parts[0][4]),
                )
            )
        return made

    def _primary_key_of(self, table: str) -> tuple[str, ...]:
        rows = self.work.run(
            f"SELECT name FROM pragma_table_info(?, {self.literal}) WHERE pk > 0 ORDER BY pk", (table,)
        )
        return tuple(str(row[0]) for row in rows)


def _constraint_name(kind: str, schema: str, table: str, columns: tuple[tuple[str, bool], ...]) -> str:
    number = object_id_of(kind, schema, table + "".join(name for name, _ in columns))
    return f"{kind}__{table[:9]}__{number:016X}"


def split_name(sqlite_name: str) -> tuple[str, str]:
    """Schema and name of a table in the file: ``T`` is dbo.T, ``s.T`` is s.T."""
    schema, dot, name = sqlite_name.partition(".")
    return (schema, name) if dot and schema and name else (DEFAULT_SCHEMA, sqlite_name)


def sqlite_name_of(schema: str, name: str) -> str:
    return name if schema.lower() == DEFAULT_SCHEMA else f"{schema}.{name}"


def _reconciled(described: TableInfo, read: TableInfo) -> TableInfo:
    """Our description of a table, corrected by what the file says now."""
    in_file = {column.name.lower(): column for column in read.columns}
    columns = [
        replace(column, rowid=in_file[column.name.lower()].rowid) if column.computed is None else column
        for column in described.columns
        if column.computed is not None or column.name.lower() in in_file
    ]
    names = {column.name.lower() for column in columns}
    columns += [column for column in read.columns if column.name.lower() not in names]
    known = {index.sqlite_name.lower() for index in described.indexes}
    present = {index.sqlite_name.lower() for index in read.indexes}
    indexes = [index for index in described.indexes if index.sqlite_name.lower() in present]
    indexes += [index for index in read.indexes if index.sqlite_name.lower() not in known]
    return replace(
        described,
        columns=tuple(replace(column, ordinal=n) for n, column in enumerate(columns, 1)),
        indexes=tuple(indexes),
        row_key=read.row_key,
    )
