"""A native statement in, its replies out.

``run`` parses the text, hands the statement to its handler, and closes the response as SQL Server does: an
error is followed by the message that names the statement (3013, 5069) in one DONE; of a success the last
DONE ends the response.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tdsproxy.commands.backup_statement import backup
from tdsproxy.commands.context import Context
from tdsproxy.commands.database_statements import alter_database, create_database, drop_database
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.header_statements import read_media
from tdsproxy.commands.key_statements import run_key_statement
from tdsproxy.commands.media_failures import DISK_FAILURES, disk_failure
from tdsproxy.commands.messages import message
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.procedures import run_procedure
from tdsproxy.commands.request import NativeRequest
from tdsproxy.commands.restore_statement import restore
from tdsproxy.media.pace import TokenBucket
from tdsproxy.store.encoding import storable_text
from tdsproxy.store.errors import StoreError
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Command, Done, Message, Reply

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Form:
    """How the responses of one statement look: its CurCmd value, its name in 3013 (None: another closing
    message, or none), and the number of that other message."""

    command: int
    name: str | None = None
    closing: int | None = None


_BACKUP: Final = {
    "DATABASE": _Form(Command.BACKUP_DATABASE, "BACKUP DATABASE"),
    "LOG": _Form(Command.BACKUP_LOG, "BACKUP LOG"),
    "GROUP": _Form(Command.BACKUP_DATABASE, "BACKUP GROUP"),
    "SERVER": _Form(Command.BACKUP_DATABASE, "BACKUP SERVER"),
}
# No capture shows the codes of these two: 236 follows BACKUP LOG as 229 follows 228, 375 is the one in
# front of FILELISTONLY.
_RESTORE_LOG: Final = 236
_RESTORE_LABELONLY: Final = 375
_RESTORE: Final = {
    "DATABASE": _Form(Command.RESTORE_DATABASE, "RESTORE DATABASE"),
    "LOG": _Form(_RESTORE_LOG, "RESTORE LOG"),
    "HEADERONLY": _Form(Command.RESTORE_HEADERONLY, "RESTORE HEADERONLY"),
    "FILELISTONLY": _Form(Command.RESTORE_FILELISTONLY, "RESTORE FILELIST"),
    "LABELONLY": _Form(_RESTORE_LABELONLY, "RESTORE LABELONLY"),
    "VERIFYONLY": _Form(Command.RESTORE_VERIFYONLY, "VERIFY DATABASE"),
    "REWINDONLY": _Form(_RESTORE_LABELONLY, "RESTORE REWINDONLY"),
    "BACKUPSETONLY": _Form(_RESTORE_LABELONLY, "RESTORE BACKUPSETONLY"),
}
_CREATE_DATABASE: Final = _Form(Command.CREATE_DATABASE)
_ALTER_DATABASE: Final = _Form(Command.ALTER_DATABASE, closing=5069)
_DROP_DATABASE: Final = _Form(Command.DROP_DATABASE)
_KEY_STATEMENT: Final = _Form(Command.NONE)


def warm_up() -> None:
    """Loads what the first statement would have to wait for."""
    parse("BACKUP DATABASE x TO DISK = 'x' WITH STATS")


def run(request: NativeRequest, env: CommandEnvironment) -> Generator[Reply, None, None]:
    """The replies of one statement, ending with its ``Done``; failures are among them, nothing is raised for
    what a user can cause. Setting ``env.cancelled`` ends a long one soon: what it had begun is undone."""
    variables = {
        name: storable_text(value) if isinstance(value, str) else value
        for name, value in request.variables.items()
    }
    request = replace(request, text=storable_text(request.text), variables=variables)
    if request.max_rate:
        env = replace(env, allowance=TokenBucket(request.max_rate))
    try:
        statement = _parse(request)
    except SyntaxError_ as error:
        yield from _relocated(error.messages, request.line)
        yield Done(Command.PARSE_ERROR, error=True)
        return
    form = _form_of(statement)
    operands = Operands(request.variables)
    try:
        command, database = _shown(statement, request, operands)
        with env.running.note(request.session.spid, command, database) as running:
            yield from _handle(Context(env, request, operands, form.command, running), statement)
    except SyntaxError_ as error:
        yield from _relocated(error.messages, request.line)
        yield Done(Command.PARSE_ERROR, error=True)
    except CommandError as error:
        yield from _at_line(error.messages, request.line)
        if not error.closed:
            yield from _closing(form, request.line)
        yield Done(Command.PARSE_ERROR if error.early else form.command, error=True)
    except DISK_FAILURES as error:
        _log.error("%s failed: %s: %s", form.name or type(statement).__name__, type(error).__name__, error)
        yield from _at_line(disk_failure(error).messages, request.line)
        yield from _closing(form, request.line)
        yield Done(form.command, error=True)
    except StoreError as error:
        _log.error("%s failed: %s", form.name or type(statement).__name__, error)
        yield from _at_line(fail(3271, "of the store", str(error)).messages, request.line)
        yield from _closing(form, request.line)
        yield Done(form.command, error=True)
    except SqlError as error:
        yield from _at_line(error.messages, request.line)
        yield from _closing(form, request.line)
        yield Done(form.command, error=True)


def _parse(request: NativeRequest) -> ast.Statement:
    batch = parse(request.text, quoted_identifier=request.session.quoted_identifier)
    if len(batch.statements) != 1:
        raise SyntaxError_(message(102, request.text.strip()[:32]))
    return batch.statements[0]


def _relocated(messages: tuple[Message, ...], line: int) -> Iterator[Message]:
    """Messages whose lines count within the statement, as lines of the batch."""
    for item in messages:
        yield replace(item, line=item.line + line - 1)


def _at_line(messages: tuple[Message, ...], line: int) -> Iterator[Message]:
    for item in messages:
        yield replace(item, line=line)


def _closing(form: _Form, line: int) -> Iterator[Message]:
    if form.name is not None:
        yield message(3013, form.name, line=line)
    elif form.closing is not None:
        yield message(form.closing, line=line)


def _form_of(statement: ast.Statement) -> _Form:
    match statement:
        case ast.Backup():
            return _BACKUP[statement.kind]
        case ast.Restore():
            return _RESTORE[statement.kind]
        case ast.KeyStatement():
            return _KEY_STATEMENT
        case ast.CreateDatabase():
            return _CREATE_DATABASE
        case ast.AlterDatabase():
            return _ALTER_DATABASE
        case ast.DropDatabase():
            return _DROP_DATABASE
        case ast.Execute():
            return _Form(Command.EXECUTE)
    return _Form(Command.NONE, type(statement).__name__)


def _shown(statement: ast.Statement, request: NativeRequest, operands: Operands) -> tuple[str, str]:
    """The command that sys.dm_exec_requests shows, and the database that the statement works on; a statement
    on no database works on the session's. Raises SyntaxError_ 137."""
    here = request.session.database
    match statement:
        case ast.Backup():
            return f"BACKUP {statement.kind}", operands.text(statement.database) or here
        case ast.Restore(database=None):
            return f"RESTORE {statement.kind}", here
        case ast.Restore():
            name = None if statement.database is None else operands.text(statement.database)
            return f"RESTORE {statement.kind}", name or here
        case ast.AlterDatabase():
            return "ALTER DATABASE", here
        case ast.CreateDatabase():
            return "CREATE DATABASE", here
        case ast.DropDatabase():
            return "DROP DATABASE", here
    return "", here


def _handle(context: Context, statement: ast.Statement) -> Iterator[Reply]:
    match statement:
        case ast.Backup():
            yield from backup(context, statement)
        case ast.Restore(kind="DATABASE" | "LOG"):
            yield from restore(context, statement)
        case ast.Restore():
            yield from read_media(context, statement)
        case ast.KeyStatement():
            yield from run_key_statement(context, statement)
        case ast.CreateDatabase():
            yield from create_database(context, statement)
        case ast.AlterDatabase():
            yield from alter_database(context, statement)
        case ast.DropDatabase():
            yield from drop_database(context, statement)
        case ast.Execute():
            yield from run_procedure(context, statement)
        case _:
            raise fail(3015, type(statement).__name__)
