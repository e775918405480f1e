"""sp_detach_db, and CREATE DATABASE ... FOR ATTACH.

SQL Server leaves a detached database's files where they are, and attaches them by their physical names.
Here a file in the store would be a database, so a detached one lies in ``STORE/detached`` beside a note
of the physical names by which it is found again, and of what the catalog knew. A SQLite file from
elsewhere is attached by the path where it lies, in a directory that statements may name: it is copied.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import apsw

from tdsproxy.backup.page_map import remove_maps
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, new_database
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.log_chain import drop_log, start_log, stop_log
from tdsproxy.commands.messages import OsError, message
from tdsproxy.commands.recovery import remove_kept
from tdsproxy.commands.snapshots import check_no_snapshots
from tdsproxy.store.errors import StoreError
from tdsproxy.store.files import clear_sidecars, fsync_directory, has_wal, replace_durably
from tdsproxy.store.install import wait_for_release
from tdsproxy.tsql import ast
from tdsproxy.tsql.values import Value

DIRECTORY: Final = "detached"
_RELEASE_SECONDS: Final = 5.0
_MAGIC: Final = b"SQLite format 3\0"
_GUIDS: Final = ("guid", "family", "fork", "data_file_guid", "log_file_guid")
_KEPT: Final = (
    *("data_name", "data_path", "log_name", "log_path"),
    *("collation", "compatibility", "options", "read_only"),
)


def _detach(context: Context, values: Sequence[Value]) -> list[Row]:
    name = str(values[0])
    database = context.env.database(name)
    if context.session.in_transaction:
        raise fail(15002, "sp_detach_db")
    if database is None:
        raise fail(15010, name)
    if not context.may_alter(database):
        raise fail(15247)
    if database.is_system:
        raise fail(7940)
    check_no_snapshots(context, database, "detach")
    if database.state not in (DatabaseState.ONLINE, DatabaseState.OFFLINE):
        raise fail(3707)
    with context.env.locks.hold(database.name) as free:
        if not free or context.is_current(database) or context.others_in(database):
            raise fail(3703, "database", database.name)
        _let_go(context, database)
    return []


def _let_go(context: Context, database: Database) -> None:
    env = context.env
    store = env.catalog.store
    path = database.path(store)
    stop_log(env, database)
    try:
        env.sessions.release(database.name)
        if path.exists():
            wait_for_release(path, _RELEASE_SECONDS)
    except StoreError as error:
        start_log(env, database)
        raise fail(3703, "database", database.name) from error
    if has_wal(path):
        start_log(env, database)
        raise fail(3703, "database", database.name)
    directory = store / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    target = directory / f"{uuid.uuid4()}.db"
    note: dict[str, Any] = {field: getattr(database, field) for field in _KEPT}
    note |= {field: str(getattr(database, field)) for field in _GUIDS}
    note["recovery_model"] = database.recovery_model.value
    # The note first: a file that no note tells of would be lost.
    replace_durably(target.with_suffix(".json"), json.dumps(note).encode())
    with env.catalog.databases.transaction():
        env.catalog.databases.remove(database.id)
        path.replace(target)
        for folder in (directory, path.parent):
            fsync_directory(folder)
    drop_log(env, database)
    remove_kept(env, database)
    remove_maps(store, database.guid)


def attach(context: Context, name: str, statement: ast.CreateDatabase) -> None:
    """Raises CommandError 5120, 5171, 1801."""
    paths = [physical for _, physical in (*statement.files, *statement.log_files) if physical]
    if not paths:
        raise fail(1802)
    store = context.env.catalog.store
    detached = _detached(store, paths)
    if detached is not None:
        source, fields = detached
        database = new_database(name, owner=context.session.login, **fields)
        clear_sidecars(database.path(store))
        source.replace(database.path(store))
        fsync_directory(store)
        added = _register(context, name, database)
        source.with_suffix(".json").unlink(missing_ok=True)
    else:
        found = _outside(context, paths[0])
        database = new_database(name, owner=context.session.login, data_path=paths[0])
        _copy(found, database.path(store))
        added = _register(context, name, database)
    start_log(context.env, added)


def _register(context: Context, name: str, database: Database) -> Database:
    try:
        return context.env.catalog.databases.add(database)
    except KeyError:
        raise fail(1801, name) from None


def _detached(store: Path, paths: Sequence[str]) -> tuple[Path, dict[str, Any]] | None:
    """The detached file that one of the physical names is of, and what the catalog knew of it."""
    wanted = {name_key(path) for path in paths} | {name_key(PureWindowsPath(paths[0]).name)}
    for note in sorted((store / DIRECTORY).glob("*.json")):
        fields: dict[str, Any] = json.loads(note.read_text("utf-8"))
        file = note.with_suffix(".db")
        known = {name_key(fields["data_path"]), name_key(PureWindowsPath(fields["data_path"]).name)}
        if known & wanted and file.exists():
            fields |= {field: uuid.UUID(fields[field]) for field in _GUIDS}
            fields["recovery_model"] = RecoveryModel(fields["recovery_model"])
            return file, fields
    return None


def _outside(context: Context, shown: str) -> Path:
    """A SQLite file in a directory that statements may name."""
    env = context.env
    store = env.catalog.store
    live = [database.path(store) for database in env.catalog.databases.all() if database.file]
    path = env.paths.locate(shown, live)
    if path is None:
        raise CommandError(message(5120, shown, *_words(OsError.ACCESS_DENIED)), message(1802))
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except FileNotFoundError:
        raise CommandError(message(5120, shown, *_words(OsError.FILE_NOT_FOUND)), message(1802)) from None
    except OSError as error:
        raise CommandError(message(5120, shown, *_words(OsError.ACCESS_DENIED)), message(1802)) from error
    if magic != _MAGIC:
        raise CommandError(message(5171, shown), message(1802))
    return path


def _words(error: OsError) -> tuple[int, str]:
    return error.value, error.words


def _copy(source: Path, target: Path) -> None:
    """What SQLite reads in ``source`` now, with what its WAL holds."""
    partial = target.with_name(f".{target.name}.attaching")
    partial.unlink(missing_ok=True)
    try:
        with (
            closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as reading,
            closing(apsw.Connection(str(partial))) as writing,
            writing.backup("main", reading, "main") as copying,
        ):
            copying.step()
    except apsw.Error as error:
        partial.unlink(missing_ok=True)
        raise CommandError(message(5171, str(source)), message(1802)) from error
    clear_sidecars(target)
    partial.replace(target)
    fsync_directory(target.parent)


PROCEDURES: Final[dict[str, Procedure]] = {"sp_detach_db": _detach}
