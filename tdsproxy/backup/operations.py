"""The operations on backups: what ``commands`` and the shell call."""

from __future__ import annotations

from tdsproxy.backup.database_backup import BackupOptions, BackupResult, backup_database
from tdsproxy.backup.database_restore import RestoreResult, restore_database, verify_set
from tdsproxy.backup.media_info import MediaInfo, read_headers, read_set

__all__ = [
    "BackupOptions",
    "BackupResult",
    "MediaInfo",
    "RestoreResult",
    "backup_database",
    "read_headers",
    "read_set",
    "restore_database",
    "verify_set",
]
