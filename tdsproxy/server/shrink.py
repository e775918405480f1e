"""DBCC SHRINKDATABASE and SHRINKFILE: SQLite's VACUUM, with SQL Server's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.sysviews.scope import DatabaseFacts
from tdsproxy.server.workspace import TEMP
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_PAGE: Final = 8192
_LEAST: Final = 1024
"""The pages below which SQL Server shrinks no file of a usual database."""
_DATA, _LOG = 1, 2
_COLUMNS: Final = (
    Column("DbId", t.SMALLINT, True),
    Column("FileId", t.INT, True),
    Column("CurrentSize", t.INT, True),
    Column("MinimumSize", t.INT, True),
    Column("UsedPages", t.INT, True),
    Column("EstimatedPages", t.INT, True),
)


def shrink_database(session: Session, statement: ast.Dbcc, name: str) -> Iterator[Reply]:
    """A row for the data file, when it has become smaller. Raises SqlError 226, 5061, 15247."""
    facts = _facts(session, name)
    before = _size(session, name)
    if "NOTRUNCATE" not in statement.options:
        _vacuum(session, statement, name)
    rows = [_row(session, facts, _DATA)] if _size(session, name) < before else []
    yield from _answer(rows)


def shrink_file(session: Session, statement: ast.Dbcc, file: str) -> Iterator[Reply]:
    """A row for the file. The log has nothing to give: what it keeps, it needs. Raises SqlError as
    ``shrink_database``, and 8985 for a file that is not there."""
    facts = _facts(session, session.database)
    number = _file_number(facts, file)
    if number is None:
        raise SqlError.of(
            8985,
            16,
            1,
            f"Could not locate file '{file}' for database '{facts.name}' in sys.database_files. The file"
            " either does not exist, or was dropped.",
            statement.line,
        )
    if number == _DATA:
        _vacuum(session, statement, facts.name)
    yield from _answer([_row(session, facts, number)])


def _facts(session: Session, name: str) -> DatabaseFacts:
    return next(d for d in session.visible_databases() if d.name.lower() == name.lower())


def _file_number(facts: DatabaseFacts, file: str) -> int | None:
    known = {
        str(_DATA): _DATA,
        str(_LOG): _LOG,
        (facts.logical_name or facts.name).lower(): _DATA,
        (facts.log_name or f"{facts.name}_log").lower(): _LOG,
    }
    return known.get(file.strip().lower())


def _vacuum(session: Session, statement: ast.Dbcc, name: str) -> None:
    session.rights.require_owner(name, "User does not have permission to perform this action.")
    if session.transaction_count():
        raise SqlError.of(
            226,
            16,
            6,
            f"DBCC {statement.command} statement not allowed within multi-statement transaction.",
            statement.line,
        )
    schema = session.workspace.schema_of(name)
    if schema == TEMP:
        return
    with sqlite_errors(statement.line, name):
        session.workspace.run(f"VACUUM {schema}")


def _pragma(session: Session, name: str, word: str) -> int:
    schema = session.workspace.schema_of(name)
    return 0 if schema == TEMP else int(str(session.workspace.value(f"PRAGMA {schema}.{word}") or 0))


def _size(session: Session, name: str) -> int:
    """In bytes."""
    return _pragma(session, name, "page_count") * _pragma(session, name, "page_size")


def _row(session: Session, facts: DatabaseFacts, number: int) -> tuple[Value, ...]:
    if number == _LOG:
        pages = facts.log_pages
        return (facts.id, _LOG, pages, min(_LEAST, pages), pages, min(_LEAST, pages))
    size = _size(session, facts.name)
    free = _pragma(session, facts.name, "freelist_count") * _pragma(session, facts.name, "page_size")
    current = max(_LEAST, -(-size // _PAGE))
    used = -(-(size - free) // _PAGE)
    return (facts.id, _DATA, current, _LEAST, used, used)


def _answer(rows: list[tuple[Value, ...]]) -> Iterator[Reply]:
    yield ResultSet(_COLUMNS)
    if rows:
        yield Rows(rows)
    yield Done(Command.SELECT, len(rows))
