"""What backups and restores leave in msdb: the rows of its history tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from uuid import UUID

from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.history import BackupRows, RestoreRows, Values
from tdsproxy.commands.context import Context
from tdsproxy.commands.header_rows import (
    THROUGH_LOGICAL,
    flags_of,
    history_type,
    last_lsn,
    last_valid_restore_time,
    quarter_hours,
    wall_time,
)
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.media.documents import FileEntry, MediaHeader, SetHeader, SetTrailer
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.values import DateTime

SHOWN_PAGE: Final = 8192
"""The size of the pages that messages and msdb count in, in bytes."""

_BLOCK_SIZE: Final = 4096
_DRIVE: Final = "C:\\"
"""``physical_drive``, on Linux, too."""


def backup_rows(
    media: MediaHeader,
    position: int,
    header: SetHeader,
    trailer: SetTrailer,
    files: Sequence[FileEntry],
    labels: Sequence[tuple[str, MediaHeader]],
    logical_names: Mapping[str, str] = MappingProxyType({}),
) -> BackupRows:
    """The rows of one backup set; ``labels`` are those of the media it lies on, with their devices' names."""
    d = header.description
    first = {"first_family_number": 1, "first_media_number": 1}
    media_set: Values = {
        "media_uuid": media.media_set_id,
        "media_family_count": media.family_count,
        "name": media.name,
        "description": media.description,
        "software_name": media.software,
        "software_vendor_id": media.software_vendor,
        "MTF_major_version": 1,
        "mirror_count": media.mirror_count,
        "is_password_protected": 0,
        "is_compressed": int(media.compressed),
        "is_encrypted": 1 if media.encrypted else None,
    }
    families = tuple(_family(name, label, d.device_type, logical_names.get(name)) for name, label in labels)
    envelope = header.encryption
    backup_set: Values = {
        "backup_set_uuid": d.set_guid,
        **first,
        "last_family_number": media.family_count,
        "last_media_number": 1,
        "catalog_family_number": 1,
        "catalog_media_number": 1,
        "position": position,
        "expiration_date": wall_time(d.expires),
        "software_vendor_id": d.vendor_id,
        "name": d.name,
        "description": d.description,
        "user_name": d.user_name,
        "software_major_version": d.version_major,
        "software_minor_version": d.version_minor,
        "software_build_version": d.version_build,
        "time_zone": quarter_hours(header.started),
        "mtf_minor_version": 0,
        "first_lsn": Decimal(d.first_lsn),
        "last_lsn": Decimal(last_lsn(d, trailer)),
        "checkpoint_lsn": Decimal(d.checkpoint_lsn),
        "database_backup_lsn": Decimal(d.database_backup_lsn),
        "database_creation_date": wall_time(d.database_created),
        "backup_start_date": wall_time(header.started),
        "backup_finish_date": wall_time(trailer.finished),
        "type": history_type(d.backup_type),
        "sort_order": d.sort_order,
        "code_page": d.code_page,
        "compatibility_level": d.compatibility_level,
        "database_version": d.database_version,
        "backup_size": Decimal(trailer.backup_size),
        "database_name": d.database_name,
        "server_name": d.server_name,
        "machine_name": d.machine_name,
        "flags": flags_of(d, trailer.is_damaged),
        "unicode_locale": d.locale_id,
        "unicode_compare_style": d.comparison_style,
        "collation_name": d.collation,
        "is_password_protected": 0,
        "recovery_model": d.recovery_model,
        "has_bulk_logged_data": int(d.has_bulk_logged_data),
        "is_snapshot": int(d.is_snapshot),
        "is_readonly": int(d.is_read_only),
        "is_single_user": int(d.is_single_user),
        "has_backup_checksums": int(d.has_checksums),
        "is_damaged": int(trailer.is_damaged),
        "begins_log_chain": int(d.begins_log_chain),
        "has_incomplete_metadata": int(d.has_incomplete_metadata),
        "is_force_offline": int(d.is_force_offline),
        "is_copy_only": int(d.is_copy_only),
        "first_recovery_fork_guid": d.first_recovery_fork_guid,
        "last_recovery_fork_guid": d.recovery_fork_guid,
        "fork_point_lsn": None if d.fork_point_lsn is None else Decimal(d.fork_point_lsn),
        "database_guid": d.database_guid,
        "family_guid": d.family_guid,
        "differential_base_lsn": (
            None if d.differential_base_lsn is None else Decimal(d.differential_base_lsn)
        ),
        "differential_base_guid": d.differential_base_guid,
        "compressed_backup_size": Decimal(trailer.stored_size),
        "key_algorithm": envelope.algorithm if envelope else None,
        "encryptor_thumbprint": envelope.thumbprint if envelope else None,
        "encryptor_type": envelope.encryptor_type if envelope else None,
        "last_valid_restore_time": last_valid_restore_time(d, trailer),
        "compression_algorithm": header.compression,
    }
    group_guid = next((file.unique_id for file in files if file.type == "D"), None)
    return BackupRows(
        media_set,
        families,
        backup_set,
        tuple({**first, **_file(file, group_guid)} for file in files),
        ({**_FILEGROUP, "filegroup_guid": group_guid},),
    )


def _family(name: str, label: MediaHeader, device_type: int, logical: str | None) -> Values:
    return {
        "family_sequence_number": label.family_sequence,
        "media_family_id": label.media_family_id,
        "media_count": 1,
        "logical_device_name": logical,
        "physical_device_name": name,
        "device_type": device_type % THROUGH_LOGICAL + (0 if logical is None else THROUGH_LOGICAL),
        "physical_block_size": max(_BLOCK_SIZE, label.block_size),
        "mirror": label.mirror_sequence - 1,
    }


_FILEGROUP: Final[Values] = {
    "name": "PRIMARY",
    "filegroup_id": 1,
    "type": "FG",
    "type_desc": "ROWS_FILEGROUP",
    "is_default": 1,
    "is_readonly": 0,
    "log_filegroup_guid": None,
}


def _file(file: FileEntry, group_guid: UUID | None) -> Values:
    is_data = file.type == "D"
    return {
        "filegroup_name": file.filegroup,
        "page_size": SHOWN_PAGE if is_data else None,
        "file_number": Decimal(file.file_id),
        "backed_up_page_count": Decimal(-(-file.backup_size // SHOWN_PAGE)),
        "file_type": file.type,
        "source_file_block_size": Decimal(file.source_block_size),
        "file_size": Decimal(file.size),
        "logical_name": file.logical_name,
        "physical_drive": _DRIVE,
        "physical_name": file.physical_name,
        "state": 0,
        "state_desc": "ONLINE",
        "create_lsn": Decimal(file.create_lsn),
        "drop_lsn": None,
        "file_guid": file.unique_id,
        "read_only_lsn": None,
        "read_write_lsn": None,
        "differential_base_lsn": None,
        "differential_base_guid": None,
        "backup_size": Decimal(file.backup_size),
        "filegroup_guid": group_guid if is_data else None,
        "is_readonly": int(file.is_read_only),
        "is_present": int(file.is_present),
    }


def restored_rows(
    context: Context,
    media: MediaInfo,
    info: SetInfo,
    database: str,
    options: RestoreOptions,
    targets: Sequence[tuple[int, str]],
    restore_type: str = "D",
) -> tuple[BackupRows, RestoreRows]:
    """The rows of a restore from a backup set: those of the set, should msdb not know it, and its own."""
    stop = options.stop
    files = info.header.description.files
    source = backup_rows(media.header, info.position, info.header, info.trailer, files, media.labels)
    rows = restore_rows(
        finished=DateTime.of(context.env.clock()),
        database=database,
        user=context.session.login,
        replace=options.replace,
        recovery=options.recovers,
        targets=targets,
        restore_type=restore_type,
        devices=len(media.labels),
        stop_at=stop.moment if stop is not None else None,
        mark=stop.named if stop is not None else None,
        before=None if stop is None or stop.named is None else stop.before,
    )
    return source, rows


def restore_rows(
    *,
    finished: DateTime | None,
    database: str,
    user: str,
    replace: bool,
    recovery: bool,
    targets: Sequence[tuple[int, str]],
    restore_type: str = "D",
    devices: int = 1,
    stop_at: DateTime | None = None,
    mark: str | None = None,
    before: bool | None = None,
) -> RestoreRows:
    """The rows of one restore; ``targets`` are (file number, physical name) pairs."""
    return RestoreRows(
        {
            "restore_date": finished,
            "destination_database_name": database,
            "user_name": user,
            "restore_type": restore_type,
            "replace": int(replace),
            "recovery": int(recovery),
            "restart": 0,
            "stop_at": None if stop_at is None else convert(stop_at, t.datetime2(7), t.DATETIME),
            "device_count": devices,
            "stop_at_mark_name": mark,
            "stop_before": None if before is None else int(before),
        },
        tuple(
            {
                "file_number": Decimal(number),
                "destination_phys_drive": _DRIVE,
                "destination_phys_name": name,
            }
            for number, name in targets
        ),
        ({"filegroup_name": "PRIMARY"},),
    )
