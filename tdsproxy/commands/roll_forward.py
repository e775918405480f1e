"""RESTORE LOG, and RESTORE DATABASE of a differential set: a database being restored is rolled forward."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterator
from typing import Final

import msgspec

from tdsproxy.backup import operations
from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.catalog.recovery import Fork, Redo
from tdsproxy.commands.backup_media import LOG_PAGES, recorded, summary
from tdsproxy.commands.context import Context
from tdsproxy.commands.damage import Damages
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import SHOWN_PAGE, restored_rows
from tdsproxy.commands.key_databases import require_same_key, take_key
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.recovery import image_name, image_path, recover, show_standby, take_image
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.commands.restore_target import check_free, check_set, relocations
from tdsproxy.commands.roll_rules import (
    check_differential,
    check_full_stop,
    check_interrupted,
    check_kind,
    check_log,
    check_log_stop,
    consistent_ns_of,
    fork_at,
    last_lsn_of,
    stop_text,
)
from tdsproxy.commands.stop_points import StopPoint
from tdsproxy.commands.undo_files import undo_file
from tdsproxy.log.roll import StopAt
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import CHANGES, FILE_DIFFERENTIAL, LOG
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql.replies import Reply

_UNTOUCHED_NS: Final = 10**18
"""A time of modification that only an image has to which nothing was written since it was given it."""
_NEW_STATE: Final = 4
"""The state of 3117 for a database without files to roll forward."""


def stop_at(stop: StopPoint | None) -> StopAt | None:
    """The stop of a statement as the log's roll forward knows it."""
    if stop is None:
        return None
    return StopAt(stop.time, stop.lsn, stop.mark, stop.before, stop.after)


def roll_forward(
    context: Context, name: str, device: DeviceSet, options: RestoreOptions, what: str
) -> Iterator[Reply]:
    """``what`` names the statement in its last message. Raises CommandError; the database is then RESTORING
    as before, and the same set can be restored again."""
    env = context.env
    database = _restoring(context, name)
    with sql_failures(name):
        info = operations.read_whole_set(device, options.file or 1)
        media = operations.read_headers(device)
    kind = info.header.description.backup_type
    check_kind(info, device.name, (LOG,) if what == "RESTORE LOG" else CHANGES)
    check_set(info, media, device.name, options)
    relocations(info, options, name)
    redo = database.redo
    if redo is None:
        raise fail(3117, state=_NEW_STATE)
    if redo.damaged and not options.continue_after_error:
        raise fail(4323)
    _check(context, database, redo, info, options)
    require_same_key(image_path(env, redo), take_key(context, info))
    standby = None if options.standby is None else undo_file(context, options.standby, database.name)
    with sql_failures(name, database.data_path):
        if database.standby is not None:
            check_free(context, database)
        env.sessions.release(database.name)
        database, redo = _begin(context, database, redo, info, options)
    reached = True
    try:
        if kind == LOG:
            after, reached, seconds = yield from _apply_log(context, database, redo, device, info, options)
        else:
            after, seconds = yield from _apply_differential(context, database, redo, device, info, options)
    except BaseException:
        _take_back(context, database, redo)
        raise
    os.utime(image_path(env, redo))
    database = env.catalog.databases.update(database.id, redo=after)
    with sql_failures(name, database.data_path):
        if standby is not None:
            database = show_standby(context.env, database, standby)
        elif options.recovers and reached:
            database = recover(context.env, database, restricted=options.restricted_user).database
        elif database.standby is not None:
            database = env.catalog.databases.update(database.id, state=DatabaseState.RESTORING)
    yield from _tell(context, database, info, options, reached=reached)
    targets = [(1, database.data_path), (2, database.log_path)]
    letter = "L" if kind == LOG else "F" if kind == FILE_DIFFERENTIAL else "I"
    rows = restored_rows(context, media, info, database.name, options, targets, letter)
    yield from recorded(context, lambda: env.catalog.history.record_restore(*rows))
    yield from summary(context, what, _pages(info), seconds)


def _restoring(context: Context, name: str) -> Database:
    database = context.env.database(name)
    if database is None:
        raise fail(3118, name)
    if not context.owns(database):
        raise fail(3110, database.name)
    if database.state is not DatabaseState.RESTORING and database.standby is None:
        raise fail(3117)
    return database


def _check(context: Context, database: Database, redo: Redo, info: SetInfo, options: RestoreOptions) -> None:
    if info.header.description.backup_type in CHANGES:
        check_full_stop(info, options.stop)
        check_differential(redo, info, forks_of(context, info))
    else:
        check_log(redo, database.family, info)
        check_log_stop(redo, options.stop)
    check_interrupted(redo, database.data_path, info, options.stop)


def forks_of(context: Context, info: SetInfo) -> list[Fork]:
    """What is known here of the forks of the database that was backed up."""
    return context.env.catalog.databases.forks(info.header.description.database_guid)


def _begin(
    context: Context, database: Database, redo: Redo, info: SetInfo, options: RestoreOptions
) -> tuple[Database, Redo]:
    """There is an image, and a note that it may be of no state from here on, until this set is applied."""
    env = context.env
    if not redo.image:
        redo = msgspec.structs.replace(redo, image=image_name(env, take_image(env, database)))
        database = env.catalog.databases.update(database.id, redo=redo)
    modified = time.time_ns() if redo.unfinished else _UNTOUCHED_NS
    os.utime(image_path(env, redo), ns=(modified, modified))
    begun = msgspec.structs.replace(
        redo,
        unfinished=True,
        pending=info.header.description.set_guid,
        pending_stop=stop_text(options.stop),
        pending_lsn=last_lsn_of(info),
    )
    return env.catalog.databases.update(database.id, redo=begun), begun


def _take_back(context: Context, database: Database, redo: Redo) -> None:
    """The step failed. If nothing was written by then, the image is what it was."""
    with contextlib.suppress(OSError):
        if image_path(context.env, redo).stat().st_mtime_ns == _UNTOUCHED_NS:
            context.env.catalog.databases.update(database.id, redo=finished(redo))


def finished(redo: Redo) -> Redo:
    """Nothing is under way in the image any more."""
    return msgspec.structs.replace(redo, unfinished=False, pending=None, pending_stop=None, pending_lsn=None)


def _apply_log(
    context: Context,
    database: Database,
    redo: Redo,
    device: DeviceSet,
    info: SetInfo,
    options: RestoreOptions,
) -> Generator[Reply, None, tuple[Redo, bool, float]]:
    env = context.env
    image = image_path(env, redo)
    begun = time.monotonic()

    def run(report: Report) -> operations.LogApplied:
        del report
        return operations.apply_log(
            device, info.position, image, redo.lsn, stop_at(options.stop), cancel=env.cancelled
        )

    with sql_failures(database.name, database.log_path):
        applied = yield from reported(context, run, options.stats)
    after = msgspec.structs.replace(
        finished(redo),
        lsn=applied.redo_lsn,
        fork=fork_at(info.header.description, applied.redo_lsn),
        ns=max(redo.ns, applied.consistent_ns or 0),
        base=redo.base and applied.redo_lsn == redo.lsn,
        logged=redo.logged or applied.redo_lsn != redo.lsn,
        rolled=True,
    )
    return after, applied.reached, time.monotonic() - begun


def _apply_differential(
    context: Context,
    database: Database,
    redo: Redo,
    device: DeviceSet,
    info: SetInfo,
    options: RestoreOptions,
) -> Generator[Reply, None, tuple[Redo, float]]:
    env = context.env
    image = image_path(env, redo)
    begun = time.monotonic()

    def run(report: Report) -> operations.ImageResult:
        return operations.apply_differential(
            device,
            info.position,
            image,
            progress=report,
            cancel=env.cancelled,
            on_damage=damages.add if options.continue_after_error else None,
        )

    damages = Damages()
    with sql_failures(database.name, database.data_path):
        yield from reported(context, run, options.stats)
    yield from damages.places()
    if damages:
        yield from context.info(3184)
    after = after_differential(redo, info)
    damaged = redo.damaged or bool(damages) or info.trailer.is_damaged
    return msgspec.structs.replace(after, damaged=damaged), time.monotonic() - begun


def after_differential(redo: Redo, info: SetInfo) -> Redo:
    """How far a differential set leads."""
    return msgspec.structs.replace(
        finished(redo),
        lsn=last_lsn_of(info),
        fork=info.header.description.recovery_fork_guid,
        ns=max(redo.ns, consistent_ns_of(info)),
        base=False,
        rolled=False,
        logged=False,
    )


def _pages(info: SetInfo) -> int:
    pages = max(1, -(-info.trailer.backup_size // SHOWN_PAGE))
    return pages if info.header.description.backup_type == LOG else pages + LOG_PAGES


def _tell(
    context: Context, database: Database, info: SetInfo, options: RestoreOptions, *, reached: bool
) -> Iterator[Reply]:
    is_log = info.header.description.backup_type == LOG
    data_pages = 0 if is_log else -(-info.trailer.backup_size // SHOWN_PAGE)
    log_pages = _pages(info) if is_log else LOG_PAGES
    yield from context.info(4035, data_pages, database.name, database.data_name, info.position)
    yield from context.info(4035, log_pages, database.name, database.log_name, info.position)
    if not reached and options.stop is not None and options.recovery is not False:
        yield from context.info(4322 if options.stop.mark is None else 4329)
