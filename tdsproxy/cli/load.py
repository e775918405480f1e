"""``tdsproxy load``: files of CSV and JSON lines into tables of a database that is being served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import typer

from tdsproxy.cli.common import Config, Database, PasswordFile, Server, Store, User
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import OptionError, parse_address, resolve
from tdsproxy.cli.run import FIRST_ERROR_SEVERITY, password_of
from tdsproxy.cli.tds_client import Target, TdsClient
from tdsproxy.store.table_files import table_of
from tdsproxy.tds.tokens import Row, ServerMessage
from tdsproxy.tsql.data_files import (
    DataError,
    Insert,
    TargetColumn,
    bracketed,
    csv_rows,
    inserts,
    json_rows,
)

_CSV: Final = (".csv",)
_JSON: Final = (".jsonl", ".json", ".ndjson")
_SETTINGS: Final = (
    "SET XACT_ABORT, ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, QUOTED_IDENTIFIER, NOCOUNT ON;"
    " SET DATEFORMAT ymd; BEGIN TRANSACTION"
)
_COLUMNS: Final = """SELECT c.name, TYPE_NAME(c.system_type_id), c.is_identity, c.is_computed
FROM sys.columns c WHERE c.object_id = OBJECT_ID({table}, 'U')"""
_REFERENCES: Final = """SELECT SCHEMA_NAME(child.schema_id), child.name, SCHEMA_NAME(parent.schema_id),
parent.name FROM sys.foreign_keys k JOIN sys.objects child ON child.object_id = k.parent_object_id
JOIN sys.objects parent ON parent.object_id = k.referenced_object_id"""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    schema: str
    table: str

    @property
    def quoted(self) -> str:
        return f"{bracketed(self.schema)}.{bracketed(self.table)}"

    @property
    def key(self) -> Key:
        return self.schema.lower(), self.table.lower()


class _Refused(Exception):
    """What the server says of a statement."""


def load(
    name: Database,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="SCHEMA.TABLE.csv or .jsonl, as dump --csv and --json write them.", metavar="FILE..."
        ),
    ],
    table: Annotated[
        str | None,
        typer.Option("--table", help="SCHEMA.TABLE that the files are for. [each file's name]"),
    ] = None,
    server: Server = None,
    user: User = "sa",
    password_file: PasswordFile = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="Authorities (PEM) that the server's certificate must come from. [any]"),
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Load CSV or JSON files into tables. The tables exist; all is loaded, or nothing."""
    options = resolve({"store": store}, os.environ, config)
    given = [_file(path, table) for path in files]
    target = Target(
        parse_address(server) if server else options.listen,
        user,
        password_of(options, password_file),
        name,
        ca,
    )
    client = TdsClient(target)
    try:
        counts = _load(client, given)
    finally:
        client.close()
    for each, count in counts:
        typer.echo(f"{count} row{'' if count == 1 else 's'} into {each.schema}.{each.table}.")


def _file(path: Path, table: str | None) -> _File:
    """Raises CommandError, OptionError."""
    if path.suffix.lower() not in (*_CSV, *_JSON):
        raise OptionError(f"'{path}' is neither .csv nor .jsonl.")
    if not path.is_file():
        raise CommandError(f"There is no file '{path}'.")
    return _File(path, *table_of(path.stem if table is None else table))


def _load(client: TdsClient, files: list[_File]) -> list[tuple[_File, int]]:
    try:
        _run(client, _SETTINGS)
        ordered = _ordered(files, _run(client, _REFERENCES))
        counts = [(each, _load_file(client, each)) for each in ordered]
        _run(client, "COMMIT")
    except _Refused as error:
        raise CommandError(str(error)) from error
    return counts


def _ordered(files: list[_File], references: list[tuple[Any, ...]]) -> list[_File]:
    """What others refer to comes first."""
    parents: dict[Key, set[Key]] = {}
    for row in references:
        child, parent = (row[0].lower(), row[1].lower()), (row[2].lower(), row[3].lower())
        parents.setdefault(child, set()).add(parent)
    waiting, made = list(files), []
    while waiting:
        ahead = {each.key for each in waiting}
        free = [each for each in waiting if not (parents.get(each.key, set()) - {each.key}) & ahead]
        made.extend(free or waiting)
        waiting = [each for each in waiting if free and each not in free]
    return made


def _load_file(client: TdsClient, file: _File) -> int:
    """Raises CommandError, _Refused."""
    label = file.quoted.replace("'", "''")
    found = _run(client, _COLUMNS.format(table=f"N'{label}'"))
    if not found:
        raise CommandError(f"There is no table '{file.schema}.{file.table}'.")
    columns = {str(row[0]).lower(): TargetColumn(row[0], row[1], bool(row[2]), bool(row[3])) for row in found}
    identity = next((column.name.lower() for column in columns.values() if column.is_identity), None)
    count, switched = 0, False
    try:
        with _opened(file.path) as source:
            rows = csv_rows(source) if file.path.suffix.lower() in _CSV else json_rows(source)
            for statement in inserts(file.quoted, columns, rows):
                named = statement.text.partition(" VALUES\n")[0].lower()
                keeps = identity is not None and bracketed(identity) in named.partition("(")[2]
                if keeps != switched:
                    _run(client, f"SET IDENTITY_INSERT {file.quoted} {'ON' if keeps else 'OFF'}")
                    switched = keeps
                count += _insert(client, file, statement)
    except DataError as error:
        raise CommandError(f"{file.path}, line {error.line}: {error}") from error
    if switched:
        _run(client, f"SET IDENTITY_INSERT {file.quoted} OFF")
    return count


def _insert(client: TdsClient, file: _File, statement: Insert) -> int:
    try:
        rows = _run(client, f"{statement.text};\nSELECT @@ROWCOUNT")
    except _Refused as error:
        lines = (
            f"line {statement.first_line}"
            if statement.first_line == statement.last_line
            else f"lines {statement.first_line} to {statement.last_line}"
        )
        raise CommandError(f"{file.path}, {lines}: {error}") from error
    return int(rows[0][0])


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Raises CommandError when it can't be read, also later."""
    try:
        # Only a line feed ends a line: a field may hold the other ends.
        with path.open(encoding="utf-8-sig", newline="\n") as source:
            yield source
    except UnicodeDecodeError as error:
        raise CommandError(f"'{path}' can't be read: it is not UTF-8.") from error
    except OSError as error:
        raise CommandError(f"'{path}' can't be read: {error.strerror}.") from error


def _run(client: TdsClient, text: str) -> list[tuple[Any, ...]]:
    """The rows. Raises _Refused with the first error."""
    rows: list[tuple[Any, ...]] = []
    refused: ServerMessage | None = None
    for token in client.batch(text):
        if isinstance(token, Row):
            rows.append(token.values)
        elif isinstance(token, ServerMessage) and token.severity >= FIRST_ERROR_SEVERITY:
            refused = refused or token
    if refused is not None:
        raise _Refused(f"{refused.text} (Msg {refused.number})")
    return rows
