"""msdb's history of backups and restores: writing its rows, and the few questions that commands ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.catalog import msdb_schema as schema
from tdsproxy.catalog.file import CatalogFile, Row
from tdsproxy.catalog.listing import ListedSet, NamedSet, listed_sets, named_sets
from tdsproxy.store.encoding import Stored, from_storage, to_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.values import DateTime, Value

Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class BackupRows:
    """What one backup set leaves in msdb: a row each of backupmediaset and backupset, the rest one a
    family, a file and a filegroup. The ids that tie them together are given when they are written."""

    media_set: Values
    families: Sequence[Values]
    backup_set: Values
    files: Sequence[Values]
    filegroups: Sequence[Values] = ()


@dataclass(frozen=True, slots=True)
class RestoreRows:
    """What one restore leaves: a row of restorehistory, and one a file and a filegroup."""

    restore: Values
    files: Sequence[Values]
    filegroups: Sequence[Values] = ()


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A backup set as msdb knows it; ``type`` as in backupset (D, I, L). LSN ranges are half open.
    ``devices`` are those of the first copy of its media set, in the order of the families."""

    set_guid: UUID
    type: str
    first_lsn: int
    last_lsn: int
    fork: UUID
    first_fork: UUID
    fork_point: int | None
    base_guid: UUID | None
    position: int
    devices: tuple[str, ...]


_KNOWN: Final = (
    "SELECT b.backup_set_uuid, b.type, b.first_lsn, b.last_lsn, b.last_recovery_fork_guid,"
    " b.first_recovery_fork_guid, b.fork_point_lsn, b.differential_base_guid, b.position, b.media_set_id"
    " FROM backupset b"
)


class History:
    """The history tables in msdb.db."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._file.write():
            yield

    def record_backup(self, rows: BackupRows) -> int:
        """Writes a backup set in one transaction and returns its ``backup_set_id``.

        A media set that is known already (by its GUID) gets no second row.
        """
        with self._file.write():
            media = self._media_set(rows)
            set_id = self._insert(schema.BACKUPSET, {**rows.backup_set, "media_set_id": media})
            for file in rows.files:
                self._insert(schema.BACKUPFILE, {**file, "backup_set_id": set_id})
            for group in rows.filegroups:
                self._insert(schema.BACKUPFILEGROUP, {**group, "backup_set_id": set_id})
        return set_id

    def record_restore(self, source: BackupRows, rows: RestoreRows) -> int:
        """Writes a restore in one transaction and returns its ``restore_history_id``.

        The backup set gets its own rows first when msdb does not know it: it came from elsewhere.
        """
        with self._file.write():
            set_id = self.backup_set_id(source.backup_set["backup_set_uuid"])
            if set_id is None:
                set_id = self.record_backup(source)
            return self._restore(rows, set_id)

    def _restore(self, rows: RestoreRows, set_id: int) -> int:
        restore_id = self._insert(schema.RESTOREHISTORY, {**rows.restore, "backup_set_id": set_id})
        for file in rows.files:
            self._insert(schema.RESTOREFILE, {**file, "restore_history_id": restore_id})
        for group in rows.filegroups:
            self._insert(schema.RESTOREFILEGROUP, {**group, "restore_history_id": restore_id})
        return restore_id

    def record_revert(self, rows: RestoreRows) -> int:
        """Writes a restore without a backup set in one transaction: that from a snapshot."""
        with self._file.write():
            return self._restore(rows, 0)

    def record_suspect(self, database_id: int, pages: Iterable[int], now: Value) -> None:
        """Writes, or counts up, the rows of damaged pages in suspect_pages."""
        moment = to_storage(now, t.DATETIME)
        with self._file.write():
            for page in pages:
                self._file.read(
                    "UPDATE suspect_pages SET error_count = error_count + 1, event_type = 1,"
                    " last_update_date = ? WHERE database_id = ? AND file_id = 1 AND page_id = ?",
                    (moment, database_id, page),
                )
                self._file.read(
                    "INSERT INTO suspect_pages SELECT ?, 1, ?, 1, 1, ? WHERE NOT EXISTS (SELECT 1 FROM"
                    " suspect_pages WHERE database_id = ? AND file_id = 1 AND page_id = ?)",
                    (database_id, page, moment, database_id, page),
                )

    def record_restored_pages(self, database_id: int, pages: Iterable[int], now: Value) -> None:
        """Damaged pages that are known were restored: event type 4."""
        with self._file.write():
            for page in pages:
                self._file.read(
                    "UPDATE suspect_pages SET event_type = 4, last_update_date = ? WHERE database_id = ?"
                    " AND file_id = 1 AND page_id = ?",
                    (to_storage(now, t.DATETIME), database_id, page),
                )

    def record_mark(self, values: Values) -> None:
        """Writes a row of logmarkhistory."""
        with self._file.write():
            self._insert(schema.LOGMARKHISTORY, values)

    def forget_before(self, oldest: DateTime) -> None:
        """Deletes what is known of backup sets that were finished before ``oldest``."""
        self._forget("backup_finish_date < ?", to_storage(oldest, t.DATETIME))

    def forget_database(self, name: str) -> None:
        """Deletes what is known of the backup sets of a database."""
        self._forget("database_name = ? COLLATE NOCASE", name)

    def forget_set(self, set_guid: UUID) -> None:
        """Deletes what is known of one backup set."""
        self._forget("backup_set_uuid = ?", to_storage(set_guid, t.UNIQUEIDENTIFIER))

    def _forget(self, condition: str, value: Stored) -> None:
        """Deletes backup sets, their restores, and the media that hold no other set."""
        with self._file.write():
            found = self._file.read(
                f"SELECT backup_set_id, media_set_id FROM backupset WHERE {condition}", (value,)
            )
            sets = ", ".join(str(int(str(row[0]))) for row in found)
            media = ", ".join(str(int(str(row[1]))) for row in found)
            restores = f"SELECT restore_history_id FROM restorehistory WHERE backup_set_id IN ({sets})"
            unused = f"media_set_id IN ({media}) AND media_set_id NOT IN (SELECT media_set_id FROM backupset)"
            for table, rows in (
                ("restorefile", f"restore_history_id IN ({restores})"),
                ("restorefilegroup", f"restore_history_id IN ({restores})"),
                ("restorehistory", f"backup_set_id IN ({sets})"),
                ("backupfile", f"backup_set_id IN ({sets})"),
                ("backupfilegroup", f"backup_set_id IN ({sets})"),
                ("backupset", f"backup_set_id IN ({sets})"),
                ("backupmediafamily", unused),
                ("backupmediaset", unused),
            ):
                self._file.read(f"DELETE FROM {table} WHERE {rows}")

    def backup_set_id(self, set_guid: Value) -> int | None:
        """The newest row of a backup set."""
        rows = self._file.read(
            "SELECT max(backup_set_id) FROM backupset WHERE backup_set_uuid = ?",
            (to_storage(set_guid, t.UNIQUEIDENTIFIER),),
        )
        return None if rows[0][0] is None else int(rows[0][0])

    def sets_of_family(self, family: UUID, type_: str) -> list[KnownSet]:
        """The family's sets of one type, those written last first."""
        rows = self._file.read(
            f"{_KNOWN} WHERE b.family_guid = ? AND b.type = ? ORDER BY b.backup_set_id DESC",
            (to_storage(family, t.UNIQUEIDENTIFIER), type_),
        )
        media = {row[9]: self._devices(row[9]) for row in rows}
        return [_known_set(row, media[row[9]]) for row in rows if media[row[9]]]

    def newest(self) -> int:
        """The backup_set_id of the set that was written last, 0 for none."""
        return int(str(self._file.read("SELECT coalesce(max(backup_set_id), 0) FROM backupset")[0][0]))

    def chain_sets(self, family: UUID, fulls: int) -> list[KnownSet]:
        """The family's full, differential and log sets since the last but so many full ones; those written
        last first."""
        guid = to_storage(family, t.UNIQUEIDENTIFIER)
        oldest = self._file.read(
            "SELECT backup_set_id FROM backupset WHERE family_guid = ? AND type = 'D'"
            " ORDER BY backup_set_id DESC LIMIT 1 OFFSET ?",
            (guid, fulls),
        )
        meant = "WHERE b.family_guid = ? AND b.backup_set_id >= ? AND b.type IN ('D', 'I', 'L')"
        values = (guid, oldest[0][0] if oldest else 0)
        devices: dict[object, tuple[str, ...]] = {}
        for media_set, name in self._file.read(
            "SELECT f.media_set_id, f.physical_device_name FROM backupmediafamily f WHERE f.mirror = 0"
            f" AND f.media_set_id IN (SELECT b.media_set_id FROM backupset b {meant})"
            " ORDER BY f.family_sequence_number",
            values,
        ):
            devices[media_set] = (*devices.get(media_set, ()), str(name))
        rows = self._file.read(f"{_KNOWN} {meant} ORDER BY b.backup_set_id DESC", values)
        return [_known_set(row, devices[row[9]]) for row in rows if row[9] in devices]

    def listed(self, database: str | None) -> list[ListedSet]:
        """The backup sets of one database (any case), or of all; oldest first."""
        return listed_sets(self._file, database)

    def named(self, database: str, prefix: str) -> list[NamedSet]:
        """The backup sets of a database (any case) whose names begin so; oldest first."""
        return named_sets(self._file, database, prefix)

    def has_device(self, name: str) -> bool:
        """Whether a backup set lies on a medium whose path or URL ends so, in any case."""
        found = self._file.read(
            "SELECT 1 FROM backupmediafamily"
            " WHERE substr(physical_device_name, ?) = ? COLLATE NOCASE LIMIT 1",
            (-len(name), name),
        )
        return bool(found)

    def owner_of(self, database: str) -> tuple[UUID, UUID] | None:
        """GUID and family of the database with this name (any case) that was backed up last."""
        rows = self._file.read(
            "SELECT database_guid, family_guid FROM backupset WHERE database_name = ? COLLATE NOCASE"
            " ORDER BY backup_set_id DESC LIMIT 1",
            (database,),
        )
        found = [from_storage(value, t.UNIQUEIDENTIFIER) for value in rows[0]] if rows else []
        guid, family = found or (None, None)
        return (guid, family) if isinstance(guid, UUID) and isinstance(family, UUID) else None

    def _devices(self, media_set: object) -> tuple[str, ...]:
        rows = self._file.read(
            "SELECT physical_device_name FROM backupmediafamily WHERE media_set_id = ? AND mirror = 0"
            " ORDER BY family_sequence_number",
            (int(str(media_set)),),
        )
        return tuple(str(row[0]) for row in rows)

    def last_checkpoint(self, database: UUID) -> int | None:
        """``checkpoint_lsn`` of the last full or differential backup of the database with that GUID."""
        rows = self._file.read(
            "SELECT checkpoint_lsn FROM backupset WHERE database_guid = ? AND type IN ('D', 'I') "
            "ORDER BY backup_set_id DESC LIMIT 1",
            (to_storage(database, t.UNIQUEIDENTIFIER),),
        )
        value = from_storage(rows[0][0], t.numeric(25, 0)) if rows else None
        return int(value) if isinstance(value, Decimal) else None

    def _media_set(self, rows: BackupRows) -> int:
        known = self._file.read(
            "SELECT max(media_set_id) FROM backupmediaset WHERE media_uuid = ?",
            (to_storage(rows.media_set["media_uuid"], t.UNIQUEIDENTIFIER),),
        )
        if known[0][0] is not None:
            return int(known[0][0])
        media = self._insert(schema.BACKUPMEDIASET, rows.media_set)
        for family in rows.families:
            self._insert(schema.BACKUPMEDIAFAMILY, {**family, "media_set_id": media})
        return media

    def _insert(self, table: schema.HistoryTable, values: Values) -> int:
        columns = [table.column(name) for name in values]
        stored = tuple(
            to_storage(value, column.type) for column, value in zip(columns, values.values(), strict=True)
        )
        names = ", ".join(f'"{column.name}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        self._file.read(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', stored)
        return self._file.last_row_id()


def _known_set(row: Row, devices: tuple[str, ...]) -> KnownSet:
    guids = [from_storage(row[index], t.UNIQUEIDENTIFIER) for index in (0, 4, 5, 7)]
    lsns = [from_storage(row[index], t.numeric(25, 0)) for index in (2, 3, 6)]
    set_guid, fork, first_fork, base = (value if isinstance(value, UUID) else None for value in guids)
    first, last, point = (int(value) if isinstance(value, Decimal) else None for value in lsns)
    none = UUID(int=0)
    return KnownSet(
        set_guid or none,
        str(row[1]),
        first or 0,
        last or 0,
        fork or none,
        first_fork or none,
        point,
        base,
        int(str(row[8])),
        devices,
    )
