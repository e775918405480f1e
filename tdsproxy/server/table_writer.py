"""Writes rows of one table within one T-SQL statement, with T-SQL's rules where SQLite's differ.

Values arrive in storage form, already converted to the columns' types. SQLite checks keys, native CHECKs and
foreign keys; what it can't (NULLs equal in unique keys, case beyond ASCII, CHECKs that need T-SQL functions)
is checked here by queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import apsw

from tdsproxy.server.compiler.binder import INTEGER_RANGES
from tdsproxy.server.compiler.collations import collation_of
from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.failures import failed, key_text
from tdsproxy.server.metadata import Metadata
from tdsproxy.server.schema import ColumnInfo, DatabaseSchema, ForeignKeyInfo, IndexInfo, KeyInfo, TableInfo
from tdsproxy.server.workspace import Workspace, is_temporary, quoted, text_literal
from tdsproxy.store.encoding import Stored, from_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError

RowKey = tuple[Stored, ...]
CheckTest = Callable[[RowKey], bool]
"""Whether a row violates a check."""

_BEYOND: Final = "\U0010ffff"


class TableWriter:
    """One statement's writes to one table. ``verb`` is INSERT, UPDATE or DELETE, for messages."""

    def __init__(
        self,
        work: Workspace,
        found: FoundTable,
        objects: DatabaseSchema,
        verb: str,
        line: int,
        checks: Sequence[tuple[str, str | None, CheckTest]] = (),
    ) -> None:
        self._work = work
        self.found = found
        self.table: TableInfo = found.table
        self._objects = objects
        self._verb = verb
        self._line = line
        self._checks = checks
        self._target = f"{found.schema}.{quoted(self.table.sqlite_name)}"
        self._where = " AND ".join(
            f"{key if key == 'rowid' else quoted(key)} = ?" for key in self.table.row_key
        )
        self._inserted: dict[tuple[str, ...], str] = {}
        self._identity_next: int | None = None
        self.last_identity: int | None = None
        self.touched: list[RowKey] = []

    # ------------------------------------------------------------------ names in messages

    @property
    def _shown(self) -> str:
        """The table as messages 2601 and 2627 show it."""
        schema = self.table.schema if not is_temporary(self.found.schema) else "dbo"
        return f"{schema}.{self.table.name}"

    @property
    def _qualified(self) -> str:
        return f"{self.found.database}.{self._shown}"

    @property
    def _conflict_name(self) -> str:
        return self.table.name if is_temporary(self.found.schema) else self._shown

    # ------------------------------------------------------------------ rows

    def insert(self, columns: tuple[str, ...], values: Sequence[Stored]) -> RowKey:
        """Inserts one row; ``columns`` are all the columns that have a value, the identity column among them
        only with IDENTITY_INSERT. Returns the row's key."""
        self._not_null(columns, values)
        identity = self.table.identity_column
        names, row = columns, list(values)
        if identity is not None and identity.name not in columns and not identity.rowid:
            number = self._next_identity(identity)
            names = (*columns, identity.name)
            row.append(number)
        self._unique_by_collation(names, row, None)
        sql = self._inserted.get(names)
        if sql is None:
            places = ", ".join("?" * len(names))
            listed = ", ".join(map(quoted, names))
            sql = f"INSERT INTO {self._target} ({listed}) VALUES ({places})"
            if not names:
                sql = f"INSERT INTO {self._target} DEFAULT VALUES"
            self._inserted[names] = sql
        try:
            self._work.connection.execute(sql, row)
        except apsw.ConstraintError as error:
            raise self._conflict(error, dict(zip(names, row, strict=True))) from error
        rowid = self._work.connection.last_insert_rowid()
        if identity is not None:
            self._note_identity(identity, names, row, rowid)
        if self.table.row_key == ("rowid",):
            key: RowKey = (rowid,)
        else:
            given = dict(zip(names, row, strict=True))
            key = tuple(given[name] for name in self.table.row_key)
        self._after(key)
        return key

    def update(self, key: RowKey, columns: tuple[str, ...], values: Sequence[Stored]) -> RowKey:
        """Changes one row; returns its key afterwards."""
        self._not_null(columns, values)
        self._unique_by_collation(columns, values, key)
        assignments = ", ".join(f"{quoted(name)} = ?" for name in columns)
        try:
            self._work.connection.execute(
                f"UPDATE {self._target} SET {assignments} WHERE {self._where}", (*values, *key)
            )
        except apsw.ConstraintError as error:
            raise self._conflict(error, self._whole(key, columns, values)) from error
        given = {name.lower(): value for name, value in zip(columns, values, strict=True)}
        rowid = next((column.name for column in self.table.columns if column.rowid), None)
        names = self.table.row_key if self.table.row_key != ("rowid",) else (rowid or "",)
        key = tuple(given.get(name.lower(), old) for name, old in zip(names, key, strict=True))
        self._after(key)
        return key

    def may_replace(self, columns: Sequence[str]) -> bool:
        """Whether the rows may be replaced: no foreign key hands a change of ``columns`` on to other rows."""
        changed = {name.lower() for name in columns}
        return not any(
            key.on_update.upper() != "NO ACTION"
            and changed & {name.lower() for name in key.referenced_columns}
            for _, key in self._objects.referencing(self.table)
        )

    def replace(
        self, columns: tuple[str, ...], changes: Sequence[tuple[RowKey, Sequence[Stored]]]
    ) -> list[RowKey]:
        """Changes the rows by deleting all of them and inserting them again, so that no row meets the old key
        of another; returns their keys afterwards. The foreign keys are looked at as a whole."""
        names = tuple(
            column.name for column in self.table.columns if column.computed is None and not column.generated
        )
        heap = self.table.row_key == ("rowid",) and not any(column.rowid for column in self.table.columns)
        rows = []
        for key, values in changes:
            self._not_null(columns, values)
            row = self._whole(key, columns, values)
            rows.append((*((key[0],) if heap else ()), *(row[name] for name in names)))
        # With foreign keys on, the deletion would be handed on to rows that refer to these.
        connection = self._work.connection
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        try:
            for key, _ in changes:
                self.delete(key)
            listed = ", ".join([*(("rowid",) if heap else ()), *map(quoted, names)])
            places = ", ".join("?" * (len(names) + heap))
            sql = f"INSERT INTO {self._target} ({listed}) VALUES ({places})"
            made = [self._put_back(sql, names, row, heap=heap) for row in rows]
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        for table in (self.table, *(child for child, _ in self._objects.referencing(self.table))):
            if self._violated(table) is not None:
                raise self.foreign_key_failure()
        return made

    def _put_back(self, sql: str, names: tuple[str, ...], row: tuple[Stored, ...], *, heap: bool) -> RowKey:
        values = row[1:] if heap else row
        self._unique_by_collation(names, values, None)
        given = dict(zip(names, values, strict=True))
        try:
            self._work.connection.execute(sql, row)
        except apsw.ConstraintError as error:
            raise self._conflict(error, given) from error
        key: RowKey
        if self.table.row_key == ("rowid",):
            key = (self._work.connection.last_insert_rowid(),)
        else:
            key = tuple(given[name] for name in self.table.row_key)
        self._after(key)
        return key

    def delete(self, key: RowKey) -> None:
        self._work.stop_if_cancelled()
        try:
            self._work.connection.execute(f"DELETE FROM {self._target} WHERE {self._where}", key)
        except apsw.ConstraintError as error:
            raise self._conflict(error, {}) from error

    def delete_all(self) -> int:
        self._work.run(f"DELETE FROM {self._target}")
        return self._work.connection.changes()

    def _after(self, key: RowKey) -> None:
        self._work.stop_if_cancelled()
        self.touched.append(key)
        for name, column, violated in self._checks:
            if violated(key):
                raise self._check_failed(name, column)

    def _whole(self, key: RowKey, columns: tuple[str, ...], values: Sequence[Stored]) -> dict[str, Stored]:
        names = [column.name for column in self.table.columns if column.computed is None]
        listed = ", ".join(map(quoted, names))
        rows = self._work.run(f"SELECT {listed} FROM {self._target} WHERE {self._where}", key)
        row: dict[str, Stored] = dict(zip(names, rows[0], strict=True)) if rows else {}  # type: ignore[arg-type]
        row.update(zip(columns, values, strict=True))
        return row

    def _not_null(self, columns: Sequence[str], values: Sequence[Stored]) -> None:
        given = {name.lower(): value for name, value in zip(columns, values, strict=True)}
        for column in self.table.columns:
            if column.nullable or not column.writable:
                continue
            missing = self._verb == "INSERT" and not (column.identity or column.rowid)
            if given.get(column.name.lower(), None if missing else 0) is None and not (
                column.rowid and self._verb == "INSERT"
            ):
                raise failed(
                    515,
                    16,
                    2,
                    f"Cannot insert the value NULL into column '{column.name}', table '{self._qualified}';"
                    f" column does not allow nulls. {self._verb} fails.",
                    self._line,
                )

    # ------------------------------------------------------------------ identity

    def _next_identity(self, column: ColumnInfo) -> int:
        identity = column.identity
        if identity is None:
            return 0
        if self._identity_next is None:
            last = Metadata(self._work, self.found.schema).last_identity(self.table.sqlite_name)
            self._identity_next = identity.seed if last is None else last + identity.increment
        number = self._identity_next
        self._check_identity(column, number)
        self._identity_next = number + identity.increment
        return number

    def _check_identity(self, column: ColumnInfo, number: int) -> None:
        low, high = INTEGER_RANGES.get(column.type.name, (-(10**38), 10**38))
        if not low <= number <= high:
            raise failed(
                8115,
                16,
                1,
                f"Arithmetic overflow error converting IDENTITY to data type {column.type.name}.",
                self._line,
            )

    def _note_identity(
        self, column: ColumnInfo, names: Sequence[str], row: Sequence[Stored], rowid: int
    ) -> None:
        if column.rowid:
            self._check_identity(column, rowid)
            self.last_identity = rowid
            return
        number = int(str(row[list(names).index(column.name)]))
        self.last_identity = number
        identity = column.identity
        if identity is not None and column.name in names:
            ahead = self._identity_next
            if ahead is None:
                stored = Metadata(self._work, self.found.schema).last_identity(self.table.sqlite_name)
                ahead = identity.seed if stored is None else stored + identity.increment
            following = number + identity.increment
            if (following > ahead) if identity.increment > 0 else (following < ahead):
                ahead = following
            self._identity_next = ahead

    # ------------------------------------------------------------------ uniqueness beyond SQLite's

    def _unique_by_collation(
        self, columns: Sequence[str], values: Sequence[Stored], key: RowKey | None
    ) -> None:
        """SQLite's unique keys miss what T-SQL holds equal: NULLs, case beyond ASCII, trailing blanks."""
        given = {name.lower(): value for name, value in zip(columns, values, strict=True)}
        uniques: list[KeyInfo | IndexInfo] = [*self.table.keys, *(i for i in self.table.indexes if i.unique)]
        whole: dict[str, Stored] | None = None
        for unique in uniques:
            names = [name for name, _ in unique.columns]
            if not any(name.lower() in given for name in names):
                continue
            kinds = [self.table.column(name) for name in names]
            if not any(kind is not None and (kind.type.is_character or kind.nullable) for kind in kinds):
                continue
            if isinstance(unique, IndexInfo) and unique.where:
                continue
            if any(name.lower() not in given for name in names):
                if key is not None:
                    whole = whole or self._whole(key, tuple(columns), values)
                else:
                    whole = whole or {}
            row = [given[n.lower()] if n.lower() in given else (whole or {}).get(n) for n in names]
            if self._same_key_exists(kinds, row, key):
                raise self._duplicate(unique, row)

    def _same_key_exists(
        self, columns: Sequence[ColumnInfo | None], row: Sequence[Stored], key: RowKey | None
    ) -> bool:
        conditions: list[str] = []
        bindings: list[Stored] = []
        needed = False
        for column, value in zip(columns, row, strict=True):
            if column is None:
                return False
            name = quoted(column.name)
            if value is None:
                needed = True
                conditions.append(f"{name} IS NULL")
            elif isinstance(value, str) and column.type.is_character:
                needed = True
                collation = collation_of(column.collation or "")
                if column.collation is None or "_CS" in column.collation or "_BIN" in column.collation:
                    conditions.append(f"{name} >= ? AND {name} < ?")
                    bindings += _range(value)
                conditions.append(f"{name} = ? COLLATE {collation}")
                bindings.append(value)
            else:
                conditions.append(f"{name} = ?")
                bindings.append(value)
        if not needed:
            return False
        if key is not None:
            conditions.append(f"NOT ({self._where})")
            bindings += key
        sql = f"SELECT 1 FROM {self._target} WHERE {' AND '.join(conditions)} LIMIT 1"
        return self._work.value(sql, tuple(bindings)) is not None

    # ------------------------------------------------------------------ conflicts

    def _conflict(self, error: apsw.ConstraintError, row: dict[str, Stored]) -> SqlError:
        text = str(error)
        _, _, detail = text.partition("constraint failed: ")
        detail = detail.strip()
        if "CHECK constraint failed" in text:
            check = self.table.constraint(detail)
            return self._check_failed(detail, getattr(check, "column", None))
        if "NOT NULL constraint failed" in text:
            column = detail.rpartition(".")[2]
            return failed(
                515,
                16,
                2,
                f"Cannot insert the value NULL into column '{column}', table '{self._qualified}';"
                f" column does not allow nulls. {self._verb} fails.",
                self._line,
            )
        if "UNIQUE constraint failed" in text or "PRIMARY KEY" in text:
            if detail.startswith("index '"):
                name = detail[7:-1]
                index = next((i for i in self.table.indexes if i.sqlite_name == name), None)
                return self._duplicate(index, [row.get(c) for c, _ in index.columns] if index else [])
            names = [part.rpartition(".")[2].lower() for part in detail.split(", ")]
            uniques: list[KeyInfo | IndexInfo] = [
                *self.table.keys,
                *(index for index in self.table.indexes if index.unique),
            ]
            lowered = {name.lower(): value for name, value in row.items()}
            for unique in uniques:
                if [name.lower() for name, _ in unique.columns] == names:
                    return self._duplicate(unique, [lowered.get(name) for name in names])
            return self._duplicate(None, [lowered.get(name) for name in names])
        if "FOREIGN KEY" in text:
            return self.foreign_key_failure()
        return failed(
            547, 16, 0, f"The {self._verb} statement conflicted with a constraint: {text}.", self._line
        )

    def _duplicate(self, unique: KeyInfo | IndexInfo | None, row: Sequence[Stored]) -> SqlError:
        shown: list[object] = []
        for index, value in enumerate(row):
            column = self.table.column(unique.columns[index][0]) if unique is not None else None
            if value is None or column is None:
                shown.append(value)
            else:
                typed = from_storage(value, column.type)
                shown.append(convert(typed, column.type, t.nvarchar(4000)))
        key = key_text(shown)
        if isinstance(unique, IndexInfo):
            return failed(
                2601,
                14,
                1,
                f"Cannot insert duplicate key row in object '{self._shown}' with unique index"
                f" '{unique.name}'. The duplicate key value is {key}.",
                self._line,
            )
        kind = "PRIMARY KEY" if unique is None or unique.primary else "UNIQUE KEY"
        name = unique.name if unique is not None else "PK"
        return failed(
            2627,
            14,
            1,
            f"Violation of {kind} constraint '{name}'. Cannot insert duplicate key in object"
            f" '{self._shown}'. The duplicate key value is {key}.",
            self._line,
        )

    def _check_failed(self, name: str, column: str | None) -> SqlError:
        tail = f", column '{column}'" if column else ""
        return failed(
            547,
            16,
            0,
            f'The {self._verb} statement conflicted with the CHECK constraint "{name}". The conflict occurred'
            f' in database "{self.found.database}", table "{self._conflict_name}"{tail}.',
            self._line,
        )

    # ------------------------------------------------------------------ the end of the statement

    def finish(self) -> None:
        """Checks the foreign keys and keeps the identity counter; raises SqlError 547."""
        if self._identity_next is not None:
            identity = self.table.identity_column
            if identity is not None and identity.identity is not None:
                Metadata(self._work, self.found.schema).save_identity(
                    self.table.sqlite_name, self._identity_next - identity.identity.increment
                )
        if not self._work.foreign_keys_hold():
            raise self.foreign_key_failure()

    def foreign_key_failure(self) -> SqlError:
        """Which foreign key the statement violates."""
        if self._verb != "DELETE":
            found = self._violated(self.table)
            if found is not None:
                same = found.referenced_table.lower() == self.table.sqlite_name.lower()
                kind = "FOREIGN KEY SAME TABLE" if same else "FOREIGN KEY"
                parent = self._table_named(found.referenced_table)
                shown = f"{parent.schema}.{parent.name}" if parent else found.referenced_table
                return self._foreign_key_message(kind, found, shown, found.referenced_columns)
        for child, _ in self._objects.referencing(self.table):
            found = self._violated(child)
            if found is not None and found.referenced_table.lower() == self.table.sqlite_name.lower():
                same = child.sqlite_name.lower() == self.table.sqlite_name.lower()
                kind = "SAME TABLE REFERENCE" if same else "REFERENCE"
                return self._foreign_key_message(kind, found, f"{child.schema}.{child.name}", found.columns)
        return failed(
            547,
            16,
            0,
            f"The {self._verb} statement conflicted with a FOREIGN KEY constraint. The conflict occurred in"
            f' database "{self.found.database}".',
            self._line,
        )

    def _foreign_key_message(
        self, kind: str, key: ForeignKeyInfo, table: str, columns: tuple[str, ...]
    ) -> SqlError:
        tail = f", column '{columns[0]}'" if len(columns) == 1 else ""
        return failed(
            547,
            16,
            0,
            f'The {self._verb} statement conflicted with the {kind} constraint "{key.name}". The conflict'
            f' occurred in database "{self.found.database}", table "{table}"{tail}.',
            self._line,
        )

    def _table_named(self, sqlite_name: str) -> TableInfo | None:
        lowered = sqlite_name.lower()
        return next((x for x in self._objects.tables.values() if x.sqlite_name.lower() == lowered), None)

    def _violated(self, table: TableInfo) -> ForeignKeyInfo | None:
        """A foreign key of ``table`` that some row violates now."""
        rows = self._work.run(
            f"SELECT fkid FROM pragma_foreign_key_check(?, {text_literal(self.found.schema)}) LIMIT 1",
            (table.sqlite_name,),
        )
        if not rows:
            return None
        parts = self._work.run(
            f'SELECT "from" FROM pragma_foreign_key_list(?, {text_literal(self.found.schema)})'
            " WHERE id = ? ORDER BY seq",
            (table.sqlite_name, rows[0][0]),
        )
        columns = [str(part[0]).lower() for part in parts]
        for key in table.foreign_keys:
            if [name.lower() for name in key.columns] == columns:
                return key
        return None


def _range(value: str) -> tuple[str, str]:
    """A half-open range, in NOCASE order, that holds every text which T-SQL may hold equal to ``value``."""
    trimmed = value.rstrip(" ")
    prefix = ""
    for char in trimmed:
        if ord(char) >= 128:
            return prefix, prefix + _BEYOND
        prefix += char
    return prefix, prefix + "!"
