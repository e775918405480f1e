"""CREATE, ALTER and DROP DATABASE."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

from tdsproxy.backup.page_map import remove_maps
from tdsproxy.catalog.catalog import create_database_file
from tdsproxy.catalog.databases import (
    Database,
    DatabaseState,
    RecoveryModel,
    UserAccess,
    new_database,
)
from tdsproxy.catalog.names import MAX_NAME, file_name, name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.log_chain import drop_log, end_chain, start_log, stop_log, wants_log
from tdsproxy.commands.messages import OsError, message
from tdsproxy.commands.recovery import remove_image
from tdsproxy.store.errors import StoreError
from tdsproxy.store.files import fsync_directory, sidecars
from tdsproxy.store.install import wait_for_release
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Done, Message, Reply

_POLL_SECONDS: Final = 0.05
_BUSY_MILLISECONDS: Final = 5000
_RELEASE_SECONDS: Final = 5.0
_ACCESS: Final = {
    "MULTI_USER": UserAccess.MULTI_USER,
    "SINGLE_USER": UserAccess.SINGLE_USER,
    "RESTRICTED_USER": UserAccess.RESTRICTED_USER,
}
_STATES: Final = {"ONLINE": DatabaseState.ONLINE, "OFFLINE": DatabaseState.OFFLINE}
_RECOVERY: Final = {
    "FULL": RecoveryModel.FULL,
    "BULK_LOGGED": RecoveryModel.BULK_LOGGED,
    "SIMPLE": RecoveryModel.SIMPLE,
}
# What takes effect only when no other session uses the database.
_EXCLUSIVE: Final = frozenset(
    {"SINGLE_USER", "OFFLINE", "READ_ONLY", "READ_WRITE", "READ_COMMITTED_SNAPSHOT"}
)
_NOT_IN_SYSTEM: Final = {
    "SINGLE_USER": 5,
    "MULTI_USER": 5,
    "RESTRICTED_USER": 5,
    "OFFLINE": 5,
    "ONLINE": 5,
    "READ_ONLY": 5,
    "READ_WRITE": 5,
    "READ_COMMITTED_SNAPSHOT": 2,
}
# Forms of ALTER DATABASE that have nothing to change in a SQLite file, and change no result.
_WITHOUT_EFFECT: Final = frozenset({"MODIFY FILE", "SCOPED CONFIGURATION"})


def create_database(context: Context, statement: ast.CreateDatabase) -> Iterator[Reply]:
    """CREATE DATABASE."""
    if context.session.in_transaction:
        raise fail(226, "CREATE DATABASE")
    if not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    if statement.snapshot_of is not None:
        raise fail(3015, "CREATE DATABASE AS SNAPSHOT")
    if statement.for_attach:
        raise fail(3015, "CREATE DATABASE FOR ATTACH")
    name = statement.name.rstrip(" ")
    if not name or len(name) > MAX_NAME:
        raise fail(102, statement.name)
    with context.env.locks.hold(name) as free:
        if not free or context.env.database(name) is not None:
            raise fail(1801, name)
        _create(context, name, statement)
    yield Done(context.command)


def _create(context: Context, name: str, statement: ast.CreateDatabase) -> None:
    databases = context.env.catalog.databases
    changes: dict[str, Any] = {}
    for kind, files in (("data", statement.files), ("log", statement.log_files)):
        if len(files) > 1:
            raise fail(3015, "CREATE DATABASE with several files of a kind")
        for logical, physical in files:
            changes |= {f"{kind}_name": logical} if logical else {}
            changes |= {f"{kind}_path": physical} if physical else {}
    model = databases.find("model")
    if model is not None and context.env.logs is not None:
        changes["recovery_model"] = model.recovery_model
    if statement.collation is not None:
        changes["collation"] = statement.collation
    database = new_database(name, owner=context.session.login, **changes)
    path = database.path(context.env.catalog.store)
    created = False
    try:
        with databases.transaction():
            create_database_file(path)
            created = True
            database = databases.add(database)
    except FileExistsError:
        raise CommandError(message(5170, database.data_path), message(1802)) from None
    except KeyError:
        _delete_files(path)
        raise fail(1801, name) from None
    except (OSError, apsw.Error) as error:
        if created:
            _delete_files(path)
        reason = OsError.DISK_FULL if isinstance(error, apsw.FullError) else OsError.ACCESS_DENIED
        raise CommandError(message(5123, reason.words, database.data_path), message(1802)) from error
    start_log(context.env, database)


def _delete_files(path: Path) -> None:
    """The main file first: what is left of the others is then known to be stale."""
    for file in (path, *sidecars(path)):
        with suppress(FileNotFoundError):
            file.unlink()
    fsync_directory(path.parent)


def drop_database(context: Context, statement: ast.DropDatabase) -> Iterator[Reply]:
    """DROP DATABASE; of several names those in front of a failing one are dropped."""
    if context.session.in_transaction:
        raise fail(574, "DROP DATABASE")
    for name in statement.names:
        database = context.env.database(name)
        if database is None and statement.if_exists:
            continue
        if database is None or not context.may_alter(database):
            raise fail(3701, "drop", "database", name)
        if database.is_system:
            raise fail(3708, "drop", "database", database.name, "database", early=True)
        with context.env.locks.hold(database.name) as free:
            if not free or context.is_current(database) or context.others_in(database):
                raise fail(3702, database.name)
            _drop(context, database)
    yield Done(context.command)


def _drop(context: Context, database: Database) -> None:
    env = context.env
    path = database.path(env.catalog.store)
    stop_log(env, database)
    try:
        _claim(context, database, path, fail(3702, database.name))
    except CommandError:
        start_log(env, database)
        raise
    remove_image(env, database.redo)
    with env.catalog.databases.transaction():
        if database.state is DatabaseState.OFFLINE and path.exists():
            # SQL Server leaves the files of an offline database on the disk.
            path.replace(path.with_name(f"{path.name}.dropped"))
        _delete_files(path)
        env.catalog.databases.remove(database.id)
    drop_log(env, database)
    with suppress(OSError):
        remove_maps(env.catalog.store, database.guid)


def _claim(context: Context, database: Database, path: Path, refusal: CommandError) -> None:
    """Returns when no process has the database's file open. Raises ``refusal``."""
    context.env.sessions.release(database.name)
    if not path.exists():
        return
    try:
        wait_for_release(path, _RELEASE_SECONDS)
    except StoreError as error:
        raise refusal from error


# --------------------------------------------------------------------------- ALTER DATABASE


def alter_database(context: Context, statement: ast.AlterDatabase) -> Iterator[Reply]:
    """ALTER DATABASE: the state, access and recovery model of a database, and its name."""
    if context.session.in_transaction:
        raise fail(226, "ALTER DATABASE", closed=True)
    name = context.session.database if statement.name is None else statement.name
    database = context.env.database(name)
    if database is None or not context.may_alter(database):
        raise fail(5011, name)
    if statement.name is None and database.is_system and statement.action == "SET":
        raise fail(12104, database.name, early=True)
    with context.env.locks.hold(database.name) as free:
        if not free:
            raise fail(5061, database.name)
        if statement.action == "SET":
            yield from _set(context, database, statement)
        elif statement.action == "MODIFY NAME":
            _rename(context, database, statement.new_name or "")
        elif statement.action == "COLLATE":
            collation = statement.options[0][1]
            context.env.catalog.databases.update(database.id, collation=collation)
        elif statement.action not in _WITHOUT_EFFECT:
            raise fail(5008)
    yield Done(context.command)


def _rename(context: Context, database: Database, new_name: str) -> None:
    if database.is_system:
        raise fail(5011, database.name)
    if not new_name.strip() or len(new_name) > MAX_NAME:
        raise fail(102, new_name)
    other = context.env.database(new_name)
    if other is not None and other.id != database.id:
        raise fail(1801, new_name)
    if set(context.env.sessions.users_of(database.name)) - {context.session.spid}:
        raise fail(5030)
    databases = context.env.catalog.databases
    store = context.env.catalog.store
    path = database.path(store)
    target = store / file_name(new_name)
    if path.parent != store or name_key(new_name) == name_key(database.name):
        databases.update(database.id, name=new_name)
        return
    if target.exists():
        raise fail(5030)
    stop_log(context.env, database)
    try:
        _claim(context, database, path, fail(5030))
        _move(context, database, new_name, path, target)
    finally:
        start_log(context.env, databases.by_id(database.id) or database)


def _move(context: Context, database: Database, new_name: str, path: Path, target: Path) -> None:
    # A crash in between leaves the file under one of its two names: as the new name's, or, where the table
    # still tells the old one, as a file that is adopted. Never are there two databases on one file.
    databases = context.env.catalog.databases
    with databases.transaction():
        databases.update(database.id, name=new_name, file=target.name)
        path.replace(target)
        fsync_directory(target.parent)


def _set(context: Context, database: Database, statement: ast.AlterDatabase) -> Iterator[Reply]:
    words = [word for word, _ in statement.options]
    _check_settable(context, database, words)
    if _EXCLUSIVE.intersection(words) or (statement.termination is not None and "RESTRICTED_USER" in words):
        yield from _make_alone(context, database, statement.termination)
    changes: dict[str, Any] = {}
    options = dict(database.options)
    for word, value in statement.options:
        if not _change(context, database, word, value, changes):
            options[word] = value
    if options != database.options:
        changes["options"] = options
    if not changes:
        return
    yield from _leave_simple(context, database, changes)
    changed = context.env.catalog.databases.update(database.id, **changes)
    if wants_log(changed) and not wants_log(database):
        start_log(context.env, changed)


def _leave_simple(context: Context, database: Database, changes: dict[str, Any]) -> Iterator[Reply]:
    """What a change of the recovery model does to the log: it ends with SIMPLE; to be kept, the database's
    journal must be a WAL."""
    model = changes.get("recovery_model", database.recovery_model)
    if model is RecoveryModel.SIMPLE:
        if database.recovery_model is not RecoveryModel.SIMPLE:
            end_chain(context.env, database)
        return
    path = database.path(context.env.catalog.store)
    leaving = database.recovery_model is RecoveryModel.SIMPLE and database.file and not database.is_system
    if leaving and context.env.logs is not None and path.exists() and _use_wal(path):
        text = (
            f"Database '{database.name}' used a rollback journal. It was converted to a write-ahead log,"
            f" which recovery model {model.name} needs."
        )
        yield Message(0, 0, 1, text, context.request.line)


def _use_wal(path: Path) -> bool:
    """Whether the file was not in WAL mode before. Raises CommandError 5061 while others hold locks."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error as error:
        raise fail(5061, path.stem) from error
    try:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        before = connection.execute("PRAGMA journal_mode").fetchall()
        if before == [("wal",)]:
            return False
        if connection.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
            raise fail(5061, path.stem)
        return True
    except apsw.Error as error:
        raise fail(5061, path.stem) from error
    finally:
        connection.close()


def _check_settable(context: Context, database: Database, words: list[str]) -> None:
    for word in words:
        if database.is_system and word in _NOT_IN_SYSTEM:
            raise fail(5058, word, database.name, state=_NOT_IN_SYSTEM[word], early=True)
        if word == "EMERGENCY":
            raise fail(3015, "ALTER DATABASE SET EMERGENCY")
        if database.state is DatabaseState.RESTORING and word in _STATES:
            raise fail(5052, "ALTER DATABASE", "RESTORING")
    held = database.user_access is UserAccess.SINGLE_USER and database.holder is not None
    if held and database.holder != context.session.spid:
        raise fail(5064, database.name)


def _make_alone(context: Context, database: Database, termination: str | None) -> Iterator[Reply]:
    """Returns when no other session uses the database; WITH decides what happens to those that do."""
    others = context.others_in(database)
    if not others:
        return
    if termination == "NO_WAIT":
        raise fail(5070, database.name)
    if termination is None:
        _wait_alone(context, database, None)
        return
    if termination.startswith("ROLLBACK AFTER"):
        _wait_alone(context, database, float(termination.split()[2]))
        others = context.others_in(database)
    if others:
        yield message(5060, 0, line=context.request.line, state=2)
        context.env.sessions.end(others)
        yield message(5060, 100, line=context.request.line)


def _wait_alone(context: Context, database: Database, seconds: float | None) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    while context.others_in(database):
        if deadline is not None and time.monotonic() >= deadline:
            return
        if context.env.cancelled.wait(_POLL_SECONDS):
            raise fail(5061, database.name)


def _change(context: Context, database: Database, word: str, value: str, changes: dict[str, Any]) -> bool:
    """Whether ``word`` is more than an option to be remembered; ``changes`` gets the fields it sets."""
    if word in _ACCESS:
        access = _ACCESS[word]
        changes["user_access"] = access
        changes["holder"] = context.session.spid if access is UserAccess.SINGLE_USER else None
    elif word in _STATES:
        _switch(context, database, _STATES[word])
        changes["state"] = _STATES[word]
    elif word in ("READ_ONLY", "READ_WRITE"):
        changes["read_only"] = word == "READ_ONLY"
    elif word == "RECOVERY":
        if value not in _RECOVERY:
            raise fail(5058, word, database.name)
        if name_key(database.name) == "tempdb":
            raise fail(5058, word, database.name, state=1, early=True)
        changes["recovery_model"] = _RECOVERY[value]
    elif word == "COMPATIBILITY_LEVEL":
        if not value.isdecimal() or not 100 <= int(value) <= 160 or int(value) % 10:
            raise fail(15048, "100, 110, 120, 130, 140, 150, 160")
        changes["compatibility"] = int(value)
    else:
        return False
    return True


def _switch(context: Context, database: Database, state: DatabaseState) -> None:
    """Before a database goes offline everybody lets it go; it comes back only with its file."""
    path = database.path(context.env.catalog.store)
    if state is DatabaseState.OFFLINE:
        context.env.sessions.release(database.name)
        stop_log(context.env, database)
    elif not path.exists():
        missing = OsError.FILE_NOT_FOUND
        raise fail(5120, database.data_path, missing.value, missing.words)
