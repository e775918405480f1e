"""What a backup set says of itself, from the catalog and the statement."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from tdsproxy.catalog.configurations import BACKUP_CHECKSUM_DEFAULT
from tdsproxy.catalog.databases import Database, RecoveryModel, UserAccess
from tdsproxy.commands.backup_options import BackupOptions
from tdsproxy.commands.context import Context
from tdsproxy.commands.header_rows import THROUGH_LOGICAL
from tdsproxy.commands.key_databases import envelope_of
from tdsproxy.media.documents import FULL, FileEntry, SetDescription

RECOVERY_NAMES: Final = {
    RecoveryModel.FULL: "FULL",
    RecoveryModel.BULK_LOGGED: "BULK-LOGGED",
    RecoveryModel.SIMPLE: "SIMPLE",
}
_MAX_DATA_SIZE: Final = 35184372080640
_MAX_LOG_SIZE: Final = 2199023255552


@dataclass(frozen=True, slots=True)
class LogRange:
    """The LSNs of a backup set. ``first_fork`` and ``fork_point`` are given where its log begins on another
    recovery fork than it ends on; ``begins_chain`` for the first log backup."""

    first: int
    checkpoint: int
    last: int
    database_backup: int = 0
    first_fork: uuid.UUID | None = None
    fork_point: int | None = None
    begins_chain: bool = False


def describe(
    context: Context,
    database: Database,
    options: BackupOptions,
    log: LogRange,
    *,
    backup_type: int = FULL,
    base: tuple[int, uuid.UUID] | None = None,
) -> SetDescription:
    """``base`` is the checkpoint LSN and the GUID of the full backup that a differential set builds on."""
    env = context.env
    checksum = options.checksum
    if checksum is None:
        checksum = bool(env.catalog.configurations.in_use(BACKUP_CHECKSUM_DEFAULT))
    major, minor, build = env.identity.version
    key = envelope_of(context, database)
    return SetDescription(
        database_name=database.name,
        set_guid=uuid.uuid4(),
        family_guid=database.family,
        database_guid=database.guid,
        recovery_fork_guid=database.fork,
        first_recovery_fork_guid=log.first_fork or database.fork,
        backup_type=backup_type,
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
        recovery_model=RECOVERY_NAMES[database.recovery_model],
        first_lsn=log.first,
        checkpoint_lsn=log.checkpoint,
        last_lsn=log.last,
        database_backup_lsn=log.database_backup,
        fork_point_lsn=log.fork_point,
        differential_base_lsn=None if base is None else base[0],
        differential_base_guid=None if base is None else base[1],
        begins_log_chain=log.begins_chain,
        is_read_only=database.read_only,
        is_single_user=database.user_access is UserAccess.SINGLE_USER,
        is_copy_only=options.copy_only,
        is_force_offline=options.tail,
        has_checksums=checksum,
        device_type=options.device_type + (THROUGH_LOGICAL if context.logical_names else 0),
        database_key=key,
        files=_files(context, database, None if key is None else key.thumbprint),
    )


def _files(context: Context, database: Database, thumbprint: bytes | None) -> tuple[FileEntry, FileEntry]:
    """The two files that SQL Server's tools expect; the data file's sizes are filled in by the backup."""
    path = database.path(context.env.catalog.store)
    wal = path.with_name(path.name + "-wal")
    try:
        log_size = wal.stat().st_size
    except FileNotFoundError:
        log_size = 0
    chain = database.chain
    data = FileEntry(
        logical_name=database.data_name,
        physical_name=database.data_path,
        type="D",
        file_id=1,
        unique_id=database.data_file_guid,
        filegroup="PRIMARY",
        filegroup_id=1,
        max_size=_MAX_DATA_SIZE,
        differential_base_lsn=chain.base_lsn or 0,
        differential_base_guid=chain.base_guid,
        is_read_only=database.read_only,
        tde_thumbprint=thumbprint,
    )
    log = FileEntry(
        logical_name=database.log_name,
        physical_name=database.log_path,
        type="L",
        file_id=2,
        unique_id=database.log_file_guid,
        size=log_size,
        max_size=_MAX_LOG_SIZE,
        tde_thumbprint=thumbprint,
    )
    return data, log
