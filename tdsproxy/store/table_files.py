"""The tables of a database file as texts: CSV (RFC 4180, UTF-8, a header row) and lines of JSON.

In CSV an empty field is NULL and a quoted empty field is the empty text. Numbers, dates and times are written
as T-SQL writes them, so that the server reads each as the value that it was; binary values are ``0x`` and
hexadecimal digits. In JSON, integers and floats are numbers and a bit is true or false; everything else is
the text that CSV has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import apsw

from tdsproxy.store.dump import quoted
from tdsproxy.store.encoding import Stored, from_storage, parse_declared
from tdsproxy.store.file_keys import connect
from tdsproxy.tsql.types import SqlType

OWN: Final = "__tds_"
"""How the names of tables begin that are not the user's."""

_DEFAULT_SCHEMA: Final = "dbo"
_SAFE: Final = " !#$&'()+,-=@[]^_`{}~"
_QUOTED: Final = re.compile(r'[",\r\n]|\A\Z|\A\s|\s\Z')
_NUMBERS: Final = frozenset({"tinyint", "smallint", "int", "bigint", "float", "real"})


@dataclass(frozen=True, slots=True)
class StoredTable:
    """``name`` as the file has it. ``columns``: names and types of those that are stored."""

    name: str
    columns: tuple[tuple[str, SqlType], ...]

    @property
    def stem(self) -> str:
        """The name of its file, without an ending: SCHEMA.TABLE."""
        schema, dot, name = self.name.partition(".")
        pair = (schema, name) if dot and schema and name else (_DEFAULT_SCHEMA, self.name)
        return ".".join(quote(part, safe=_SAFE).replace(".", "%2E") for part in pair)


def table_of(stem: str) -> tuple[str, str]:
    """Schema and table that a file's name, without its ending, is for: the reverse of ``stem``."""
    schema, dot, name = stem.partition(".")
    return (unquote(schema), unquote(name)) if dot else (_DEFAULT_SCHEMA, unquote(stem))


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """A connection that sees one committed state of the file; others may read and write meanwhile. Raises
    apsw.Error."""
    connection = connect(path)
    try:
        connection.set_busy_timeout(15_000)
        # The WAL of a database whose log is kept is not ours to end.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


def tables(connection: apsw.Connection) -> list[StoredTable]:
    """The user's tables, by name."""
    listed = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name"
    names = [str(row[0]) for row in connection.execute(listed)]
    about = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid"
    return [
        StoredTable(
            name,
            tuple(
                (str(column), parse_declared(type_)) for column, type_ in connection.execute(about, (name,))
            ),
        )
        for name in names
        if not name.lower().startswith(("sqlite_", OWN))
    ]


def csv_lines(connection: apsw.Connection, table: StoredTable) -> Iterator[str]:
    """With their ends. Raises apsw.Error."""
    yield ",".join(_field(name) for name, _ in table.columns) + "\n"
    for row in _rows(connection, table):
        yield ",".join("" if value is None else _field(text_of(value, type_)) for value, type_ in row) + "\n"


def json_lines(connection: apsw.Connection, table: StoredTable) -> Iterator[str]:
    """One object a row, with line ends. Raises apsw.Error."""
    names = [name for name, _ in table.columns]
    for row in _rows(connection, table):
        made = {name: _plain(value, type_) for name, (value, type_) in zip(names, row, strict=True)}
        yield json.dumps(made, ensure_ascii=False) + "\n"


def _rows(connection: apsw.Connection, table: StoredTable) -> Iterator[list[tuple[Stored, SqlType]]]:
    listed = ", ".join(quoted(name) for name, _ in table.columns)
    types = [type_ for _, type_ in table.columns]
    for row in connection.execute(f"SELECT {listed} FROM main.{quoted(table.name)}"):
        yield list(zip(row, types, strict=True))


def _field(text: str) -> str:
    if _QUOTED.search(text) is None:
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def text_of(raw: Stored, type_: SqlType) -> str:
    """A stored value, not NULL, as text that the server reads as that value. What another program has put
    there and has no reading as ``type_`` stays as it is."""
    if isinstance(raw, bytes):
        return f"0x{raw.hex().upper()}"
    if type_.name == "sql_variant" and isinstance(raw, str):
        base, bar, inner = raw.partition("|")
        return f"{base}|{text_of(inner, parse_declared(base))}" if bar else raw
    if type_.name in ("decimal", "money", "smallmoney"):
        try:
            value = from_storage(raw, type_)
        except (ValueError, ArithmeticError):
            return str(raw)
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    return repr(raw) if isinstance(raw, float) else str(raw)


def _plain(raw: Stored, type_: SqlType) -> Stored:
    if raw is None:
        return None
    if type_.name == "bit" and raw in (0, 1):
        return bool(raw)
    if type_.name in _NUMBERS and isinstance(raw, int | float) and abs(raw) != float("inf"):
        return raw
    return text_of(raw, type_)
