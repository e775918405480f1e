"""BACKUP LOG: the log since the last log backup, also as the tail of a database that is to be restored."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tdsproxy.backup import operations
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.names import name_key
from tdsproxy.catalog.recovery import Redo
from tdsproxy.commands.backup_media import encryption, media_options, record, recorded, summary
from tdsproxy.commands.backup_options import BackupOptions
from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import SHOWN_PAGE
from tdsproxy.commands.log_chain import log_backed_up, lose_chain, start_log, status_of, stop_log
from tdsproxy.commands.media_failures import backup_media_failure, sql_failures
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.recovery import show_standby
from tdsproxy.commands.set_description import LogRange, describe
from tdsproxy.commands.undo_files import undo_file
from tdsproxy.log.records import ArchiveDamaged, CaptureStopped, LogError, LogGap, Transaction
from tdsproxy.log.service import ChainState, LogService
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import LOG
from tdsproxy.media.errors import MediaError
from tdsproxy.tsql.replies import Reply


def back_up_log(
    context: Context, database: Database, device: DeviceSet, options: BackupOptions
) -> Iterator[Reply]:
    """Raises CommandError; a database whose tail could not be backed up is what it was before."""
    logs = _logs_of(context, database)
    standby = None if options.standby is None else undo_file(context, options.standby, database.name)
    if database.read_only:
        yield from context.info(4217)
    if options.tail:
        if context.is_current(database) or context.others_in(database):
            raise fail(3101)
        with _closed_to_users(context.env, database):
            result = yield from _write(context, database, logs, device, options)
            _leave_restoring(context, database, result, standby, options)
    else:
        result = yield from _write(context, database, logs, device, options)
    yield from _tell(context, database, device, result)


def _logs_of(context: Context, database: Database) -> LogService:
    """Raises CommandError 4212, 4208, 4214."""
    if name_key(database.name) == "master":
        raise fail(4212)
    if database.recovery_model is RecoveryModel.SIMPLE:
        raise fail(4208, "BACKUP LOG")
    logs = context.env.logs
    if logs is None or database.chain.log_backup_lsn is None:
        raise fail(4214)
    if status_of(context.env, database).state is not ChainState.UNBROKEN:
        raise fail(4214)
    return logs


@contextmanager
def _closed_to_users(env: CommandEnvironment, database: Database) -> Iterator[None]:
    """Users are refused from here on, and nothing is captured behind what is backed up; all is as before when
    the block fails."""
    databases = env.catalog.databases
    databases.update(database.id, state=DatabaseState.RESTORING)
    try:
        env.sessions.release(database.name)
        if database.state is DatabaseState.ONLINE:
            stop_log(env, database)
        yield
    except BaseException:
        start_log(env, databases.update(database.id, state=database.state, redo=database.redo))
        raise


def _checkpoint(env: CommandEnvironment, database: Database, last: int) -> int:
    """The last checkpoint before ``last``: each data backup makes one. SMO leaves a set out of restore plans
    that one with an earlier checkpoint follows."""
    base = database.chain.base_lsn or 0
    found = env.catalog.history.last_checkpoint(database.guid) or 0
    return found if base < found <= last else base


def _write(
    context: Context,
    database: Database,
    logs: LogService,
    device: DeviceSet,
    options: BackupOptions,
) -> Generator[Reply, None, operations.BackupResult]:
    env = context.env
    chain = database.chain
    first = chain.log_backup_lsn
    assert first is not None
    archive = logs.archive(database.guid)
    sealing = yield from encryption(context, options)
    through_ns: int | None = None
    if options.tail or database.state is not DatabaseState.ONLINE:
        last = archive.last_lsn()
    else:
        try:
            last = logs.capture_now(database.guid)
        except CaptureStopped as error:
            raise fail(4214) from error
        through_ns = logs.captured_until_ns(database.guid)
    forked = chain.fork_point_lsn is not None
    description = describe(
        context,
        database,
        options,
        LogRange(
            first,
            _checkpoint(env, database, last),
            last,
            chain.base_lsn or 0,
            chain.first_fork if forked else None,
            chain.fork_point_lsn if forked else None,
            chain.begins,
        ),
        backup_type=LOG,
    )

    def run(report: Report) -> operations.BackupResult:
        try:
            return operations.backup_log(
                _transactions(env, logs, database, last),
                device,
                description,
                media_options(context, device, options, sealing),
                report,
                env.cancelled,
                through_ns=through_ns,
                consistent_ns=archive.last_committed_ns() or None,
            )
        except MediaError as error:
            raise backup_media_failure(error, options.compression) from error
        except ArchiveDamaged as error:
            if not options.copy_only:
                lose_chain(env, database)
            raise fail(4214) from error
        except LogError as error:
            raise fail(4214) from error

    with sql_failures(database.name, database.log_path):
        result = yield from reported(context, run, options.stats)
    if not options.copy_only:
        log_backed_up(env, database, last)
    return result


def _transactions(
    env: CommandEnvironment, logs: LogService, database: Database, last: int
) -> Iterator[Transaction]:
    """The log from where the last log backup ended, also on the fork that the database came from, which may
    be another database's. Raises LogError."""
    chain = database.chain
    first, point = chain.log_backup_lsn, chain.fork_point_lsn
    assert first is not None
    archive = logs.archive(database.guid)
    if point is None:
        yield from archive.read(first, last)
        return
    if first < point:
        family = [d.guid for d in env.catalog.databases.all() if d.family == database.family]
        archives = (archive for guid in family for archive in logs.archives(guid))
        former = next((archive for archive in archives if archive.fork == chain.first_fork), None)
        if former is None:
            raise LogGap(f"the log of fork {chain.first_fork} is not there")
        yield from former.read(first, point)
    if archive.first_lsn() < last:
        yield from archive.read(archive.first_lsn(), last)


def _leave_restoring(
    context: Context,
    database: Database,
    result: operations.BackupResult,
    standby: Path | None,
    options: BackupOptions,
) -> None:
    redo = Redo(
        image="",
        fork=database.fork,
        lsn=result.last_lsn,
        base_guid=database.chain.base_guid,
        base_lsn=database.chain.base_lsn,
        ns=result.trailer.consistent_ns or 0,
        rolled=True,
    )
    restoring = context.env.catalog.databases.update(database.id, state=DatabaseState.RESTORING, redo=redo)
    if standby is not None:
        show_standby(context.env, restoring, standby)


def _tell(
    context: Context, database: Database, device: DeviceSet, result: operations.BackupResult
) -> Iterator[Reply]:
    pages = max(1, -(-result.trailer.backup_size // SHOWN_PAGE))
    yield from context.info(4035, pages, database.name, database.log_name, result.position)
    yield from recorded(context, lambda: record(context, result))
    yield from summary(context, "BACKUP LOG", pages, result.seconds)
