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
    new_database,
)
from tdsproxy.catalog.names import MAX_NAME, file_name, name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.database_options import set_options
from tdsproxy.commands.detaching import attach
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_databases import forget_key
from tdsproxy.commands.log_chain import drop_log, start_log, stop_log
from tdsproxy.commands.media_failures import reason_of
from tdsproxy.commands.messages import message
from tdsproxy.commands.recovery import remove_image, remove_kept
from tdsproxy.commands.snapshots import check_no_snapshots, create_snapshot
from tdsproxy.store.errors import StoreError
from tdsproxy.store.files import clear_sidecars, fsync_directory, has_wal, sidecars
from tdsproxy.store.install import remove_copy, undo_copies, wait_for_release
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Done, Reply

_RELEASE_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.05
# Forms of ALTER DATABASE that have nothing to change in a SQLite file, and change no result.
_WITHOUT_EFFECT: Final = frozenset({"SCOPED CONFIGURATION"})


def create_database(context: Context, statement: ast.CreateDatabase) -> Iterator[Reply]:
    """CREATE DATABASE."""
    if context.session.in_transaction:
        raise fail(226, "CREATE DATABASE")
    if not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    name = statement.name.rstrip(" ")
    if not name or len(name) > MAX_NAME:
        raise fail(102, statement.name)
    with context.env.locks.hold(name) as free:
        if not free or context.env.database(name) is not None:
            raise fail(1801, name)
        if statement.for_attach:
            attach(context, name, statement)
        elif statement.snapshot_of is not None:
            create_snapshot(context, name, statement)
        else:
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
    _check_files(context, changes)
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
        reason = reason_of(error)
        raise CommandError(message(5123, reason.words, database.data_path), message(1802)) from error
    start_log(context.env, database)


def _check_files(context: Context, named: dict[str, Any]) -> None:
    """The names that the statement gives to files must be theirs alone: RESTORE tells files by them. Raises
    CommandError 1828, 5104, 5170."""
    data, log = named.get("data_name"), named.get("log_name")
    if data is not None and log is not None and name_key(data) == name_key(log):
        raise fail(1828, log)
    paths = [named[key] for key in ("data_path", "log_path") if key in named]
    if len(paths) > len(set(paths)):
        raise fail(5104, paths[-1])
    taken = {path for one in context.env.catalog.databases.all() for path in (one.data_path, one.log_path)}
    for path in paths:
        if path in taken:
            raise CommandError(message(5170, path), message(1802))


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
        check_no_snapshots(context, database, "drop")
        with context.env.locks.hold(database.name) as free:
            if not free or context.is_current(database) or _others_stay(context, database):
                raise fail(3702, database.name)
            _drop(context, database)
    yield Done(context.command)


def _others_stay(context: Context, database: Database) -> bool:
    """Whether other sessions use the database and do not leave it soon: one that has closed its connection
    may not be gone yet."""
    deadline = time.monotonic() + _LEAVE_SECONDS
    while context.others_in(database):
        if database.holder is not None or time.monotonic() >= deadline:
            return True
        if context.env.cancelled.wait(_POLL_SECONDS):
            return True
    return False


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
    if database.pages is not None:
        remove_image(env, database.pages.redo)
    with env.catalog.databases.transaction():
        if database.state is DatabaseState.OFFLINE and path.exists():
            # SQL Server leaves the files of an offline database on the disk.
            path.replace(path.with_name(f"{path.name}.dropped"))
        _delete_files(path)
        env.catalog.databases.remove(database.id)
    drop_log(env, database)
    with suppress(OSError):
        if database.state is not DatabaseState.OFFLINE:
            forget_key(env, database)
        remove_kept(env, database)
        for copy in undo_copies(path):
            remove_copy(copy)
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
    if database.source is not None:
        raise fail(5093)
    if statement.name is None and database.is_system and statement.action == "SET":
        raise fail(12104, database.name, early=True)
    if statement.action == "SET":
        yield from set_options(context, database, statement)
        yield Done(context.command)
        return
    with context.env.locks.hold(database.name) as free:
        if not free:
            raise fail(5061, database.name)
        if statement.action == "MODIFY NAME":
            _rename(context, database, statement.new_name or "")
            if context.env.agent is not None:
                context.env.agent.renamed(database.name, statement.new_name or "")
            yield message(5021, "database", statement.new_name, line=context.request.line)
        elif statement.action == "MODIFY FILE":
            yield from _modify_file(context, database, statement)
        elif statement.action == "COLLATE":
            collation = statement.options[0][1]
            context.env.catalog.databases.update(database.id, collation=collation)
        elif statement.action not in _WITHOUT_EFFECT:
            raise fail(5008)
    yield Done(context.command)


def _modify_file(context: Context, database: Database, statement: ast.AlterDatabase) -> Iterator[Reply]:
    """What is shown of a file changes: its logical name, and its physical one. Its size is SQLite's business.
    Raises CommandError 5041, 1828, 5104."""
    ((logical, physical),) = statement.options
    kinds = {name_key(database.data_name): "data", name_key(database.log_name): "log"}
    kind = kinds.get(name_key(logical))
    if kind is None:
        raise fail(5041, logical)
    if statement.new_name and kinds.get(name_key(statement.new_name), kind) != kind:
        raise fail(1828, statement.new_name)
    if physical and physical == (database.log_path if kind == "data" else database.data_path):
        raise fail(5104, physical)
    changes: dict[str, Any] = {}
    if statement.new_name:
        changes[f"{kind}_name"] = statement.new_name
        yield message(5021, "file", statement.new_name, line=context.request.line)
    if physical:
        changes[f"{kind}_path"] = physical
        yield message(5018, logical, line=context.request.line)
    if changes:
        context.env.catalog.databases.update(database.id, **changes)


def _rename(context: Context, database: Database, new_name: str) -> None:
    if database.is_system:
        raise fail(5011, database.name)
    if not new_name.strip() or len(new_name) > MAX_NAME:
        raise fail(102, new_name)
    other = context.env.database(new_name)
    if other is not None and other.id != database.id:
        raise fail(1801, new_name)
    if _others_stay(context, database):
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
        if has_wal(path):
            raise fail(5030)
        clear_sidecars(target)
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
