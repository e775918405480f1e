"""DBCC: checks through SQLite's own, session options, and what has nothing to do here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from tdsproxy.server.checkdb import check_tables
from tdsproxy.server.options import ISOLATION
from tdsproxy.server.scope import DatabaseScope
from tdsproxy.server.session_facts import facts_of, visible_sessions
from tdsproxy.server.shrink import shrink_database, shrink_file
from tdsproxy.server.sysviews.log_space import log_spaces
from tdsproxy.server.workspace import quoted
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Column, Command, Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

DBCC_COMMAND: Final = 0xE6
_COMPLETED: Final = Message(
    2528,
    0,
    1,
    "DBCC execution completed. If DBCC printed error messages, contact your system administrator.",
)


def run_dbcc(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    """The replies of one DBCC statement. Raises SqlError 2526 for a command that SQL Server has not."""
    run = _COMMANDS.get(statement.command)
    count = 0
    if run is not None:
        for reply in run(session, statement, frame):
            if isinstance(reply, Done):
                count = reply.count or 0
            yield reply
    elif statement.command not in _ACCEPTED:
        raise SqlError.of(
            2526,
            16,
            3,
            "Incorrect DBCC statement. Check the documentation for the correct DBCC syntax and options.",
            statement.line,
        )
    if "NO_INFOMSGS" not in statement.options:
        yield _COMPLETED
        yield Done(Command.NONE)
        session.state.rowcount = count
    elif run is None:
        yield Done(Command.NONE)


def _text(session: Session, statement: ast.Dbcc, frame: Frame, place: int = 0) -> str | None:
    if len(statement.args) <= place:
        return None
    value = session.interpreter.scalar(statement.args[place], frame).value
    return None if value is None else str(value)


def _database(session: Session, statement: ast.Dbcc, frame: Frame) -> str:
    wanted = _text(session, statement, frame)
    if wanted is None or wanted == "0":
        return session.database
    if wanted.isdigit():
        for facts in session.visible_databases():
            if facts.id == int(wanted):
                return facts.name
    return session.workspace.database(wanted).name


def _check(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    name = _database(session, statement, frame)
    session.rights.require_owner(
        name,
        f"User 'guest' does not have permission to run DBCC {statement.command.lower()} for"
        f" database '{name}'.",
    )
    infos = "NO_INFOMSGS" not in statement.options
    yield from check_tables(session, name, statement.command, statement.line, infos=infos)


def _check_table(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    wanted = _text(session, statement, frame) or ""
    name = session.database
    objects = session.evaluator.sql.reader.read(session.workspace.schema_of(name))
    parts = [part.strip('[]"') for part in wanted.split(".")]
    table = objects.table(parts[-2] if len(parts) > 1 else "dbo", parts[-1])
    if table is None:
        text = f'Cannot find a table or object with the name "{wanted}". Check the system catalog.'
        raise SqlError.of(2501, 16, 45, text, statement.line)
    infos = "NO_INFOMSGS" not in statement.options
    yield from check_tables(session, name, "CHECKTABLE", statement.line, infos=infos, table=table)


def _user_options(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    options, others = frame.options, frame.options.others
    rows: list[tuple[str, str]] = [
        ("textsize", others.get("TEXTSIZE", "2147483647")),
        ("language", options.language),
        ("dateformat", options.date_format),
        ("datefirst", str(options.date_first)),
        ("lock_timeout", others.get("LOCK_TIMEOUT", "-1")),
    ]
    flags = (
        ("quoted_identifier", options.quoted_identifier),
        ("arithabort", others.get("ARITHABORT") == "ON"),
        ("nocount", options.nocount),
        ("ansi_null_dflt_on", others.get("ANSI_NULL_DFLT_ON") == "ON"),
        ("xact_abort", options.xact_abort),
        ("ansi_warnings", others.get("ANSI_WARNINGS") == "ON"),
        ("ansi_padding", others.get("ANSI_PADDING") == "ON"),
        ("ansi_nulls", options.ansi_nulls),
        ("concat_null_yields_null", others.get("CONCAT_NULL_YIELDS_NULL") == "ON"),
    )
    rows += [(name, "SET") for name, on in flags if on]
    level = others.get(ISOLATION, "READ COMMITTED").lower()
    here = next(d for d in session.visible_databases() if d.name == session.database)
    if level == "read committed" and here.options.get("is_read_committed_snapshot_on"):
        level = "read committed snapshot"
    rows.append(("isolation level", level))
    yield ResultSet((Column("Set Option", t.nvarchar(128)), Column("Value", t.nvarchar(46))))
    table: list[tuple[Value, ...]] = [tuple(row) for row in rows]
    yield Rows(table)
    yield Done(Command.SELECT, len(rows))


def _shrink(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    yield from shrink_database(session, statement, _database(session, statement, frame))


def _shrink_file(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    yield from shrink_file(session, statement, _text(session, statement, frame) or "")


def _check_identity(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    name = _text(session, statement, frame)
    found = session.identity_table(name or "")
    if found is None:
        raise SqlError.of(
            2501,
            16,
            45,
            f'Cannot find a table or object with the name "{name}". Check the system catalog.',
            statement.line,
        )
    schema, table = found
    column = table.identity_column
    if column is None:
        raise SqlError.of(7997, 16, 1, f"'{table.name}' does not contain an identity column.", statement.line)
    sql = session.evaluator.sql
    current = sql.identity_current(schema, table)
    mode = (_text(session, statement, frame, 1) or "").upper()
    seed = _text(session, statement, frame, 2)
    largest = session.workspace.value(
        f"SELECT max({quoted(column.name)}) FROM {schema}.{quoted(table.sqlite_name)}"
    )
    shown = "NULL" if current is None else str(current)
    if mode == "RESEED" and seed is not None:
        sql.seed_identity(schema, table, int(seed))
        yield Message(
            7998, 0, 1, f"Checking identity information: current identity value '{shown}'.", statement.line
        )
        return
    top = "NULL" if largest is None else str(largest)
    text = f"Checking identity information: current identity value '{shown}', current column value '{top}'."
    if mode == "RESEED" and largest is not None and int(str(largest)) > (current or 0):
        sql.seed_identity(schema, table, int(str(largest)))
    yield Message(7998, 0, 1, text, statement.line)


def _open_transaction(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    """The oldest transaction that has written to the database. Its first record has no LSN before it is
    committed: zeros stand for it."""
    name = _database(session, statement, frame)
    wanted = session.workspace.database(name).database_id
    found = [
        (held.transaction.number, held)
        for held in visible_sessions(session)
        if held.transaction is not None and wanted in held.transaction.writes
    ]
    if not found:
        yield Message(7969, 0, 1, "No active open transactions.", statement.line)
        return
    oldest = min(found)[1]
    assert oldest.transaction is not None
    began = _shown_time(oldest.transaction.writes[wanted])
    sid = f"0x{oldest.login_sid.hex()}"
    shown = oldest.transaction.name
    if "TABLERESULTS" in statement.options:
        yield ResultSet((Column(name, t.nvarchar(255)), Column("OPENTRAN", t.nvarchar(255))))
        rows: list[tuple[Value, ...]] = [
            ("OLDACT_SPID", str(oldest.spid)),
            ("OLDACT_UID", "-1"),
            ("OLDACT_NAME", shown),
            ("OLDACT_RECOVERYUNITID", "1"),
            ("OLDACT_LSN", "(0:0:0)"),
            ("OLDACT_STARTTIME", began),
            ("OLDACT_SID", sid),
        ]
        yield Rows(rows)
        yield Done(Command.SELECT, len(rows))
        return
    texts = {
        7968: f"Transaction information for database '{name}'.",
        7970: "\nOldest active transaction:",
        7971: f"    SPID (server process ID): {oldest.spid}",
        7972: "    UID (user ID) : -1",
        7974: f"    Name          : {shown}",
        7975: "    LSN           : (0:0:0)",
        7977: f"    Start time    : {began}",
        7978: f"    SID           : {sid}",
    }
    for number, text in texts.items():
        yield Message(number, 0, 1, text, statement.line)


def _shown_time(moment: DateTime) -> str:
    """As style 109 writes it: ``Nov 23 2026  7:05:09:123AM``."""
    at = moment.to_python()
    hour = (at.hour + 11) % 12 + 1
    half = "AM" if at.hour < 12 else "PM"
    return f"{at:%b} {at.day:2} {at.year} {hour:2}:{at:%M:%S}:{at.microsecond // 1000:03}{half}"


def _input_buffer(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    wanted = _text(session, statement, frame) or "0"
    other = session.engine.session(int(wanted)) if wanted.isdigit() else None
    if other is None:
        raise SqlError.of(7955, 16, 2, f"Invalid SPID {wanted} specified.", statement.line)
    yield ResultSet(
        (
            Column("EventType", t.nvarchar(30)),
            Column("Parameters", t.INT),
            Column("EventInfo", t.nvarchar(4000)),
        )
    )
    yield Rows([("Language Event", 0, facts_of(other).request_text[:4000])])
    yield Done(Command.SELECT, 1)


def _log_space(session: Session, statement: ast.Dbcc, frame: Frame) -> Iterator[Reply]:
    yield ResultSet(
        (
            Column("Database Name", t.nvarchar(128)),
            Column("Log Size (MB)", t.REAL),
            Column("Log Space Used (%)", t.REAL),
            Column("Status", t.INT),
        )
    )
    rows: list[tuple[Value, ...]] = [
        (found.database.name, found.total / (1 << 20), found.percent, 0)
        for found in log_spaces(DatabaseScope(session, session.database))
    ]
    yield Rows(rows)
    yield Done(Command.SELECT, len(rows))


_COMMANDS: Final[dict[str, Callable[[Session, ast.Dbcc, Frame], Iterator[Reply]]]] = {
    "CHECKDB": _check,
    "CHECKTABLE": _check_table,
    "CHECKALLOC": _check,
    "CHECKCATALOG": _check,
    "USEROPTIONS": _user_options,
    "SHRINKDATABASE": _shrink,
    "SHRINKFILE": _shrink_file,
    "CHECKIDENT": _check_identity,
    "OPENTRAN": _open_transaction,
    "INPUTBUFFER": _input_buffer,
    "SQLPERF": _log_space,
}
_ACCEPTED: Final = frozenset(
    [
        "CHECKFILEGROUP",
        "CHECKCONSTRAINTS",
        "TRACEON",
        "TRACEOFF",
        "TRACESTATUS",
        "DROPCLEANBUFFERS",
        "FREEPROCCACHE",
        "FREESYSTEMCACHE",
        "FREESESSIONCACHE",
        "LOGINFO",
        "UPDATEUSAGE",
        "INDEXDEFRAG",
        "DBREINDEX",
        "CLEANTABLE",
        "SHOW_STATISTICS",
        "HELP",
        "FLUSHPROCINDB",
        "ERRORLOG",
    ]
)
