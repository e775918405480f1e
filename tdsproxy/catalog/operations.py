"""msdb's tables of what the operation of the store leaves: backups that retention deleted, trial restores.

SQL Server has no such tables; they stand beside its own, in schema dbo, and are read like these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.msdb_metadata import describe_tables
from tdsproxy.catalog.msdb_schema import BACKUPSET, HistoryTable, TableColumn, create_table
from tdsproxy.store.encoding import from_storage, to_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.values import DateTime, Value

DELETED_BACKUPS: Final = HistoryTable(
    "tdsproxy_deleted_backups",
    (
        TableColumn("deletion_id", t.INT, False, True),
        TableColumn("deletion_date", t.DATETIME, False),
        TableColumn("backup_set_uuid", t.UNIQUEIDENTIFIER, False),
        TableColumn("database_name", t.SYSNAME),
        TableColumn("type", t.char(1)),
        TableColumn("backup_finish_date", t.DATETIME),
        TableColumn("compressed_backup_size", t.numeric(20, 0)),
        TableColumn("physical_device_names", t.nvarchar(4000), False),
        TableColumn("reason", t.nvarchar(4000)),
        TableColumn("is_complete", t.BIT, False),
    ),
    ("deletion_id",),
)
"""A row a backup set that retention deletes; it is complete when the media are gone."""

TRIAL_RESTORES: Final = HistoryTable(
    "tdsproxy_trial_restores",
    (
        TableColumn("trial_id", t.INT, False, True),
        TableColumn("database_name", t.SYSNAME, False),
        TableColumn("trial_date", t.DATETIME, False),
        TableColumn("stop_at", t.DATETIME),
        TableColumn("backup_sets", t.INT, False),
        TableColumn("duration_ms", t.BIGINT, False),
        TableColumn("tables", t.INT),
        TableColumn("rows", t.BIGINT),
        TableColumn("succeeded", t.BIT, False),
        TableColumn("message", t.nvarchar(4000)),
    ),
    ("trial_id",),
)
"""A row a trial restore: which moment of which database, and what came of it."""

OPERATION_TABLES: Final = (DELETED_BACKUPS, TRIAL_RESTORES)


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A media set of msdb: its backup sets by their GUIDs, and its devices, a tuple a copy (mirrors last)."""

    id: int
    devices: tuple[tuple[str, ...], ...]
    sets: tuple[SetRow, ...]


@dataclass(frozen=True, slots=True)
class SetRow:
    """A row of backupset, as far as retention needs it."""

    guid: UUID
    database: str
    type: str
    finished: DateTime | None
    expires: DateTime | None
    size: int


class Operations:
    """Writes and reads these tables. The tables are made by ``make``."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    def make(self) -> None:
        """What is missing."""
        names = {str(row[0]) for row in self._file.read("SELECT name FROM sqlite_schema")}
        if names.issuperset(table.name for table in OPERATION_TABLES):
            return
        with self._file.write():
            for table in OPERATION_TABLES:
                self._file.read(create_table(table))
            describe_tables(self._file, OPERATION_TABLES)

    def media(self) -> list[MediaRow]:
        """All media sets with backup sets, in the order in which they came into use."""
        families: dict[int, dict[int, list[str]]] = {}
        for media, mirror, name in self._file.read(
            "SELECT media_set_id, mirror, physical_device_name FROM backupmediafamily"
            " ORDER BY media_set_id, mirror, family_sequence_number"
        ):
            families.setdefault(int(str(media)), {}).setdefault(int(str(mirror)), []).append(str(name))
        sets: dict[int, list[SetRow]] = {}
        for row in self._file.read(
            "SELECT media_set_id, backup_set_uuid, database_name, type, backup_finish_date, expiration_date,"
            " compressed_backup_size FROM backupset ORDER BY backup_set_id"
        ):
            guid = from_storage(row[1], t.UNIQUEIDENTIFIER)
            finished, expires = (from_storage(row[place], t.DATETIME) for place in (4, 5))
            size = from_storage(row[6], t.numeric(20, 0))
            sets.setdefault(int(str(row[0])), []).append(
                SetRow(
                    guid if isinstance(guid, UUID) else UUID(int=0),
                    str(row[2]),
                    str(row[3]),
                    finished if isinstance(finished, DateTime) else None,
                    expires if isinstance(expires, DateTime) else None,
                    int(str(size or 0)),
                )
            )
        return [
            MediaRow(media, tuple(map(tuple, families.get(media, {}).values())), tuple(found))
            for media, found in sets.items()
        ]

    def announce_deletions(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Backup sets are about to go, durably noted."""
        with self._file.write():
            for row in rows:
                self._insert(DELETED_BACKUPS, {**row, "is_complete": False})

    def deleted(self, sets: Sequence[UUID]) -> None:
        """Their media are gone, and so is what msdb knew of them."""
        marks = ", ".join("?" * len(sets))
        stored = [to_storage(guid, t.UNIQUEIDENTIFIER) for guid in sets]
        with self._file.write():
            self._file.read(
                f"UPDATE tdsproxy_deleted_backups SET is_complete = 1 WHERE backup_set_uuid IN ({marks})",
                stored,
            )

    def unfinished_deletions(self) -> set[UUID]:
        """Sets whose deletion was interrupted."""
        rows = self._file.read("SELECT backup_set_uuid FROM tdsproxy_deleted_backups WHERE is_complete = 0")
        found = [from_storage(row[0], t.UNIQUEIDENTIFIER) for row in rows]
        return {guid for guid in found if isinstance(guid, UUID)}

    def record_trial(self, values: Mapping[str, Value]) -> None:
        """A row of tdsproxy_trial_restores."""
        with self._file.write():
            self._insert(TRIAL_RESTORES, values)

    def trials(self, limit: int = 1000) -> list[dict[str, Value]]:
        """The newest trial restores, the newest first."""
        if not self._has(TRIAL_RESTORES.name):
            return []
        return self._rows(TRIAL_RESTORES, "trial_id", limit)

    def deletions(self, limit: int = 1000) -> list[dict[str, Value]]:
        """The newest deletions, the newest first."""
        return self._rows(DELETED_BACKUPS, "deletion_id", limit)

    def suspects(self) -> list[tuple[int, int, int]]:
        """Damaged pages that were not restored yet: database_id, page, how often they were seen."""
        rows = self._file.read(
            "SELECT database_id, page_id, error_count FROM suspect_pages WHERE event_type IN (1, 2, 3)"
        )
        return [(int(str(row[0])), int(str(row[1])), int(str(row[2]))) for row in rows]

    def encryptors(self) -> dict[bytes, list[str]]:
        """The thumbprints of what seals encrypted backups, each with the databases in them."""
        found: dict[bytes, list[str]] = {}
        for thumbprint, name in self._file.read(
            "SELECT DISTINCT encryptor_thumbprint, database_name FROM backupset"
            " WHERE encryptor_thumbprint IS NOT NULL AND encryptor_type = 'CERTIFICATE'"
        ):
            if isinstance(thumbprint, bytes):
                found.setdefault(thumbprint, []).append(str(name))
        return found

    def next_runs(self) -> list[tuple[str, str]]:
        """The enabled jobs that will run by a schedule, with the time of the server's clock (ISO 8601)."""
        if not self._has("sysjobschedules"):
            return []
        rows = self._file.read(
            "SELECT j.name, min(s.next_run_date * 1000000 + s.next_run_time) AS next FROM sysjobschedules s"
            " JOIN sysjobs j ON j.job_id = s.job_id WHERE j.enabled = 1 AND s.next_run_date > 0"
            " GROUP BY j.name ORDER BY next"
        )
        return [(str(name), _moment(int(str(number)))) for name, number in rows]

    def newest_backup(self, database: str) -> dict[str, Value] | None:
        """The row of backupset that was written last for a database, with its ``devices``, each on a line."""
        return self._newest("b.database_name = ? COLLATE NOCASE ORDER BY b.backup_set_id DESC", database)

    def newest_restore(self, database: str) -> dict[str, Value] | None:
        """The backup set of the newest restore to a database, as ``newest_backup`` gives it."""
        return self._newest(
            "b.backup_set_id = (SELECT backup_set_id FROM restorehistory WHERE destination_database_name = ?"
            " COLLATE NOCASE ORDER BY restore_history_id DESC LIMIT 1)",
            database,
        )

    def _newest(self, condition: str, database: str) -> dict[str, Value] | None:
        names = (
            *("backup_set_uuid", "database_name", "type", "database_creation_date", "first_lsn", "last_lsn"),
            *("differential_base_lsn", "backup_size", "compressed_backup_size", "position", "media_set_id"),
        )
        columns = ", ".join(f"b.{name}" for name in names)
        rows = self._file.read(f"SELECT {columns} FROM backupset b WHERE {condition} LIMIT 1", (database,))
        if not rows:
            return None
        found: dict[str, Value] = {
            name: from_storage(value, BACKUPSET.column(name).type)
            for name, value in zip(names, rows[0], strict=True)
        }
        devices = self._file.read(
            "SELECT physical_device_name FROM backupmediafamily WHERE media_set_id = ?"
            " ORDER BY mirror, family_sequence_number",
            (rows[0][-1],),
        )
        return {**found, "devices": "\n".join(str(row[0]) for row in devices)}

    def job_results(self) -> dict[int, int]:
        """How many runs of jobs sysjobhistory has of each run_status."""
        if not self._has("sysjobhistory"):
            return {}
        rows = self._file.read(
            "SELECT run_status, count(*) FROM sysjobhistory WHERE step_id = 0 GROUP BY run_status"
        )
        return {int(str(status)): int(str(number)) for status, number in rows}

    def failed_jobs(self, after: int) -> list[tuple[int, str, str]]:
        """Runs of jobs that failed: instance_id, the job's name, the message."""
        if not self._has("sysjobhistory"):
            return []
        rows = self._file.read(
            "SELECT h.instance_id, j.name, h.message FROM sysjobhistory h JOIN sysjobs j"
            " ON j.job_id = h.job_id WHERE h.step_id = 0 AND h.run_status = 0 AND h.instance_id > ?"
            " ORDER BY h.instance_id",
            (after,),
        )
        return [(int(str(row[0])), str(row[1]), str(row[2] or "")) for row in rows]

    def last_job_run(self) -> int:
        """The newest instance_id of sysjobhistory; 0 for none."""
        if not self._has("sysjobhistory"):
            return 0
        return int(str(self._file.read("SELECT coalesce(max(instance_id), 0) FROM sysjobhistory")[0][0]))

    def _has(self, table: str) -> bool:
        return bool(
            self._file.read("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
        )

    def _rows(self, table: HistoryTable, key: str, limit: int) -> list[dict[str, Value]]:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = self._file.read(f"SELECT {columns} FROM {table.name} ORDER BY {key} DESC LIMIT {int(limit)}")
        return [
            {
                column.name: from_storage(value, column.type)
                for column, value in zip(table.columns, row, strict=True)
            }
            for row in rows
        ]

    def _insert(self, table: HistoryTable, values: Mapping[str, Value]) -> None:
        columns = [table.column(name) for name in values]
        stored = [
            to_storage(value, column.type) for column, value in zip(columns, values.values(), strict=True)
        ]
        names = ", ".join(f'"{column.name}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        self._file.read(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", stored)


def _moment(number: int) -> str:
    """ISO 8601 from yyyymmddhhmmss."""
    text = f"{number:014}"
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"
