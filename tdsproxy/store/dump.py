"""A database as a script of SQLite's SQL, which builds an equal one where it is run.

Equal are schema, rows and their rowids, ``user_version`` and ``application_id``; values keep their storage
class to the bit. Tables of virtual tables are written as they are and the virtual table is entered into the
schema, as the ``sqlite3`` shell does it, so the program that reads the script needs no module for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from tdsproxy.store.file_keys import connect

_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")
_ENCODINGS: Final = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
_KINDS: Final = ("index", "trigger", "view")


def dump_file(path: Path) -> Iterator[str]:
    """The lines of the script for the database file at ``path``, as one committed state. Others may read and
    write meanwhile. Raises apsw.Error."""
    connection = connect(path)
    try:
        connection.set_busy_timeout(15_000)
        # The WAL of a database whose log is kept is not ours to end.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("BEGIN")
        yield from dump(connection)
    finally:
        connection.close()


def dump(connection: apsw.Connection) -> Iterator[str]:
    """The lines of the script for what ``connection``, in a read transaction, sees as ``main``."""
    encoding = _value(connection, "PRAGMA encoding")
    yield f"PRAGMA encoding = '{encoding}';"
    yield "PRAGMA foreign_keys = OFF;"
    yield "BEGIN TRANSACTION;"
    for name in ("user_version", "application_id"):
        yield f"PRAGMA {name} = {_value(connection, f'PRAGMA {name}')};"
    rows = list(connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY rowid"))
    virtual = [row for row in rows if row[0] == "table" and _is_virtual(row[3])]
    sequence = any(
        _has_sequence(connection, name)
        for kind, name, _, sql in rows
        if kind == "table" and sql and "AUTOINCREMENT" in sql.upper()
    )
    statistics = False
    for kind, name, _, sql in rows:
        if kind != "table" or _is_virtual(sql):
            continue
        if name == "sqlite_stat1":  # the others depend on how a library was built
            statistics = True
        elif not name.lower().startswith("sqlite_"):
            yield f"{sql};"
            yield from _rows(connection, name)
    if sequence:
        yield "DELETE FROM sqlite_sequence;"
        yield from _plain_rows(connection, "sqlite_sequence")
    if statistics:
        yield "ANALYZE sqlite_schema;"
        yield "DELETE FROM sqlite_stat1;"
        yield from _plain_rows(connection, "sqlite_stat1")
    if virtual:
        yield "PRAGMA writable_schema = ON;"
        for kind, name, table, sql in virtual:
            values = ", ".join(literal(value) for value in (kind, name, table, 0, sql))
            yield f"INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ({values});"
        yield "PRAGMA writable_schema = OFF;"
    for kind, _, _, sql in rows:
        if kind in _KINDS and sql:
            yield f"{sql};"
    yield "COMMIT;"


def _is_virtual(sql: str | None) -> bool:
    return sql is not None and sql.lstrip().upper().startswith("CREATE VIRTUAL TABLE")


def _has_sequence(connection: apsw.Connection, table: str) -> bool:
    """Whether it says AUTOINCREMENT, and not in a comment or a text."""
    keys = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0", (table,)).fetchall()
    return any(connection.column_metadata("main", table, str(row[0]))[4] for row in keys)


def _value(connection: apsw.Connection, sql: str) -> object:
    return next(connection.execute(sql))[0]


def _rows(connection: apsw.Connection, table: str) -> Iterator[str]:
    about = list(connection.execute("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,)))
    stored = [name for name, _, _, hidden in about if hidden == 0]
    names = {name.lower() for name, *_ in about}
    keys = [(name, type_) for name, type_, pk, _ in about if pk]
    listed = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    without = any(bool(row[0]) for row in connection.execute(listed, (table,)))
    is_alias = len(keys) == 1 and keys[0][1].upper() == "INTEGER"
    rowid = None
    if not without and not is_alias:
        rowid = next((name for name in _ROWID_NAMES if name not in names), None)
    columns = [*([rowid] if rowid else []), *(quoted(name) for name in stored)]
    yield from _inserts(connection, quoted(table), columns)


def _plain_rows(connection: apsw.Connection, table: str) -> Iterator[str]:
    columns = [
        quoted(row[0]) for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    ]
    yield from _inserts(connection, table, columns)


def _inserts(connection: apsw.Connection, table: str, columns: list[str]) -> Iterator[str]:
    listed = ", ".join(columns)
    head = f"INSERT INTO {table} ({listed}) VALUES ("
    encoding = _ENCODINGS[str(_value(connection, "PRAGMA encoding"))]
    for row in connection.execute(f"SELECT {listed} FROM main.{table}"):
        yield f"{head}{', '.join(literal(value, encoding) for value in row)});"


def quoted(name: str) -> str:
    """An identifier of SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(value: object, encoding: str = "utf-8") -> str:
    """A value as SQL writes it, with its storage class; ``encoding`` is that of the database."""
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(int(value))
        case float():
            if math.isinf(value):
                return "9.0e999" if value > 0 else "-9.0e999"
            return repr(value)
        case bytes():
            return f"x'{value.hex()}'"
        case str():
            if "\0" in value:  # a string of SQL ends there for the shell
                return f"CAST(x'{value.encode(encoding).hex()}' AS TEXT)"
            escaped = value.replace("'", "''")
            return f"'{escaped}'"
    raise TypeError(f"{type(value).__name__} is not a value of SQLite")
