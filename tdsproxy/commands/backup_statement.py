"""BACKUP DATABASE, full and differential, and what all kinds of BACKUP have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tdsproxy.backup import operations
from tdsproxy.backup.errors import BaseMissing, SourceDamaged
from tdsproxy.backup.page_map import map_directory
from tdsproxy.catalog.configurations import MEDIA_RETENTION
from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.backup_media import LOG_PAGES, encryption, media_options, record, recorded, summary
from tdsproxy.commands.backup_options import BackupOptions, read_backup_options
from tdsproxy.commands.context import BACKUP_ROLES, Context
from tdsproxy.commands.devices import backup_devices
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.file_selection import backup_type, completed
from tdsproxy.commands.history_rows import SHOWN_PAGE
from tdsproxy.commands.locks import Part
from tdsproxy.commands.log_backup import back_up_log
from tdsproxy.commands.log_chain import data_backed_up, lose_chain, start_log
from tdsproxy.commands.log_ranges import DataLog
from tdsproxy.commands.media_failures import backup_media_failure, sql_failures
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.set_description import describe
from tdsproxy.log.records import ArchiveDamaged
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import FILE_DIFFERENTIAL
from tdsproxy.media.errors import MediaError
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Message, Reply

_UNUSABLE: Final = {
    DatabaseState.RESTORING: 927,
    DatabaseState.OFFLINE: 942,
    DatabaseState.RECOVERING: 945,
    DatabaseState.RECOVERY_PENDING: 945,
    DatabaseState.SUSPECT: 945,
    DatabaseState.EMERGENCY: 3033,
}
_DATA_FILE: Final = 1
_LOG_READABLE: Final = frozenset({DatabaseState.RECOVERY_PENDING, DatabaseState.SUSPECT})


def backup(context: Context, statement: ast.Backup) -> Iterator[Reply]:
    """BACKUP. Raises CommandError, SyntaxError_."""
    if context.session.in_transaction:
        raise fail(3021)
    if statement.kind not in ("DATABASE", "LOG"):
        raise fail(3015, f"BACKUP {statement.kind}")
    retention = context.env.catalog.configurations.in_use(MEDIA_RETENTION)
    options = read_backup_options(statement, context.operands, context.env.clock(), retention)
    database = _database(context, statement, options)
    if options.differential and name_key(database.name) == "master":
        raise fail(3024)
    if statement.kind == "DATABASE" and database.pages is not None:
        # It would hold the pages as they were before, and count as a good backup.
        raise fail(3016, database.data_name)
    kind = backup_type(context, database, statement, differential=options.differential)
    if options.differential and database.chain.base_guid is None:
        raise _no_base(kind, database)
    device = backup_devices(context, statement, overwrite=options.format, part_size=options.max_transfer_size)
    with context.env.locks.hold(database.name, _needed(statement, options)) as free:
        if not free:
            raise fail(3023)
        # A database whose file had been away, or whose log could not be captured before.
        start_log(context.env, database)
        yield from _stored_as(context, options)
        if statement.kind == "LOG":
            yield from back_up_log(context, database, device, options)
        else:
            yield from _back_up(context, database, device, options, kind)


def _needed(statement: ast.Backup, options: BackupOptions) -> Part:
    """The tail of the log takes the database away from everybody."""
    if statement.kind != "LOG":
        return Part.DATA
    return Part.ALL if options.tail else Part.LOG


def _database(context: Context, statement: ast.Backup, options: BackupOptions) -> Database:
    name = context.operands.text(statement.database)
    if not name or not name.strip():
        raise fail(3123, name or "")
    database = context.env.database(name)
    if database is None:
        raise fail(911, name)
    if name_key(name) == "tempdb":
        raise fail(3147)
    roles = context.roles_in(database)
    if roles is None:
        raise fail(916, context.session.login, database.name)
    if not roles & BACKUP_ROLES:
        raise fail(262, f"BACKUP {statement.kind}", database.name)
    if database.source is not None:
        raise fail(3002)
    if database.standby is not None:
        raise fail(3036, database.name)
    if database.state in _UNUSABLE and not (options.no_truncate and database.state in _LOG_READABLE):
        raise fail(_UNUSABLE[database.state], database.name)
    return database


def _source_check(
    database: Database, maps: Path, log: DataLog, options: BackupOptions
) -> operations.SourceCheck:
    """What CHECKSUM looks at: SQLite's own structures, and what nobody has written since the last full
    backup that noted the hashes."""
    chain = database.chain
    if not log.kept or chain.base_guid is None or chain.base_lsn is None:
        return operations.SourceCheck(tolerate=options.continue_after_error)
    base_lsn = chain.base_lsn
    return operations.SourceCheck(
        (maps, chain.base_guid), lambda: log.pages_since(base_lsn), options.continue_after_error
    )


def _no_base(kind: int, database: Database) -> CommandError:
    """There is nothing that a differential backup could differ from."""
    if kind == FILE_DIFFERENTIAL:
        return fail(3039, database.data_name)
    return fail(3035, database.name)


def _stored_as(context: Context, options: BackupOptions) -> Iterator[Reply]:
    if options.algorithm == "MS_XPRESS":
        yield Message(0, 0, 1, "COMPRESSION (ALGORITHM = MS_XPRESS) is stored as ZSTD.", context.request.line)


def _back_up(
    context: Context, database: Database, device: DeviceSet, options: BackupOptions, kind: int
) -> Iterator[Reply]:
    env = context.env
    chain = database.chain
    base = None
    if options.differential:
        if chain.base_lsn is None or chain.base_guid is None:
            raise _no_base(kind, database)
        base = (chain.base_lsn, chain.base_guid)
    log = DataLog.begin(env, database)
    description = describe(context, database, options, log.range(), backup_type=kind, base=base)
    source = database.path(env.catalog.store)
    maps = map_directory(env.catalog.store, database.guid)
    sealing = yield from encryption(context, options)
    check = _source_check(database, maps, log, options) if description.has_checksums else None
    # In FULL, too: should the log get a gap, only the hashes can tell what has changed.
    keeps_map = not options.copy_only

    def run(report: Report) -> operations.BackupResult:
        how = media_options(context, device, options, sealing)
        try:
            if base is not None:
                return operations.backup_differential(
                    source,
                    log.pages_since(base[0]),
                    device,
                    description,
                    how,
                    report,
                    env.cancelled,
                    log=log.tail if log.kept else None,
                    page_map=maps,
                    check=check,
                )
            return operations.backup_database(
                source,
                device,
                description,
                how,
                report,
                env.cancelled,
                log=log.tail if log.kept else None,
                page_map=maps if keeps_map else None,
                check=check,
            )
        except MediaError as error:
            raise backup_media_failure(error, options.compression) from error
        except ArchiveDamaged:
            # A full backup reads nothing but the log's end: behind the damage the next one can be made.
            if base is None:
                lose_chain(env, database)
            raise
        except BaseMissing as error:
            raise _no_base(kind, database) from error
        except SourceDamaged as error:
            context.env.catalog.history.record_suspect(database.id, [error.page], context.now())
            raise fail(3043, database.name, _DATA_FILE, error.page, database.data_path) from error

    with sql_failures(database.name, database.data_path), log.retained():
        result = yield from reported(context, run, options.stats)
    if not options.copy_only or base is not None:
        checkpoint = (description.checkpoint_lsn, description.set_guid)
        data_backed_up(env, database, description.first_lsn, None if base is not None else checkpoint)
    data_pages = -(-result.trailer.backup_size // SHOWN_PAGE)
    yield from context.info(4035, data_pages, database.name, database.data_name, result.position)
    yield from context.info(4035, LOG_PAGES, database.name, database.log_name, result.position)
    if check is not None and check.damaged:
        env.catalog.history.record_suspect(database.id, sorted(check.pages), context.now())
        yield from context.info(3042)
    yield from recorded(context, lambda: record(context, result))
    yield from summary(context, completed(kind, database), data_pages + LOG_PAGES, result.seconds)
