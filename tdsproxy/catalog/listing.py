"""What msdb knows of the backup sets there are, as a list for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tdsproxy.catalog.file import CatalogFile, Row
from tdsproxy.store.encoding import from_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, Value


@dataclass(frozen=True, slots=True)
class ListedSet:
    """A backup set: ``type`` as in backupset (D, I, L ...), sizes in bytes, ``devices`` those of its first
    copy and then those of its mirrors."""

    database: str
    type: str
    finished: DateTime | None
    position: int
    size: int
    compressed_size: int
    copy_only: bool
    encrypted: bool
    first_lsn: int
    last_lsn: int
    devices: tuple[str, ...]


_SETS: Final = (
    "SELECT b.database_name, b.type, b.backup_finish_date, b.position, b.backup_size,"
    " b.compressed_backup_size, b.is_copy_only, b.key_algorithm, b.first_lsn, b.last_lsn,"
    " b.media_set_id FROM backupset b"
)
_DEVICES: Final = (
    "SELECT physical_device_name FROM backupmediafamily WHERE media_set_id = ?"
    " ORDER BY mirror, family_sequence_number"
)
_SIZE: Final = t.numeric(20, 0)


def listed_sets(file: CatalogFile, database: str | None) -> list[ListedSet]:
    """Of one database (any case), or of all; oldest first."""
    condition, values = (
        ("", ()) if database is None else (" WHERE b.database_name = ? COLLATE NOCASE", (database,))
    )
    rows = file.read(f"{_SETS}{condition} ORDER BY b.backup_set_id", values)
    return [_listed(row, [str(found[0]) for found in file.read(_DEVICES, (row[10],))]) for row in rows]


def _listed(row: Row, devices: Sequence[str]) -> ListedSet:
    finished = from_storage(row[2], t.DATETIME)
    return ListedSet(
        str(row[0]),
        str(row[1]),
        finished if isinstance(finished, DateTime) else None,
        int(str(row[3])),
        _whole(row, 4, _SIZE),
        _whole(row, 5, _SIZE),
        bool(row[6]),
        row[7] is not None,
        _whole(row, 8, t.numeric(25, 0)),
        _whole(row, 9, t.numeric(25, 0)),
        tuple(devices),
    )


def _whole(row: Row, place: int, sql_type: SqlType) -> int:
    value: Value = from_storage(row[place], sql_type)
    return int(value) if isinstance(value, Decimal | int) else 0
