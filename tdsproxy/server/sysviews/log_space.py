"""The log of databases: how large it is, how much of it is not yet backed up.

A database's log is its WAL and, in the models that keep one, the archive of what was captured of it. There
are no virtual log files but the one that LSNs count in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import DatabaseFacts, Scope
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql.values import DateTime, Value

_PAGE: Final = 8192
_MB: Final = 1 << 20
_NOWHERE: Final = "00000000:00000000:0000"


@dataclass(frozen=True, slots=True)
class LogSpace:
    """Bytes of a database's log: what its files take at least, what holds something, and what no log backup
    has. ``start`` and ``end`` are LSNs of what the next log backup takes, in hexadecimal parts."""

    database: DatabaseFacts
    total: int
    used: int
    since_backup: int | None = None
    start: str | None = None
    end: str | None = None
    backed_up: DateTime | None = None

    @property
    def file(self) -> int:
        """The number of the virtual log file that the log's end lies in."""
        return 1 if self.end is None else int(self.end.split(":")[0], 16)

    @property
    def percent(self) -> float:
        return 100.0 * self.used / self.total if self.total else 0.0


def log_spaces(scope: Scope) -> Iterator[LogSpace]:
    """Of each online database that the session sees."""
    known = {int(str(row[0])): row for row in scope.look("tds_log_space")}
    for database in scope.databases():
        if not database.online:
            continue
        nominal = database.log_pages * _PAGE
        row = known.get(database.id)
        if row is None:
            yield LogSpace(database, nominal, 0)
            continue
        wal, archive = _number(row[1]) or 0, _number(row[2]) or 0
        since = _number(row[5])
        yield LogSpace(
            database,
            max(nominal, wal + archive),
            wal + archive if since is None else since,
            since,
            _text(row[3]),
            _text(row[4]),
            row[6] if isinstance(row[6], DateTime) else None,
        )


def _number(value: Value) -> int | None:
    return None if value is None else int(str(value))


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _usage(scope: Scope) -> Iterator[Row]:
    for found in log_spaces(scope):
        if found.database.id == scope.database.id:
            yield {
                "database_id": found.database.id,
                "total_log_size_in_bytes": found.total,
                "used_log_space_in_bytes": found.used,
                "used_log_space_in_percent": found.percent,
                "log_space_in_bytes_since_last_backup": found.since_backup or 0,
            }


def log_stats(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """sys.dm_db_log_stats(database_id)."""
    for found in log_spaces(scope):
        if found.database.id != arguments[0]:
            continue
        end = found.end if found.end is not None else found.start
        start = found.start if found.start is not None else end
        size = found.total / _MB
        pending = found.since_backup
        yield {
            "database_id": found.database.id,
            "recovery_model": found.database.recovery_model,
            "log_min_lsn": start or _NOWHERE,
            "log_end_lsn": end or _NOWHERE,
            "current_vlf_sequence_number": found.file,
            "current_vlf_size_mb": size,
            "total_vlf_count": 1,
            "total_log_size_mb": size,
            "active_vlf_count": 1,
            "active_log_size_mb": found.used / _MB,
            "log_truncation_holdup_reason": "LOG_BACKUP" if pending else "NOTHING",
            "log_backup_time": found.backed_up,
            "log_backup_lsn": None if found.backed_up is None else start,
            "log_since_last_log_backup_mb": None if pending is None else pending / _MB,
            "log_checkpoint_lsn": start or _NOWHERE,
            "log_since_last_checkpoint_mb": 0.0,
            "log_recovery_lsn": start or _NOWHERE,
            "log_recovery_size_mb": 0.0,
            "recovery_vlf_count": 1,
        }


def log_info(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """sys.dm_db_log_info(database_id): the one file that the log's end lies in."""
    for found in log_spaces(scope):
        if found.database.id == arguments[0]:
            yield {
                "database_id": found.database.id,
                "file_id": 2,
                "vlf_begin_offset": _PAGE,
                "vlf_size_mb": found.total / _MB,
                "vlf_sequence_number": found.file,
                "vlf_active": 1,
                "vlf_status": 2,
                "vlf_parity": 64,
                "vlf_first_lsn": found.start,
            }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.dm_db_log_space_usage",
        "database_id smallint, total_log_size_in_bytes bigint, used_log_space_in_bytes bigint,"
        " used_log_space_in_percent real, log_space_in_bytes_since_last_backup bigint",
        _usage,
    ),
)
