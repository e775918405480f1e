"""A table's definition as SQLite DDL: only what any SQLite can open and check."""

from __future__ import annotations

from tdsproxy.server.compiler.collations import collation_of
from tdsproxy.server.schema import ColumnInfo, IndexInfo, KeyInfo, TableInfo
from tdsproxy.server.workspace import quoted
from tdsproxy.store.encoding import declare


def create_table(table: TableInfo, schema: str, name: str | None = None) -> str:
    """CREATE TABLE for ``table`` in the attached ``schema``, under ``name`` when given."""
    parts = [_column(column, table) for column in table.columns if column.computed is None]
    for key in table.keys:
        if not _is_rowid_key(key, table):
            word = "PRIMARY KEY" if key.primary else "UNIQUE"
            parts.append(f"CONSTRAINT {quoted(key.name)} {word} ({_key_columns(key.columns)})")
    for check in table.checks:
        if check.native is not None and not check.disabled:
            parts.append(f"CONSTRAINT {quoted(check.name)} CHECK ({check.native})")
    for foreign in table.foreign_keys:
        if foreign.disabled:
            continue
        own = ", ".join(map(quoted, foreign.columns))
        other = ", ".join(map(quoted, foreign.referenced_columns))
        actions = "".join(
            f" ON {event} {action}"
            for event, action in (("DELETE", foreign.on_delete), ("UPDATE", foreign.on_update))
            if action != "NO ACTION"
        )
        parts.append(
            f"CONSTRAINT {quoted(foreign.name)} FOREIGN KEY ({own})"
            f" REFERENCES {quoted(foreign.referenced_table)} ({other}){actions}"
        )
    target = f"{schema}.{quoted(name or table.sqlite_name)}"
    return f"CREATE TABLE {target} (\n  " + ",\n  ".join(parts) + "\n)"


def _column(column: ColumnInfo, table: TableInfo) -> str:
    if column.rowid:
        key = table.primary_key
        name = f" CONSTRAINT {quoted(key.name)}" if key is not None else ""
        auto = " AUTOINCREMENT" if column.identity is not None else ""
        return f"{quoted(column.name)} INTEGER{name} PRIMARY KEY{auto} NOT NULL"
    text = f"{quoted(column.name)} {declare(column.type)}"
    if column.type.is_character and (column.collation is None or collation_of(column.collation) == "ts_ci"):
        text += " COLLATE NOCASE"
    if not column.nullable:
        text += " NOT NULL"
    if column.default is not None and column.default.native is not None:
        text += f" CONSTRAINT {quoted(column.default.name)} DEFAULT {column.default.native}"
    return text


def _is_rowid_key(key: KeyInfo, table: TableInfo) -> bool:
    if not key.primary or len(key.columns) != 1:
        return False
    column = table.column(key.columns[0][0])
    return column is not None and column.rowid


def _key_columns(columns: tuple[tuple[str, bool], ...]) -> str:
    return ", ".join(f"{quoted(name)}{' DESC' if descending else ''}" for name, descending in columns)


def create_index(table: TableInfo, index: IndexInfo, schema: str, native_where: str | None = None) -> str:
    """CREATE INDEX; a filter that SQLite can't express makes the index a plain one."""
    unique = "UNIQUE " if index.unique and (not index.where or native_where) else ""
    where = f" WHERE {native_where}" if native_where else ""
    return (
        f"CREATE {unique}INDEX {schema}.{quoted(index.sqlite_name)}"
        f" ON {quoted(table.sqlite_name)} ({_key_columns(index.columns)}){where}"
    )
