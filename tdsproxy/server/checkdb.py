"""DBCC CHECKDB and CHECKTABLE: SQLite's integrity check in the words of SQL Server's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw

from tdsproxy.server.schema import DatabaseSchema, TableInfo
from tdsproxy.server.workspace import TEMP, quoted, text_literal
from tdsproxy.store.integrity import Finding, check_database
from tdsproxy.tsql.replies import Command, Done, Message, Reply

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_LIMIT: Final = 200
_PAGE: Final = 8192
_FILE: Final = 1
# What SQL Server finds in a database whose message queues nobody uses.
_BROKER: Final = (
    (9675, "Message Types analyzed: 14."),
    (9676, "Service Contracts analyzed: 6."),
    (9667, "Services analyzed: 3."),
    (9668, "Service Queues analyzed: 3."),
    (9669, "Conversation Endpoints analyzed: 0."),
    (9674, "Conversation Groups analyzed: 0."),
    (9670, "Remote Service Bindings analyzed: 0."),
    (9605, "Conversation Priorities analyzed: 0."),
)
_INDEX_ROW: Final = re.compile(r"row (\S+) missing from index (.+)")
_INDEX_COUNT: Final = re.compile(r"wrong # of entries in index (.+)")


@dataclass(frozen=True, slots=True)
class _Names:
    """To which table a root page, an index or a table of SQLite's belongs."""

    by_root: Mapping[int, TableInfo]
    by_name: Mapping[str, TableInfo]

    def of(self, finding: Finding) -> TableInfo | None:
        if finding.root is not None:
            return self.by_root.get(finding.root)
        for pattern in (_INDEX_ROW, _INDEX_COUNT):
            found = pattern.search(finding.text)
            if found is not None:
                return self.by_name.get(found[found.lastindex or 1])
        return next((t for name, t in self.by_name.items() if finding.text.endswith(f" {name}")), None)


def check_tables(
    session: Session, name: str, command: str, line: int, *, infos: bool, table: TableInfo | None = None
) -> Iterator[Reply]:
    """What CHECKDB says of the database ``name``, or CHECKTABLE of one table of it; ``infos`` with the lines
    about what is sound."""
    schema = session.workspace.schema_of(name)
    if infos:
        yield Message(2536, 0, 1, f"DBCC results for '{name if table is None else _shown(table)}'.", line)
        if table is None:
            for number, text in _BROKER:
                yield Message(8997, 0, 1, f"Service Broker Msg {number}, State 1: {text}", line)
    if schema == TEMP:
        yield from _ends(command, name, 0, line, infos=infos)
        return
    findings, objects, names = _look(session, schema)
    if table is not None:
        findings = [finding for finding in findings if names.of(finding) == table]
    by_table: dict[TableInfo | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_table[names.of(finding)].append(finding)
    tables = sorted(objects.tables.values(), key=_shown) if table is None else [table]
    for each in tables:
        yield from _table(
            session, schema, each, by_table.get(each, []), command, line, infos=infos, one=table is not None
        )
    rest = by_table.get(None, [])
    for finding in rest:
        yield _error(finding, None, line)
    if rest:
        text = (
            f"{command} found 0 allocation errors and {len(rest)} consistency errors not associated with any"
            " single object."
        )
        yield Message(8954, 0, 1, text, line)
    if table is None:
        yield from _ends(command, name, len(findings), line, infos=infos)
    if findings:
        level = "repair_allow_data_loss" if any(f.structural for f in findings) else "repair_rebuild"
        shown = name if table is None else f"{name}.{table.schema}.{table.name}"
        text = f"{level} is the minimum repair level for the errors found by DBCC {command} ({shown})."
        yield Message(8958, 0, 1, text, line)
        yield Done(Command.NONE, error=True)


def _look(session: Session, schema: str) -> tuple[list[Finding], DatabaseSchema, _Names]:
    connection = session.workspace.connection
    findings = check_database(connection, schema, limit=_LIMIT)
    try:
        objects = session.evaluator.sql.reader.read(schema)
        rows = session.workspace.run(f"SELECT name, tbl_name, rootpage FROM {schema}.sqlite_schema")
    except (apsw.CorruptError, apsw.NotADBError):
        return findings, DatabaseSchema(), _Names({}, {})
    tables = {table.sqlite_name.lower(): table for table in objects.tables.values()}
    by_root: dict[int, TableInfo] = {}
    by_name: dict[str, TableInfo] = {}
    for item, owner, root in rows:
        found = tables.get(str(owner).lower())
        if found is not None:
            by_root[int(str(root or 0))] = found
            by_name[str(item)] = found
    return findings, objects, _Names(by_root, by_name)


def _table(
    session: Session,
    schema: str,
    table: TableInfo,
    findings: Sequence[Finding],
    command: str,
    line: int,
    *,
    infos: bool,
    one: bool,
) -> Iterator[Reply]:
    shown = _shown(table)
    if infos and not one:
        yield Message(2536, 0, 1, f"DBCC results for '{shown}'.", line)
    for finding in findings:
        yield _error(finding, table, line)
    if infos:
        rows, pages = _size(session, schema, table)
        yield Message(2593, 0, 1, f'There are {rows} rows in {pages} pages for object "{shown}".', line)
    if findings:
        text = (
            f"{command} found 0 allocation errors and {len(findings)} consistency errors in table '{shown}'"
            f" (object ID {table.object_id})."
        )
        yield Message(8990, 0, 1, text, line)


def _shown(table: TableInfo) -> str:
    return table.name if table.schema.lower() == "dbo" else f"{table.schema}.{table.name}"


def _size(session: Session, schema: str, table: TableInfo) -> tuple[int, int]:
    """Rows and pages of 8 KiB of what can be read."""
    try:
        rows = session.workspace.value(f"SELECT count(*) FROM {schema}.{quoted(table.sqlite_name)}")
        bytes_ = session.workspace.value(
            f"SELECT sum(pgsize) FROM dbstat WHERE schema = {text_literal(schema)} AND aggregate = TRUE"
            f" AND name = {text_literal(table.sqlite_name)}"
        )
    except (apsw.CorruptError, apsw.SQLError):
        return 0, 0
    return int(str(rows or 0)), -(-int(str(bytes_ or 0)) // _PAGE) if rows else 0


def _error(finding: Finding, table: TableInfo | None, line: int) -> Message:
    number = table.object_id if table is not None else 0
    where = f"Object ID {number}, index ID 0, partition ID 0, alloc unit ID 0 (type In-row data)"
    row = _INDEX_ROW.search(finding.text)
    if row is not None and table is not None:
        text = (
            f"Table error: table '{_shown(table)}' (ID {number}). Data row does not have a matching index row"
            f" in the index '{row[2]}' (ID 2). Possible missing or invalid keys for the index row matching:"
        )
        return Message(8951, 16, 1, text, line)
    page = finding.page or 0
    text = f"Table error: {where}, page ({_FILE}:{page}). Test ({finding.text}) failed. Values are 0 and 0."
    return Message(8939, 16, 98, text, line)


def _ends(command: str, name: str, errors: int, line: int, *, infos: bool) -> Iterator[Reply]:
    if errors or infos:
        text = f"{command} found 0 allocation errors and {errors} consistency errors in database '{name}'."
        yield Message(8989, 0, 1, text, line)
