"""RESTORE DATABASE, and what RESTORE LOG answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tdsproxy.backup import operations
from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.databases import (
    Database,
    DatabaseState,
    RecoveryModel,
    UserAccess,
    new_database,
)
from tdsproxy.catalog.names import MAX_NAME, name_key
from tdsproxy.commands.backup_statement import LOG_PAGES, recorded, summary
from tdsproxy.commands.context import Context
from tdsproxy.commands.devices import restore_device
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.header_rows import last_lsn
from tdsproxy.commands.history_rows import SHOWN_PAGE, backup_rows, restore_rows
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.messages import message
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.restore_options import RestoreOptions, read_restore_options
from tdsproxy.media.device import MediaDevice
from tdsproxy.media.documents import FileEntry
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Message, Reply
from tdsproxy.tsql.values import DateTime

_RECOVERY_MODELS: Final = {
    "FULL": RecoveryModel.FULL,
    "BULK-LOGGED": RecoveryModel.BULK_LOGGED,
    "SIMPLE": RecoveryModel.SIMPLE,
}


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a backup set goes: ``existing`` None makes a new database. ``files`` are the set's with the
    physical names that they get."""

    name: str
    existing: Database | None
    files: tuple[FileEntry, ...]
    paths: tuple[str, ...]

    @property
    def data_path(self) -> str:
        return next(
            (path for file, path in zip(self.files, self.paths, strict=True) if file.type == "D"), self.name
        )


def restore(context: Context, statement: ast.Restore) -> Iterator[Reply]:
    """RESTORE DATABASE and LOG. Raises CommandError, SyntaxError_."""
    if context.session.in_transaction:
        raise fail(3021)
    options = read_restore_options(statement, context.operands)
    name = _name(context, statement)
    if statement.files:
        raise fail(3015, f"RESTORE {statement.kind} with FILE, FILEGROUP or PAGE")
    if statement.kind == "LOG":
        _refuse_log(context, name)
    if not statement.devices:
        yield from _recover(context, name, options)
        return
    device = restore_device(context, statement.devices)
    with context.env.locks.hold(name) as free:
        if not free:
            raise fail(3101)
        yield from _restore(context, name, device, options)


def _name(context: Context, statement: ast.Restore) -> str:
    operand = statement.database
    name = None if operand is None else context.operands.text(operand)
    if name is None or not name.strip() or len(name) > MAX_NAME:
        raise fail(3123, name or "")
    if name_key(name) == "tempdb":
        raise fail(3147)
    if name_key(name) == "master":
        raise fail(3108)
    return name.rstrip(" ")


def _refuse_log(context: Context, name: str) -> None:
    database = context.env.database(name)
    if database is None:
        raise fail(3118, name)
    if database.state is not DatabaseState.RESTORING:
        raise fail(3117)
    raise fail(3015, "RESTORE LOG")


def _recover(context: Context, name: str, options: RestoreOptions) -> Iterator[Reply]:
    """RESTORE DATABASE x WITH RECOVERY: nothing is read, the database comes online."""
    database = context.env.database(name)
    if database is None:
        raise fail(3118, name)
    if not context.owns(database):
        raise fail(3110, database.name)
    if database.state is not DatabaseState.RESTORING:
        raise fail(3153)
    if options.recovery is not False:
        access = UserAccess.RESTRICTED_USER if options.restricted_user else UserAccess.MULTI_USER
        context.env.catalog.databases.update(
            database.id, state=DatabaseState.ONLINE, user_access=access, fork=uuid.uuid4()
        )
    yield from summary(context, "RESTORE DATABASE", 0, 0.0)


def _restore(context: Context, name: str, device: MediaDevice, options: RestoreOptions) -> Iterator[Reply]:
    env = context.env
    position = options.file or 1
    with sql_failures(name):
        info = operations.read_set(device, position)
        media = operations.read_headers(device)
    _check_set(info, media, device.name, options)
    target = _plan(context, name, info, options)
    path = (target.existing or new_database(name)).path(env.catalog.store)

    def run(report: Report) -> operations.RestoreResult:
        return operations.restore_database(
            device,
            position,
            path,
            replace=target.existing is not None,
            progress=report,
            cancel=env.cancelled,
        )

    with sql_failures(name, target.data_path):
        result = yield from reported(context, run, options.stats)
    database = _register(context, target, result.info, options)
    data_pages = -(-result.info.trailer.backup_size // SHOWN_PAGE)
    counts = {"D": data_pages, "L": LOG_PAGES}
    for file in target.files:
        yield from context.info(4035, counts[file.type], database.name, file.logical_name, position)
    yield from recorded(context, lambda: _record(context, device, media, result.info, target, options))
    yield from summary(context, "RESTORE DATABASE", data_pages + LOG_PAGES, result.seconds)


def _check_set(info: SetInfo, media: MediaInfo, device: str, options: RestoreOptions) -> None:
    if options.media_name is not None and options.media_name != (media.header.name or ""):
        raise fail(4037, options.media_name, media.header.name or "", device)
    description = info.header.description
    if options.checksum and not description.has_checksums:
        raise fail(3187)
    if options.stop is not None:
        raise fail(3145) if description.recovery_model == "SIMPLE" else fail(3015, "RESTORE WITH STOPAT")


def _plan(context: Context, name: str, info: SetInfo, options: RestoreOptions) -> _Target:
    """Where everything will go. Raises CommandError for whatever forbids it, before anything is touched."""
    existing = context.env.database(name)
    if existing is not None and not context.owns(existing):
        raise fail(3110, existing.name)
    if existing is None and not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    files = info.header.description.files
    known = {name_key(file.logical_name) for file in files}
    moves: dict[str, str] = {}
    for logical, path in options.moves:
        if name_key(logical) not in known:
            raise fail(3234, logical, name)
        moves[name_key(logical)] = path
    if existing is not None:
        _check_existing(context, existing, info, options)
    paths = tuple(moves.get(name_key(file.logical_name), file.physical_name) for file in files)
    _check_paths(context, existing, files, paths)
    return _Target(existing.name if existing else name, existing, files, paths)


def _check_existing(context: Context, existing: Database, info: SetInfo, options: RestoreOptions) -> None:
    if context.is_current(existing):
        raise fail(3102, "RESTORE", existing.name)
    if context.others_in(existing):
        raise fail(3101)
    if existing.family != info.header.description.family_guid and not options.replace:
        raise fail(3154, existing.name)


def _check_paths(
    context: Context, existing: Database | None, files: Sequence[FileEntry], paths: Sequence[str]
) -> None:
    """The physical names are shown, not used; still two databases must not show the same ones."""
    taken: dict[str, str] = {}
    for database in context.env.catalog.databases.all():
        if existing is None or database.id != existing.id:
            taken[database.data_path] = database.name
            taken[database.log_path] = database.name
    problems: list[Message] = []
    claimed: dict[str, FileEntry] = {}
    for file, path in zip(files, paths, strict=True):
        if path in claimed:
            other = claimed[path]
            problems.append(
                message(3176, path, file.logical_name, file.file_id, other.logical_name, other.file_id)
            )
        claimed[path] = file
        if path in taken:
            problems += [message(1834, path, taken[path]), message(3156, file.logical_name, path)]
    if problems:
        raise CommandError(*problems, message(3119))


def _register(context: Context, target: _Target, info: SetInfo, options: RestoreOptions) -> Database:
    """What the catalog says of the restored database from now on."""
    description = info.header.description
    databases = context.env.catalog.databases
    online = options.recovery is not False
    changes: dict[str, Any] = {
        "family": description.family_guid,
        "fork": uuid.uuid4(),
        "guid": uuid.uuid4(),
        "recovery_model": _RECOVERY_MODELS.get(description.recovery_model, RecoveryModel.SIMPLE),
        "state": DatabaseState.ONLINE if online else DatabaseState.RESTORING,
        "user_access": UserAccess.RESTRICTED_USER if options.restricted_user else UserAccess.MULTI_USER,
        "holder": None,
        "read_only": description.is_read_only,
        "collation": description.collation,
        "compatibility": description.compatibility_level,
    }
    for file, path in zip(target.files, target.paths, strict=True):
        kind = "data" if file.type == "D" else "log"
        changes |= {
            f"{kind}_name": file.logical_name,
            f"{kind}_path": path,
            f"{kind}_file_guid": file.unique_id,
        }
    with databases.transaction():
        existing = target.existing
        if existing is None:
            # The file may have been adopted in the meantime: it was in its place before it was registered.
            existing = databases.find(target.name)
            changes["owner"] = context.session.login
        if existing is None:
            database = databases.add(new_database(target.name, **changes))
        else:
            database = databases.update(existing.id, **changes)
        databases.advance_lsn(database.id, Decimal(last_lsn(description, info.trailer)))
    return database


def _record(
    context: Context,
    device: MediaDevice,
    media: MediaInfo,
    info: SetInfo,
    target: _Target,
    options: RestoreOptions,
) -> None:
    """msdb's rows, before the message that ends the statement: tools read them as soon as they see it."""
    files = info.header.description.files
    targets = [(file.file_id, path) for file, path in zip(target.files, target.paths, strict=True)]
    context.env.catalog.history.record_restore(
        backup_rows(media.header, info.position, info.header, info.trailer, files, device.name),
        restore_rows(
            finished=DateTime.of(context.env.clock()),
            database=target.name,
            user=context.session.login,
            replace=options.replace,
            recovery=options.recovery is not False,
            targets=targets,
        ),
    )
