"""Database snapshots: CREATE DATABASE ... AS SNAPSHOT OF, and RESTORE ... FROM DATABASE_SNAPSHOT.

A snapshot is a copy of one committed state, a SQLite file of its own that nobody can write to.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, new_database
from tdsproxy.catalog.names import name_key
from tdsproxy.catalog.recovery import Redo
from tdsproxy.commands.backup_media import recorded
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.kept_content import record_revert, revert_to_kept
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.messages import OsError, message
from tdsproxy.commands.recovery import image_name, replace_online, take_image
from tdsproxy.commands.restore_target import check_free
from tdsproxy.store.install import install_new, leave_wal_mode
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Done, Reply


def create_snapshot(context: Context, name: str, statement: ast.CreateDatabase) -> None:
    """Makes the snapshot ``name``; the caller holds its name. Raises CommandError."""
    source = _source(context, statement)
    shown = _shown_path(context, source, statement)
    env = context.env
    store = env.catalog.store
    databases = env.catalog.databases
    snapshot = new_database(
        name,
        owner=context.session.login,
        family=source.family,
        fork=source.fork,
        data_name=source.data_name,
        data_path=shown,
        log_name=source.log_name,
        log_path=source.log_path,
        recovery_model=RecoveryModel.SIMPLE,
        read_only=True,
        collation=source.collation,
        compatibility=source.compatibility,
        options=source.options,
        source=source.id,
    )
    path = snapshot.path(store)
    with sql_failures(source.name, source.data_path):
        image = take_image(env, source)
    try:
        # Readers need no WAL beside a file that never changes.
        leave_wal_mode(image)
        with databases.transaction():
            if path.exists() or databases.find(name) is not None:
                raise fail(1801, name)
            install_new(image, path)
            databases.add(snapshot)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CommandError(message(5123, OsError.ACCESS_DENIED.words, shown), message(1802)) from error
    finally:
        image.unlink(missing_ok=True)


def _source(context: Context, statement: ast.CreateDatabase) -> Database:
    name = statement.snapshot_of or ""
    source = context.env.database(name)
    if source is None:
        raise fail(911, name)
    if not context.may_create_databases or context.roles_in(source) is None:
        raise fail(916, context.session.login, source.name)
    if source.is_system:
        raise fail(1816, source.name)
    if source.source is not None:
        raise fail(1821)
    if source.state is not DatabaseState.ONLINE or source.standby is not None:
        raise fail(1822)
    if statement.collation is not None:
        raise fail(1825)
    return source


def _shown_path(context: Context, source: Database, statement: ast.CreateDatabase) -> str:
    """The physical name of the snapshot's one file."""
    shown: str | None = None
    for logical, physical in (*statement.files, *statement.log_files):
        if name_key(logical) == name_key(source.log_name):
            raise fail(5114, logical)
        if name_key(logical) != name_key(source.data_name):
            raise fail(5014, "file", logical, source.name)
        shown = physical
    if shown is None:
        raise fail(5127, source.data_name)
    for other in context.env.catalog.databases.all():
        if shown in (other.data_path, other.log_path):
            raise CommandError(message(5170, shown), message(1802))
    return shown


# --------------------------------------------------------------------------- revert


def revert(context: Context, name: str, statement: ast.Restore) -> Iterator[Reply]:
    """RESTORE DATABASE x FROM DATABASE_SNAPSHOT = 's', the name of ``x`` held by the caller: the content of
    the snapshot, or of what an earlier restore replaced, in place of the database's. Raises CommandError."""
    if statement.options or statement.files or len(statement.devices) != 1 or statement.kind != "DATABASE":
        raise fail(4355)
    database = context.env.database(name)
    if database is None:
        raise fail(3137)
    if not context.owns(database):
        raise fail(3110, database.name)
    if database.source is not None:
        raise fail(3002)
    wanted = context.operands.text(statement.devices[0].name) or ""
    snapshot = context.env.database(wanted)
    if snapshot is None:
        yield from revert_to_kept(context, database, wanted)
        return
    if database.state is not DatabaseState.ONLINE or database.standby is not None:
        raise fail(3137)
    if snapshot.source != database.id or len(context.env.catalog.databases.snapshots_of(database)) > 1:
        raise fail(3137)
    check_free(context, database)
    _replace(context, database, snapshot)
    yield from recorded(context, lambda: record_revert(context, database))
    yield Done(context.command)


def _replace(context: Context, database: Database, snapshot: Database) -> None:
    env = context.env
    with sql_failures(database.name, database.data_path):
        image = take_image(env, snapshot)
        try:
            redo = Redo(image=image_name(env, image), fork=uuid.uuid4(), lsn=0, ends_chain=True)
            replace_online(env, database, redo, {})
        finally:
            image.unlink(missing_ok=True)


def check_no_snapshots(context: Context, database: Database, what: str) -> None:
    """Raises CommandError 3709 while a snapshot needs the database: ``what`` is to drop or restore it."""
    snapshots = context.env.catalog.databases.snapshots_of(database)
    if snapshots:
        raise fail(3709, what, snapshots[0].name)
