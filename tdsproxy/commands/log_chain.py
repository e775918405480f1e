"""The log of a database as the commands need it: its keeping, and what backups do to its chain."""

from __future__ import annotations

import dataclasses
import logging
import time
from decimal import Decimal
from typing import Final

import apsw
import msgspec

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.recovery import Fork
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.log.records import LogError
from tdsproxy.log.service import ChainState, ChainStatus, LoggedDatabase
from tdsproxy.store.errors import StoreError

_LOST: Final = "what the next log backup would begin with is damaged or was not noted"
NOT_KEPT: Final = ChainStatus(ChainState.NOT_KEPT)
_log = logging.getLogger(__name__)


def wants_log(database: Database) -> bool:
    """Whether the log of the database, as it is now, is to be captured."""
    return (
        bool(database.file)
        and not database.is_system
        and database.recovery_model is not RecoveryModel.SIMPLE
        and database.state is DatabaseState.ONLINE
        and database.standby is None
    )


def status_of(env: CommandEnvironment, database: Database) -> ChainStatus:
    """How the database's log chain is."""
    if env.logs is None or not env.logs.is_kept(database.guid):
        return NOT_KEPT
    status = env.logs.status(database.guid)
    if status.state is ChainState.UNBROKEN and database.chain.log_backup_lsn is None:
        return dataclasses.replace(status, state=ChainState.BROKEN, log_start=None, reason=_LOST)
    return status


def start_log(env: CommandEnvironment, database: Database) -> bool:
    """Captures the database from now on; False, and a line in the log, when that is not possible."""
    if env.logs is None or not wants_log(database):
        return False
    try:
        env.logs.start(_logged(env, database))
    except (StoreError, LogError, OSError, apsw.Error) as error:
        _log.error("the log of %s cannot be kept: %s", database.name, error)
        return False
    if not env.catalog.databases.forks(database.guid):
        note_fork(env, database, None, None)
    env.catalog.databases.end_fork(database, None)
    return True


def restart_log(env: CommandEnvironment, database: Database, *, continues: bool) -> None:
    """The database has been restored and is on a new fork, where a new log begins. ``continues`` says that
    log backups can go on from the point that the restore reached; else a full one must come first."""
    if env.logs is None or not wants_log(database):
        return
    try:
        env.logs.restart_chain(_logged(env, database))
        if continues:
            env.logs.chain_begun(database.guid, env.logs.archive(database.guid).first_lsn())
    except (StoreError, LogError, OSError, apsw.Error) as error:
        _log.error("the log of %s cannot be kept: %s", database.name, error)


def stop_log(env: CommandEnvironment, database: Database) -> None:
    """Captures what there is, then no more."""
    if env.logs is not None and env.logs.is_kept(database.guid):
        env.logs.stop(database.guid)
        _note_lsn(env, database)


def end_chain(env: CommandEnvironment, database: Database) -> None:
    """The chain of log backups ends: there will be gaps in the log."""
    if env.logs is not None and env.logs.is_kept(database.guid):
        env.logs.stop(database.guid)
        _note_lsn(env, database)
        env.catalog.databases.end_fork(database, time.time_ns())
        env.logs.end_chain(database.guid, database.fork)
    chain = msgspec.structs.replace(
        database.chain, log_backup_lsn=None, first_fork=None, fork_point_lsn=None, begins=True
    )
    env.catalog.databases.update(database.id, chain=chain)


def lose_chain(env: CommandEnvironment, database: Database) -> None:
    """What the next log backup would hold is damaged: the chain is broken until the next full or differential
    backup, which begins another one behind it. The archive is opened anew, and goes on behind the damage."""
    current = env.catalog.databases.by_id(database.id) or database
    chain = msgspec.structs.replace(
        current.chain, log_backup_lsn=None, first_fork=None, fork_point_lsn=None, begins=True
    )
    noted = env.catalog.databases.update(database.id, chain=chain)
    if env.logs is not None and env.logs.is_kept(database.guid):
        stop_log(env, noted)
        start_log(env, noted)


def drop_log(env: CommandEnvironment, database: Database) -> None:
    """The database goes, and its log with it."""
    if env.logs is not None:
        env.logs.drop(database.guid)
    env.catalog.databases.forget_forks(database.guid)


def note_fork(env: CommandEnvironment, database: Database, parent: Fork | None, point: int | None) -> None:
    """Remembers that the database is on its fork from now on."""
    start = 0
    if env.logs is not None and env.logs.is_kept(database.guid):
        start = env.logs.archive(database.guid).first_lsn()
    elif parent is not None:
        # The log begins later; what the former fork has given lies below all the same.
        start = int(env.catalog.databases.next_lsns(database.id, 1)[0])
    now = time.time_ns()
    databases = env.catalog.databases
    with databases.transaction():
        # By their times it is known which fork follows which, also when the clock was set back meanwhile.
        for former in databases.forks(database.guid):
            if former.created_ns >= now and former.fork != database.fork:
                databases.add_fork(msgspec.structs.replace(former, created_ns=now - 1))
        databases.add_fork(
            Fork(
                database=database.guid,
                fork=database.fork,
                parent=None if parent is None else parent.fork,
                point_lsn=point,
                start_lsn=start,
                created_ns=now,
            )
        )


def _logged(env: CommandEnvironment, database: Database) -> LoggedDatabase:
    next_lsn = int(env.catalog.databases.next_lsns(database.id, 1)[0])
    path = database.path(env.catalog.store)
    chain = database.chain
    promised = 0 if chain.log_backup_lsn is None else max(chain.log_backup_lsn, chain.base_lsn or 0)
    promised = max(promised, chain.unlogged_lsn or 0)
    return LoggedDatabase(database.name, path, database.guid, database.fork, next_lsn, promised)


def _note_lsn(env: CommandEnvironment, database: Database) -> None:
    """Numbers given from now on lie above the log's."""
    if env.logs is not None:
        # Of all, without the note of the chain, which may be damaged.
        last = max((archive.last_lsn() for archive in env.logs.archives(database.guid)), default=0)
        env.catalog.databases.advance_lsn(database.id, Decimal(last))


def data_backed_up(
    env: CommandEnvironment,
    database: Database,
    first_lsn: int,
    base: tuple[int, object] | None,
) -> None:
    """A full or differential backup that is not copy-only is durable: it begins the chain of log backups
    where there is none. ``base`` are checkpoint LSN and GUID of a full one, the new base of differentials."""
    current = env.catalog.databases.by_id(database.id)
    if current is None:
        return
    chain = current.chain
    if base is not None:
        chain = msgspec.structs.replace(chain, base_lsn=base[0], base_guid=base[1], base_ns=time.time_ns())
    status = status_of(env, current)
    begins = status.state is not ChainState.NOT_KEPT and (
        status.state is not ChainState.UNBROKEN or _lags(current, status)
    )
    if begins:
        chain = msgspec.structs.replace(
            chain, log_backup_lsn=first_lsn, first_fork=current.fork, fork_point_lsn=None, begins=True
        )
    if chain != current.chain:
        env.catalog.databases.update(current.id, chain=chain)
    # The catalog first: ended in between, the chain still counts as broken, and the next backup begins one.
    if begins and env.logs is not None:
        try:
            env.logs.chain_begun(current.guid, first_lsn)
        except (LogError, OSError) as error:
            # The backup is complete, and the base of differentials.
            _log.error("the chain of log backups of %s is not begun: %s", current.name, error)


def _lags(database: Database, status: ChainStatus) -> bool:
    """Whether the catalog missed that a chain began: something ended the keeper between two notes."""
    chain = database.chain
    if chain.log_backup_lsn is None:
        return True
    return chain.fork_point_lsn is None and chain.log_backup_lsn < (status.log_start or 0)


def log_backed_up(env: CommandEnvironment, database: Database, last_lsn: int) -> None:
    """A log backup that is not copy-only is durable: the next one begins at ``last_lsn``."""
    # A full backup may have become the base of differentials meanwhile.
    current = env.catalog.databases.by_id(database.id) or database
    chain = msgspec.structs.replace(
        current.chain,
        log_backup_lsn=last_lsn,
        first_fork=database.fork,
        fork_point_lsn=None,
        begins=False,
    )
    env.catalog.databases.update(database.id, chain=chain)
    if env.logs is not None and env.logs.is_kept(database.guid):
        try:
            env.logs.log_backed_up(database.guid, last_lsn)
        except (LogError, OSError) as error:
            # The backup is complete, and the catalog knows where the next one begins.
            _log.error("the log of %s keeps what has been backed up: %s", database.name, error)
