"""What msdb knows of the backup sets there are, as a list for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

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
    family: UUID | None = None
    """The family_guid: a database that was made anew under the same name has another one."""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A backup set of whoever gives its sets names; ``device`` is its first one."""

    device: str | None
    type: str
    database_guid: Value
    first_lsn: Decimal
    last_lsn: Decimal
    started: DateTime
    finished: DateTime
    machine: str | None
    last_fork: Value
    first_fork: Value
    fork_point: Value


_SETS: Final = (
    "SELECT b.database_name, b.type, b.backup_finish_date, b.position, b.backup_size,"
    " b.compressed_backup_size, b.is_copy_only, b.key_algorithm, b.first_lsn, b.last_lsn,"
    " b.media_set_id, b.family_guid FROM backupset b"
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


_LSN: Final = t.numeric(25, 0)
_NAMED: Final = (
    "SELECT (SELECT physical_device_name FROM backupmediafamily f WHERE f.media_set_id = b.media_set_id"
    " ORDER BY mirror, family_sequence_number LIMIT 1), b.type, b.database_guid, b.first_lsn, b.last_lsn,"
    " b.backup_start_date, b.backup_finish_date, b.machine_name, b.last_recovery_fork_guid,"
    " b.first_recovery_fork_guid, b.fork_point_lsn FROM backupset b"
    " WHERE b.database_name = ? COLLATE NOCASE AND substr(b.name, 1, ?) = ? ORDER BY b.backup_set_id"
)
_NAMED_TYPES: Final = (
    t.nvarchar(260),
    t.char(1),
    t.UNIQUEIDENTIFIER,
    _LSN,
    _LSN,
    t.DATETIME,
    t.DATETIME,
    t.nvarchar(128),
    t.UNIQUEIDENTIFIER,
    t.UNIQUEIDENTIFIER,
    _LSN,
)


def named_sets(file: CatalogFile, database: str, prefix: str) -> list[NamedSet]:
    """The sets of a database (any case) whose names begin so; oldest first. Those without LSNs or dates,
    which only other programs write, are left out."""
    found = []
    for row in file.read(_NAMED, (database, len(prefix), prefix)):
        given = [from_storage(value, type_) for value, type_ in zip(row, _NAMED_TYPES, strict=True)]
        first, last, started, finished = given[3:7]
        if not (isinstance(first, Decimal) and isinstance(last, Decimal)):
            continue
        if not (isinstance(started, DateTime) and isinstance(finished, DateTime)):
            continue
        device, machine = (None if value is None else str(value) for value in (given[0], given[7]))
        rest = (machine, given[8], given[9], given[10])
        found.append(NamedSet(device, str(given[1]), given[2], first, last, started, finished, *rest))
    return found


def _listed(row: Row, devices: Sequence[str]) -> ListedSet:
    family = from_storage(row[11], t.UNIQUEIDENTIFIER)
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
        family if isinstance(family, UUID) else None,
    )


def _whole(row: Row, place: int, sql_type: SqlType) -> int:
    value: Value = from_storage(row[place], sql_type)
    return int(value) if isinstance(value, Decimal | int) else 0
