"""The operations on backups: what ``commands`` and the shell call."""

from __future__ import annotations

from tdsproxy.backup.database_backup import backup_database
from tdsproxy.backup.database_restore import RestoreResult, restore_database, verify_set
from tdsproxy.backup.differential_backup import backup_differential
from tdsproxy.backup.log_backup import backup_log
from tdsproxy.backup.media_info import MediaInfo, read_headers, read_set, read_whole_set
from tdsproxy.backup.media_set import BackupResult, LogTail
from tdsproxy.backup.options import BackupOptions
from tdsproxy.backup.restore_steps import (
    ImageResult,
    LogApplied,
    apply_differential,
    apply_log,
    restore_image,
    restore_pages,
)
from tdsproxy.backup.source_check import SourceCheck
from tdsproxy.backup.undo import undo_restore
from tdsproxy.backup.verification import Verified, verify_restore

__all__ = [
    "BackupOptions",
    "BackupResult",
    "ImageResult",
    "LogApplied",
    "LogTail",
    "MediaInfo",
    "RestoreResult",
    "SourceCheck",
    "Verified",
    "apply_differential",
    "apply_log",
    "backup_database",
    "backup_differential",
    "backup_log",
    "read_headers",
    "read_set",
    "read_whole_set",
    "restore_database",
    "restore_image",
    "restore_pages",
    "undo_restore",
    "verify_restore",
    "verify_set",
]
