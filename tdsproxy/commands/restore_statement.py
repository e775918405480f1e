"""RESTORE DATABASE and RESTORE LOG: what the statement asks for, and the restore of a full backup."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

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
from tdsproxy.catalog.recovery import Kept, Redo
from tdsproxy.commands import restart_points
from tdsproxy.commands.backup_media import LOG_PAGES, recorded, summary
from tdsproxy.commands.context import Context
from tdsproxy.commands.damage import Damages
from tdsproxy.commands.devices import restore_devices
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_selection import check_selection
from tdsproxy.commands.history_rows import SHOWN_PAGE, restored_rows
from tdsproxy.commands.kept_content import told_of
from tdsproxy.commands.key_databases import note_key, require_same_key, take_key
from tdsproxy.commands.log_chain import stop_log
from tdsproxy.commands.log_sources import MediaPlace
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.point_in_time import complete, goes_on
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.recovery import (
    former_of,
    image_name,
    recover,
    remove_image,
    replace_online,
    show_standby,
)
from tdsproxy.commands.restore_options import RestoreOptions, read_restore_options
from tdsproxy.commands.restore_pages import recover_pages, restore_pages, roll_pages
from tdsproxy.commands.restore_target import Target, check_set, plan_target
from tdsproxy.commands.roll_forward import roll_forward
from tdsproxy.commands.roll_rules import check_full_stop, check_log_stop, consistent_ns_of, last_lsn_of
from tdsproxy.commands.snapshots import revert
from tdsproxy.commands.undo_files import undo_file
from tdsproxy.log.records import CaptureStopped
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import CHANGES, FILE, WHOLE
from tdsproxy.media.errors import MediaError
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Message, Reply

_log = logging.getLogger(__name__)
_RECOVERY_MODELS: Final = {
    "FULL": RecoveryModel.FULL,
    "BULK-LOGGED": RecoveryModel.BULK_LOGGED,
    "SIMPLE": RecoveryModel.SIMPLE,
}


def restore(context: Context, statement: ast.Restore) -> Iterator[Reply]:
    """RESTORE DATABASE and LOG. Raises CommandError, SyntaxError_."""
    if context.session.in_transaction:
        raise fail(3021)
    options = read_restore_options(statement, context.operands)
    name = _name(context, statement)
    if any(device.kind == "DATABASE_SNAPSHOT" for device in statement.devices):
        with context.env.locks.hold(name) as free:
            if not free:
                raise fail(3101)
            yield from revert(context, name, statement)
        return
    pages = [operand for word, operand in statement.files if word == "PAGE" and operand is not None]
    if not statement.devices:
        if options.recovery is None and options.standby is None:
            # The slip of a pen must not end a sequence of restores.
            raise fail(3207)
        with context.env.locks.hold(name) as free:
            if not free:
                raise fail(3101)
            found = context.env.database(name)
            if found is not None and found.pages is not None:
                yield from recover_pages(context, found, found.pages, options, statement.kind)
            else:
                yield from _recover_only(context, name, statement.kind, options)
        return
    device = restore_devices(context, statement.devices, statement.options)
    with context.env.locks.hold(name) as free:
        if not free:
            raise fail(3101)
        if options.restart and (pages or statement.kind == "LOG"):
            yield from context.info(3018, restart_points.checkpoint_file(context.env, name))
        if pages:
            yield from restore_pages(context, name, device, statement.kind, pages, options)
            return
        existing = context.env.database(name)
        with sql_failures(name):
            info = operations.read_whole_set(device, options.file or 1)
        rolls = statement.kind == "LOG" or info.header.description.backup_type in CHANGES
        if rolls and existing is not None and existing.pages is not None:
            yield from roll_pages(context, existing, existing.pages, device, options, statement.kind)
            return
        files = check_selection(context, statement, info, name, device.name, partial=options.partial)
        if statement.kind == "LOG":
            yield from roll_forward(context, name, device, options, "RESTORE LOG")
        elif info.header.description.backup_type in WHOLE:
            yield from _restore_whole(context, name, device, info, options, files=files)
        else:
            if options.restart:
                yield from context.info(3018, restart_points.checkpoint_file(context.env, name))
            yield from roll_forward(context, name, device, options, "RESTORE DATABASE")


def _name(context: Context, statement: ast.Restore) -> str:
    operand = statement.database
    name = None if operand is None else context.operands.text(operand)
    if name is None or not name.strip() or len(name) > MAX_NAME:
        raise fail(3123, name or "")
    if name_key(name) == "tempdb":
        raise fail(3147)
    if name_key(name) == "master":
        snapshot = any(device.kind == "DATABASE_SNAPSHOT" for device in statement.devices)
        raise fail(3139 if snapshot else 3108)
    return name.rstrip(" ")


def _recover_only(context: Context, name: str, kind: str, options: RestoreOptions) -> Iterator[Reply]:
    """RESTORE DATABASE x WITH RECOVERY, or STANDBY: nothing is read."""
    database = context.env.database(name)
    if database is None:
        raise fail(3118, name)
    if not context.owns(database):
        raise fail(3110, database.name)
    redo = database.redo
    if database.state is not DatabaseState.RESTORING and database.standby is None:
        raise fail(3153)
    if redo is None or redo.unfinished:
        raise fail(4333)
    check_log_stop(redo, options.stop)
    if database.standby is not None and (context.is_current(database) or context.others_in(database)):
        raise fail(3102, "RESTORE", database.name) if context.is_current(database) else fail(3101)
    with sql_failures(name, database.data_path):
        context.env.sessions.release(database.name)
        if options.standby is not None:
            standby = undo_file(context, options.standby, database.name)
            show_standby(context.env, database, standby)
        elif options.recovers:
            recover(context.env, database, restricted=options.restricted_user)
    yield from summary(context, f"RESTORE {kind}", 0, 0.0)


def _restore_whole(
    context: Context, name: str, device: DeviceSet, info: SetInfo, asked: RestoreOptions, *, files: bool
) -> Iterator[Reply]:
    env = context.env
    wanted = _wanted_lsn(context, name) if files and asked.recovers else 0
    behind = wanted > last_lsn_of(info)
    options = replace(asked, recovery=False) if behind else asked
    with sql_failures(name):
        media = operations.read_headers(device)
    check_set(info, media, device.name, options)
    whole = goes_on(info, options)
    check_full_stop(info, options.stop)
    target = plan_target(context, name, info, options)
    standby = None if options.standby is None else undo_file(context, options.standby, name)
    salt = take_key(context, info)
    if target.existing is not None:
        require_same_key(target.existing.path(env.catalog.store), salt)
    with sql_failures(name, target.data_path):
        attempt = restart_points.begin(env, name, device, info, options)
    image = attempt.image
    if attempt.missing is not None:
        yield from context.info(3018, attempt.missing)
    begun = time.monotonic()

    damages = Damages()

    def run(report: Report) -> operations.ImageResult:
        return operations.restore_image(
            device,
            info.position,
            image,
            progress=report,
            cancel=env.cancelled,
            on_damage=damages.add if options.continue_after_error else None,
            restart=None if options.continue_after_error else attempt.restart,
        )

    failed = True
    try:
        with sql_failures(name, target.data_path):
            yield from reported(context, run, options.stats)
            failed = False
            attempt.end(failed=False)
        is_damaged = bool(damages) or info.trailer.is_damaged
        redo = _redo(info, image_name(env, image), is_damaged=is_damaged)
        described = _described(context, target, info, options)
        told: list[str] = []
        reached = True
        used: tuple[MediaPlace, ...] = ()
        if whole and options.stop is not None:
            with sql_failures(name, target.data_path):
                end = complete(context, target.existing, redo, info, options.stop)
            redo, told, reached, used = end.redo, list(end.told), end.reached, end.used
        with sql_failures(name, target.data_path):
            database, undo = _put(context, target, redo, described, options, recovers=reached)
            note_key(context, database, salt)
            if undo is not None and whole:
                told.append(told_of(database))
            if standby is not None and database.state is DatabaseState.RESTORING:
                database = show_standby(context.env, database, standby)
    finally:
        if failed:
            attempt.end(failed=True)
        kept = env.catalog.databases.find(name)
        if attempt.is_kept:
            _log.info("RESTORE DATABASE [%s] WITH RESTART goes on where it was interrupted", name)
        elif kept is None or kept.redo is None or kept.redo.image != image_name(env, image):
            image.unlink(missing_ok=True)
    data_pages = -(-info.trailer.backup_size // SHOWN_PAGE)
    counts = {"D": data_pages, "L": LOG_PAGES}
    for file in target.files:
        yield from context.info(4035, counts[file.type], database.name, file.logical_name, info.position)
    for text in told:
        yield Message(0, 0, 1, text, context.request.line)
    yield from damages.places()
    if info.trailer.is_damaged:
        yield from context.info(3188)
    if is_damaged:
        yield from context.info(3184)
    if behind:
        yield from context.info(4303, last_lsn_of(info), wanted)
        yield from context.info(4339)
    if not reached:
        yield from context.info(4322)
    letter = "F" if files or info.header.description.backup_type == FILE else "D"
    yield from recorded(context, lambda: _record(context, media, info, target, options, used, letter))
    what = f"RESTORE DATABASE ... FILE=<{target.files[0].logical_name}>" if files else "RESTORE DATABASE"
    yield from summary(context, what, data_pages + LOG_PAGES, time.monotonic() - begun)


def _wanted_lsn(context: Context, name: str) -> int:
    """How far the log of an existing database goes, to which a file that is restored alone must be rolled
    forward; 0 where there is no such log."""
    database = context.env.database(name)
    logs = context.env.logs
    if database is None or logs is None or database.recovery_model is RecoveryModel.SIMPLE:
        return 0
    if logs.is_kept(database.guid):
        with suppress(CaptureStopped):
            return logs.capture_now(database.guid)
    return max((archive.last_lsn() for archive in logs.archives(database.guid)), default=0)


def _redo(info: SetInfo, image: str, *, is_damaged: bool) -> Redo:
    description = info.header.description
    return Redo(
        image=image,
        fork=description.recovery_fork_guid,
        lsn=last_lsn_of(info),
        base_guid=description.set_guid,
        base_lsn=description.checkpoint_lsn,
        base=True,
        ns=consistent_ns_of(info),
        damaged=is_damaged,
    )


def _described(context: Context, target: Target, info: SetInfo, options: RestoreOptions) -> dict[str, Any]:
    """What the catalog says of the restored database from now on."""
    description = info.header.description
    changes: dict[str, Any] = {
        "family": description.family_guid,
        "recovery_model": _RECOVERY_MODELS.get(description.recovery_model, RecoveryModel.SIMPLE),
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
    if target.existing is None:
        changes["owner"] = context.session.login
    return changes


def _put(
    context: Context,
    target: Target,
    redo: Redo,
    described: dict[str, Any],
    options: RestoreOptions,
    *,
    recovers: bool,
) -> tuple[Database, Path | None]:
    """The image becomes the database's: at once, or to be rolled forward; and the copy of what was there."""
    databases = context.env.catalog.databases
    existing = target.existing
    restricted = options.restricted_user
    if existing is not None and existing.state is DatabaseState.ONLINE and options.recovers and recovers:
        done = replace_online(context.env, existing, redo, described)
        return done.database, done.undo
    if existing is None:
        fields = {**described, "fork": redo.fork, "guid": uuid.uuid4()}
        made = new_database(target.name, **fields, state=DatabaseState.RESTORING, redo=redo)
        with databases.transaction():
            # A file of that name may have been put into the store in the meantime.
            if databases.find(target.name) is not None:
                raise fail(3101)
            database = databases.add(made)
    else:
        context.env.sessions.release(existing.name)
        if existing.state is DatabaseState.ONLINE:
            stop_log(context.env, existing)
        redo = msgspec.structs.replace(redo, former=_former(existing))
        database = databases.update(
            existing.id, **described, state=DatabaseState.RESTORING, redo=redo, standby=None
        )
        # An image that has gone while the catalog names it would count as put in place.
        remove_image(context.env, existing.redo)
    if options.recovers and recovers:
        done = recover(context.env, database, restricted=restricted)
        return done.database, done.undo
    return database, None


def _former(existing: Database) -> Kept | None:
    """What lies in the file that will be replaced at the end of the sequence."""
    redo = existing.redo
    if redo is None:
        return former_of(existing, None)
    if redo.former is None and not redo.image:
        # Its tail was backed up: nothing has been committed behind that.
        return former_of(existing, redo.lsn)
    return redo.former


def _record(
    context: Context,
    media: MediaInfo,
    info: SetInfo,
    target: Target,
    options: RestoreOptions,
    used: Sequence[MediaPlace],
    restore_type: str,
) -> None:
    """msdb's rows, before the message that ends the statement: tools read them as soon as they see it. Of
    several sets each has a row, as if each had had a statement; the last of them recovered."""
    history = context.env.catalog.history
    targets = [(file.file_id, path) for file, path in zip(target.files, target.paths, strict=True)]
    sets = [(media, info, restore_type)]
    for place in used:
        letter = "I" if place.info.header.description.backup_type in CHANGES else "L"
        # The restore is done: a medium that has gone since costs its row.
        with suppress(MediaError):
            sets.append((operations.read_headers(place.device), place.info, letter))
    last = len(sets) - 1
    with history.transaction():
        for number, (label, found, letter) in enumerate(sets):
            said = options if number == last else replace(options, recovery=False)
            rows = restored_rows(context, label, found, target.name, said, targets, letter)
            history.record_restore(*rows)
