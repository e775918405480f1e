"""The result sets of RESTORE HEADERONLY, FILELISTONLY and LABELONLY.

Columns, types and order as SQL Server 2022 (16.0.4236) sends them: every column nullable, no other flags.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.media.documents import LOG, FileEntry, MediaHeader, SetDescription, SetHeader, SetTrailer
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, Value

BASE_FLAGS: Final = 512
"""Set in the Flags of every backup set by SQL Server 2022."""

_TYPE_NAMES: Final = {
    1: "Database",
    2: "Transaction Log",
    4: "File or Filegroup",
    5: "Database Differential",
    6: "File Differential Partial",
    7: "Partial",
    8: "Partial Differential",
}
_HISTORY_TYPES: Final = {1: "D", 2: "L", 4: "F", 5: "I", 6: "G", 7: "P", 8: "Q"}
_NO_GUID: Final = UUID(int=0)
_LSN: Final = t.numeric(25, 0)

_HEADER: Final[tuple[tuple[str, SqlType], ...]] = (
    ("BackupName", t.SYSNAME),
    ("BackupDescription", t.nvarchar(255)),
    ("BackupType", t.TINYINT),
    ("ExpirationDate", t.DATETIME),
    ("Compressed", t.TINYINT),
    ("Position", t.SMALLINT),
    ("DeviceType", t.TINYINT),
    ("UserName", t.SYSNAME),
    ("ServerName", t.SYSNAME),
    ("DatabaseName", t.SYSNAME),
    ("DatabaseVersion", t.INT),
    ("DatabaseCreationDate", t.DATETIME),
    ("BackupSize", t.BIGINT),
    ("FirstLSN", _LSN),
    ("LastLSN", _LSN),
    ("CheckpointLSN", _LSN),
    ("DatabaseBackupLSN", _LSN),
    ("BackupStartDate", t.DATETIME),
    ("BackupFinishDate", t.DATETIME),
    ("SortOrder", t.SMALLINT),
    ("CodePage", t.SMALLINT),
    ("UnicodeLocaleId", t.INT),
    ("UnicodeComparisonStyle", t.INT),
    ("CompatibilityLevel", t.TINYINT),
    ("SoftwareVendorId", t.INT),
    ("SoftwareVersionMajor", t.INT),
    ("SoftwareVersionMinor", t.INT),
    ("SoftwareVersionBuild", t.INT),
    ("MachineName", t.SYSNAME),
    ("Flags", t.INT),
    ("BindingID", t.UNIQUEIDENTIFIER),
    ("RecoveryForkID", t.UNIQUEIDENTIFIER),
    ("Collation", t.SYSNAME),
    ("FamilyGUID", t.UNIQUEIDENTIFIER),
    ("HasBulkLoggedData", t.BIT),
    ("IsSnapshot", t.BIT),
    ("IsReadOnly", t.BIT),
    ("IsSingleUser", t.BIT),
    ("HasBackupChecksums", t.BIT),
    ("IsDamaged", t.BIT),
    ("BeginsLogChain", t.BIT),
    ("HasIncompleteMetaData", t.BIT),
    ("IsForceOffline", t.BIT),
    ("IsCopyOnly", t.BIT),
    ("FirstRecoveryForkID", t.UNIQUEIDENTIFIER),
    ("ForkPointLSN", _LSN),
    ("RecoveryModel", t.nvarchar(60)),
    ("DifferentialBaseLSN", _LSN),
    ("DifferentialBaseGUID", t.UNIQUEIDENTIFIER),
    ("BackupTypeDescription", t.SYSNAME),
    ("BackupSetGUID", t.UNIQUEIDENTIFIER),
    ("CompressedBackupSize", t.BIGINT),
    ("Containment", t.TINYINT),
    ("KeyAlgorithm", t.nvarchar(32)),
    ("EncryptorThumbprint", t.varbinary(20)),
    ("EncryptorType", t.nvarchar(32)),
    ("LastValidRestoreTime", t.DATETIME),
    ("TimeZone", t.SMALLINT),
    ("CompressionAlgorithm", t.nvarchar(32)),
)
_FILE_LIST: Final[tuple[tuple[str, SqlType], ...]] = (
    ("LogicalName", t.SYSNAME),
    ("PhysicalName", t.nvarchar(260)),
    ("Type", t.nchar(1)),
    ("FileGroupName", t.SYSNAME),
    ("Size", t.BIGINT),
    ("MaxSize", t.BIGINT),
    ("FileId", t.BIGINT),
    ("CreateLSN", _LSN),
    ("DropLSN", _LSN),
    ("UniqueId", t.UNIQUEIDENTIFIER),
    ("ReadOnlyLSN", _LSN),
    ("ReadWriteLSN", _LSN),
    ("BackupSizeInBytes", t.BIGINT),
    ("SourceBlockSize", t.INT),
    ("FileGroupId", t.INT),
    ("LogGroupGUID", t.UNIQUEIDENTIFIER),
    ("DifferentialBaseLSN", _LSN),
    ("DifferentialBaseGUID", t.UNIQUEIDENTIFIER),
    ("IsReadOnly", t.BIT),
    ("IsPresent", t.BIT),
    ("TDEThumbprint", t.varbinary(20)),
    ("SnapshotUrl", t.nvarchar(336)),
)
_LABEL: Final[tuple[tuple[str, SqlType], ...]] = (
    ("MediaName", t.SYSNAME),
    ("MediaSetId", t.UNIQUEIDENTIFIER),
    ("FamilyCount", t.INT),
    ("FamilySequenceNumber", t.INT),
    ("MediaFamilyId", t.UNIQUEIDENTIFIER),
    ("MediaSequenceNumber", t.INT),
    ("MediaLabelPresent", t.TINYINT),
    ("MediaDescription", t.nvarchar(255)),
    ("SoftwareName", t.SYSNAME),
    ("SoftwareVendorId", t.INT),
    ("MediaDate", t.DATETIME),
    ("MirrorCount", t.INT),
    ("IsCompressed", t.BIT),
)


THROUGH_LOGICAL: Final = 100
"""What the number of a kind of device is more when a logical device stood for it."""


def _columns(declared: tuple[tuple[str, SqlType], ...]) -> tuple[Column, ...]:
    return tuple(Column(name, type_) for name, type_ in declared)


HEADER_COLUMNS: Final = _columns(_HEADER)
FILE_LIST_COLUMNS: Final = _columns(_FILE_LIST)
LABEL_COLUMNS: Final = _columns(_LABEL)


def wall_time(moment: dt.datetime | None) -> DateTime | None:
    """The time as the writing server's clock showed it, in whole seconds, as backup headers have it."""
    return None if moment is None else DateTime.of(moment.replace(microsecond=0, tzinfo=None))


def last_valid_restore_time(description: SetDescription, trailer: SetTrailer) -> DateTime | None:
    """The last moment that a log set reaches; NULL for sets of data, as SQL Server 2022 shows it."""
    if description.backup_type != LOG:
        return None
    return wall_time(trailer.last_valid_restore_time or description.last_valid_restore_time)


def quarter_hours(moment: dt.datetime) -> int:
    """The offset from UTC, in units of 15 minutes."""
    offset = moment.utcoffset() or dt.timedelta()
    return int(offset.total_seconds() // 900)


def history_type(backup_type: int) -> str:
    """``backupset.type``."""
    return _HISTORY_TYPES[backup_type]


def flags_of(description: SetDescription, damaged: bool) -> int:
    """The bit mask of HEADERONLY's Flags and ``backupset.flags``."""
    bits = (
        (1, description.has_bulk_logged_data),
        (2, description.is_snapshot),
        (4, description.is_read_only),
        (8, description.is_single_user),
        (16, description.has_checksums),
        (32, damaged),
        (64, description.is_force_offline),
        (128, description.has_incomplete_metadata),
        (256, description.is_force_offline),
        (1024, description.is_copy_only),
    )
    return BASE_FLAGS | sum(bit for bit, is_set in bits if is_set)


def last_lsn(description: SetDescription, trailer: SetTrailer) -> int:
    return description.last_lsn if trailer.last_lsn is None else trailer.last_lsn


def _number(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def header_row(position: int, header: SetHeader, trailer: SetTrailer) -> tuple[Value, ...]:
    """The row of HEADERONLY for one backup set."""
    d = header.description
    envelope = header.encryption
    differential = d.backup_type in (5, 6, 8)
    return (
        d.name,
        d.description,
        d.backup_type,
        wall_time(d.expires),
        int(header.compression is not None),
        position,
        d.device_type,
        d.user_name,
        d.server_name,
        d.database_name,
        d.database_version,
        wall_time(d.database_created),
        trailer.backup_size,
        Decimal(d.first_lsn),
        Decimal(last_lsn(d, trailer)),
        Decimal(d.checkpoint_lsn),
        Decimal(d.database_backup_lsn),
        wall_time(header.started),
        wall_time(trailer.finished),
        d.sort_order,
        d.code_page,
        d.locale_id,
        d.comparison_style,
        d.compatibility_level,
        d.vendor_id,
        d.version_major,
        d.version_minor,
        d.version_build,
        d.machine_name,
        flags_of(d, trailer.is_damaged),
        d.database_guid,
        d.recovery_fork_guid,
        d.collation,
        d.family_guid,
        int(d.has_bulk_logged_data),
        int(d.is_snapshot),
        int(d.is_read_only),
        int(d.is_single_user),
        int(d.has_checksums),
        int(trailer.is_damaged),
        int(d.begins_log_chain),
        int(d.has_incomplete_metadata),
        int(d.is_force_offline),
        int(d.is_copy_only),
        d.first_recovery_fork_guid,
        _number(d.fork_point_lsn),
        d.recovery_model,
        _number(d.differential_base_lsn) if differential else None,
        d.differential_base_guid if differential else None,
        _TYPE_NAMES.get(d.backup_type, "Database"),
        d.set_guid,
        trailer.stored_size,
        d.containment,
        envelope.algorithm if envelope else None,
        envelope.thumbprint if envelope else None,
        envelope.encryptor_type if envelope else None,
        last_valid_restore_time(d, trailer),
        quarter_hours(header.started),
        header.compression,
    )


def file_row(file: FileEntry) -> tuple[Value, ...]:
    """The row of FILELISTONLY for one file."""
    return (
        file.logical_name,
        file.physical_name,
        file.type,
        file.filegroup,
        file.size,
        file.max_size,
        file.file_id,
        Decimal(file.create_lsn),
        Decimal(file.drop_lsn),
        file.unique_id,
        Decimal(file.read_only_lsn),
        Decimal(file.read_write_lsn),
        file.backup_size,
        file.source_block_size,
        file.filegroup_id,
        file.log_group_guid,
        Decimal(file.differential_base_lsn),
        file.differential_base_guid or _NO_GUID,
        int(file.is_read_only),
        int(file.is_present),
        file.tde_thumbprint,
        None,
    )


def label_row(media: MediaHeader) -> tuple[Value, ...]:
    """The row of LABELONLY for one device."""
    return (
        media.name,
        media.media_set_id,
        media.family_count,
        media.family_sequence,
        media.media_family_id,
        media.media_sequence,
        0,
        media.description,
        media.software,
        media.software_vendor,
        wall_time(media.created),
        media.mirror_count,
        int(media.compressed),
    )
