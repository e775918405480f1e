"""BACKUP DATABASE, and what BACKUP LOG and DIFFERENTIAL answer."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import apsw

from tdsproxy.backup import operations
from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, UserAccess
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.backup_options import BackupOptions, read_backup_options, stored_algorithm
from tdsproxy.commands.context import BACKUP_ROLES, Context
from tdsproxy.commands.devices import backup_device
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import SHOWN_PAGE, backup_rows
from tdsproxy.commands.media_failures import backup_media_failure, sql_failures
from tdsproxy.commands.messages import message
from tdsproxy.commands.progress import Report, reported
from tdsproxy.media.codecs import DEFAULT_LEVEL, LEVELS
from tdsproxy.media.device import MediaDevice
from tdsproxy.media.documents import FileEntry, SetDescription
from tdsproxy.media.errors import MediaError
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Message, Reply

LOG_PAGES: Final = 2
"""What is counted for the log file, whose records lie in the data file's snapshot already."""

_MAX_DATA_SIZE: Final = 35184372080640
_MAX_LOG_SIZE: Final = 2199023255552
_RECOVERY_NAMES: Final = {
    RecoveryModel.FULL: "FULL",
    RecoveryModel.BULK_LOGGED: "BULK-LOGGED",
    RecoveryModel.SIMPLE: "SIMPLE",
}
_UNUSABLE: Final = {
    DatabaseState.RESTORING: 927,
    DatabaseState.OFFLINE: 942,
    DatabaseState.RECOVERING: 945,
    DatabaseState.RECOVERY_PENDING: 945,
    DatabaseState.SUSPECT: 945,
}
_OPTION_COMPRESSION: Final = "backup compression default"
_OPTION_CHECKSUM: Final = "backup checksum default"

_log = logging.getLogger(__name__)


def backup(context: Context, statement: ast.Backup) -> Iterator[Reply]:
    """BACKUP. Raises CommandError, SyntaxError_."""
    if context.session.in_transaction:
        raise fail(3021)
    options = read_backup_options(statement, context.operands, context.env.clock())
    database = _database(context, statement)
    if statement.kind == "LOG":
        _refuse_log(context, database)
    if options.differential:
        _refuse_differential(context, database)
    if statement.files:
        raise fail(3015, "BACKUP DATABASE with FILE or FILEGROUP")
    if statement.mirrors:
        raise fail(3015, "BACKUP DATABASE with MIRROR TO")
    device = backup_device(context, statement.devices)
    with context.env.locks.hold(database.name) as free:
        if not free:
            raise fail(3023)
        yield from _back_up(context, database, device, options)


def _database(context: Context, statement: ast.Backup) -> Database:
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
    if database.state in _UNUSABLE:
        raise fail(_UNUSABLE[database.state], database.name)
    return database


def _refuse_log(context: Context, database: Database) -> None:
    """There is no log to back up yet: each recovery model has its own way to say so."""
    if name_key(database.name) == "master":
        raise fail(4212)
    if database.recovery_model is RecoveryModel.SIMPLE:
        raise fail(4208, "BACKUP LOG")
    if not context.env.catalog.history.last_full_checkpoint(database.family):
        raise fail(4214)
    raise fail(3015, "BACKUP LOG")


def _refuse_differential(context: Context, database: Database) -> None:
    if name_key(database.name) == "master":
        raise fail(3024)
    if not context.env.catalog.history.last_full_checkpoint(database.family):
        raise fail(3035, database.name)
    raise fail(3015, "BACKUP DATABASE WITH DIFFERENTIAL")


def _back_up(
    context: Context, database: Database, device: MediaDevice, options: BackupOptions
) -> Iterator[Reply]:
    env = context.env
    if options.algorithm is not None and stored_algorithm(options.algorithm) != "ZSTD":
        raise fail(3015, f"COMPRESSION (ALGORITHM = {options.algorithm})")
    if options.algorithm == "MS_XPRESS":
        yield Message(0, 0, 1, "COMPRESSION (ALGORITHM = MS_XPRESS) is stored as ZSTD.", context.request.line)
    description = _describe(context, database, options)

    def run(report: Report) -> operations.BackupResult:
        try:
            return operations.backup_database(
                database.path(env.catalog.store),
                device,
                description,
                operations.BackupOptions(
                    init=options.init,
                    format=options.format,
                    compression=_compression(context, device, options),
                    level=LEVELS.get(options.level or "", DEFAULT_LEVEL),
                    media_name=options.media_name,
                    media_description=options.media_description,
                    block_size=options.block_size or 512,
                    check=_MediumCheck(device.name, options, env.clock()),
                ),
                report,
                env.cancelled,
            )
        except MediaError as error:
            raise backup_media_failure(error, options.compression) from error

    with sql_failures(database.name, database.data_path):
        result = yield from reported(context, run, options.stats)
    data_pages = -(-result.trailer.backup_size // SHOWN_PAGE)
    yield from context.info(4035, data_pages, database.name, database.data_name, result.position)
    yield from context.info(4035, LOG_PAGES, database.name, database.log_name, result.position)
    files = result.header.description.files
    rows = backup_rows(result.media, result.position, result.header, result.trailer, files, device.name)
    yield from recorded(context, lambda: env.catalog.history.record_backup(rows))
    yield from summary(context, "BACKUP DATABASE", data_pages + LOG_PAGES, result.seconds)


def recorded(context: Context, record: Callable[[], object]) -> Iterator[Reply]:
    """Writes history. The operation itself stays a success when msdb cannot take the rows: 3009 says so."""
    try:
        record()
    except apsw.Error:
        _log.exception("the history could not be written")
        yield message(3009, line=context.request.line)


def summary(context: Context, what: str, pages: int, seconds: float) -> Iterator[Reply]:
    """3014: pages, time and throughput."""
    milliseconds = max(1, round(seconds * 1000))
    rate = pages * SHOWN_PAGE * 1_000_000 // (milliseconds * 1048576)
    yield from context.info(
        3014, what, pages, milliseconds // 1000, milliseconds % 1000, rate // 1000, rate % 1000
    )


@dataclass(frozen=True, slots=True)
class _MediumCheck:
    """What forbids a backup onto the medium that is there: an unexpired set, or another media name."""

    device: str
    options: BackupOptions
    now: dt.datetime

    def __call__(self, info: MediaInfo | None) -> None:
        """Raises CommandError 4037, 4030."""
        if info is None or self.options.skip:
            return
        wanted = self.options.media_name
        if wanted is not None and wanted != (info.header.name or ""):
            raise fail(4037, wanted, info.header.name or "", self.device)
        if not self.options.init:
            return
        dates = [item.header.description.expires for item in info.sets]
        last = max((date.replace(tzinfo=None) for date in dates if date is not None), default=None)
        if last is not None and last > self.now:
            raise fail(4030, self.device, _expiry_text(last))


def _expiry_text(moment: dt.datetime) -> str:
    """As style 109 of CONVERT writes it, the form of message 4030."""
    hour = moment.hour % 12 or 12
    half = "AM" if moment.hour < 12 else "PM"
    return (
        f"{moment:%b} {moment.day:>2} {moment.year} {hour:>2}:{moment:%M:%S}:"
        f"{moment.microsecond // 1000:03}{half}"
    )


def _compression(context: Context, device: MediaDevice, options: BackupOptions) -> bool | None:
    """None leaves it to the medium, where there is one; a new one follows the server's option."""
    if options.compression is not None:
        return options.compression
    if context.env.catalog.setting(_OPTION_COMPRESSION) != "1":
        return None
    if options.format:
        return True
    try:
        operations.read_headers(device)
    except MediaError:
        return True
    return None


def _describe(context: Context, database: Database, options: BackupOptions) -> SetDescription:
    """What the backup set says of itself."""
    env = context.env
    checksum = options.checksum
    if checksum is None:
        checksum = env.catalog.setting(_OPTION_CHECKSUM) == "1"
    first, checkpoint, last = (int(lsn) for lsn in env.catalog.databases.next_lsns(database.id, 3))
    major, minor, build = env.identity.version
    return SetDescription(
        database_name=database.name,
        set_guid=uuid.uuid4(),
        family_guid=database.family,
        database_guid=database.guid,
        recovery_fork_guid=database.fork,
        first_recovery_fork_guid=database.fork,
        name=options.name,
        description=options.description,
        expires=None if options.expires is None else options.expires.astimezone(),
        user_name=context.session.login,
        server_name=env.identity.server_name,
        machine_name=env.identity.machine_name,
        database_created=database.created.astimezone(),
        compatibility_level=database.compatibility,
        collation=database.collation,
        version_major=major,
        version_minor=minor,
        version_build=build,
        recovery_model=_RECOVERY_NAMES[database.recovery_model],
        first_lsn=first,
        checkpoint_lsn=checkpoint,
        last_lsn=last,
        database_backup_lsn=int(env.catalog.history.last_full_checkpoint(database.family)),
        is_read_only=database.read_only,
        is_single_user=database.user_access is UserAccess.SINGLE_USER,
        is_copy_only=options.copy_only,
        has_checksums=checksum,
        files=_files(context, database),
    )


def _files(context: Context, database: Database) -> tuple[FileEntry, FileEntry]:
    """The two files that SQL Server's tools expect; the data file's sizes are filled in by the backup."""
    path = database.path(context.env.catalog.store)
    wal = path.with_name(path.name + "-wal")
    try:
        log_size = wal.stat().st_size
    except FileNotFoundError:
        log_size = 0
    data = FileEntry(
        logical_name=database.data_name,
        physical_name=database.data_path,
        type="D",
        file_id=1,
        unique_id=database.data_file_guid,
        filegroup="PRIMARY",
        filegroup_id=1,
        max_size=_MAX_DATA_SIZE,
        is_read_only=database.read_only,
    )
    log = FileEntry(
        logical_name=database.log_name,
        physical_name=database.log_path,
        type="L",
        file_id=2,
        unique_id=database.log_file_guid,
        size=log_size,
        max_size=_MAX_LOG_SIZE,
    )
    return data, log
