"""Table functions on the files of databases: dm_os_volume_stats and those that count reads and writes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tdsproxy.server.sysviews import databases
from tdsproxy.server.sysviews.model import Row
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored

VOLUME_COLUMNS: Final = (
    "database_id int!, file_id int!, volume_mount_point nvarchar(512), volume_id nvarchar(512),"
    " logical_volume_name nvarchar(512), file_system_type nvarchar(512), total_bytes bigint,"
    " available_bytes bigint, supports_compression tinyint, supports_alternate_streams tinyint,"
    " supports_sparse_files tinyint, is_read_only tinyint, is_compressed tinyint,"
    " incurs_seek_penalty tinyint"
)
FILE_STATS_COLUMNS: Final = (
    "database_id smallint!, file_id smallint!, sample_ms bigint!, num_of_reads bigint!,"
    " num_of_bytes_read bigint!, io_stall_read_ms bigint!, io_stall_queued_read_ms bigint!,"
    " num_of_writes bigint!, num_of_bytes_written bigint!, io_stall_write_ms bigint!,"
    " io_stall_queued_write_ms bigint!, io_stall bigint!, size_on_disk_bytes bigint!,"
    " file_handle varbinary(8)!"
)
OLD_FILE_STATS_COLUMNS: Final = (
    "DbId smallint!, FileId smallint!, TimeStamp bigint!, NumberReads bigint!, BytesRead bigint!,"
    " IoStallReadMS bigint!, NumberWrites bigint!, BytesWritten bigint!, IoStallWriteMS bigint!,"
    " IoStallMS bigint!, BytesOnDisk bigint!, FileHandle varbinary(8)!"
)
_FILES: Final = next(item for item in databases.VIEWS if item.name == "master_files")


def _files(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    database, file = (*arguments, None, None)[:2]
    for row in _FILES.rows(scope):
        wanted = database in (None, -1, row["database_id"]) and file in (None, -1, row["file_id"])
        if wanted:
            yield row


def volume_stats(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """The file system that the process sees; paths as scripts know them all lie on it."""
    if None in arguments:
        return
    disk = os.statvfs("/")
    for row in _files(scope, arguments):
        yield {
            "database_id": row["database_id"],
            "file_id": row["file_id"],
            "volume_mount_point": "/",
            "volume_id": "",
            "logical_volume_name": "",
            "file_system_type": "",
            "total_bytes": disk.f_frsize * disk.f_blocks,
            "available_bytes": disk.f_frsize * disk.f_bavail,
            "supports_compression": 0,
            "supports_alternate_streams": 0,
            "supports_sparse_files": 1,
            "is_read_only": 0,
            "is_compressed": 0,
        }


def _pages(row: Row) -> int:
    return int(str(row.get("size") or 0)) * 8192


def file_stats(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """Reads and writes are not counted here: SQLite's page cache does them."""
    for row in _files(scope, arguments):
        yield {
            "database_id": row["database_id"],
            "file_id": row["file_id"],
            "sample_ms": time.monotonic_ns() // 1_000_000,
            "size_on_disk_bytes": _pages(row),
            "file_handle": bytes(8),
        }


def old_file_stats(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    for row in _files(scope, arguments):
        yield {
            "DbId": row["database_id"],
            "FileId": row["file_id"],
            "TimeStamp": time.monotonic_ns() // 1_000_000,
            "BytesOnDisk": _pages(row),
            "FileHandle": bytes(8),
        }
