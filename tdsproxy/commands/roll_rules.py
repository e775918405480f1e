"""Which backup set may be applied to a database in the middle of a restore, by SQL Server's rules."""

from __future__ import annotations

from collections.abc import Container
from typing import Final
from uuid import UUID

from tdsproxy.catalog.recovery import Redo
from tdsproxy.commands.failure import fail
from tdsproxy.commands.stop_points import StopPoint
from tdsproxy.media.documents import (
    DIFFERENTIAL,
    FILE,
    FILE_DIFFERENTIAL,
    FULL,
    LOG,
    PARTIAL,
    PARTIAL_DIFFERENTIAL,
    SetDescription,
)
from tdsproxy.media.reader import SetInfo

_MADE_BY: Final = {
    FULL: "BACKUP DATABASE",
    LOG: "BACKUP LOG",
    DIFFERENTIAL: "BACKUP DATABASE WITH DIFFERENTIAL",
    FILE: "BACKUP DATABASE...FILE=<name>",
    FILE_DIFFERENTIAL: "BACKUP DATABASE...FILE=<name> WITH DIFFERENTIAL",
    PARTIAL: "BACKUP DATABASE with READ_WRITE_FILEGROUPS",
    PARTIAL_DIFFERENTIAL: "BACKUP DATABASE with READ_WRITE_FILEGROUPS WITH DIFFERENTIAL",
}


def last_lsn_of(info: SetInfo) -> int:
    """Where the log of a set ends (exclusive)."""
    last = info.trailer.last_lsn
    return info.header.description.last_lsn if last is None else last


def consistent_ns_of(info: SetInfo) -> int:
    """When the last transaction was committed that a set restores; for old sets, the time it was finished."""
    moment = info.trailer.consistent_ns
    return int(info.trailer.finished.timestamp() * 10**9) if moment is None else moment


def check_kind(info: SetInfo, device: str, wanted: Container[int]) -> None:
    """Raises CommandError 3135."""
    kind = info.header.description.backup_type
    if kind not in wanted:
        raise fail(3135, device, _MADE_BY.get(kind, "another statement"))


def check_full_stop(info: SetInfo, stop: StopPoint | None) -> None:
    """A full or differential set is always restored as a whole. Raises CommandError 4340, 4338."""
    if stop is None:
        return
    if stop.mark is not None and stop.after is None:
        raise fail(4340)
    too_early = (stop.time is not None and stop.time < consistent_ns_of(info)) or (
        stop.lsn is not None and stop.lsn < info.header.description.first_lsn
    )
    if too_early:
        raise fail(4338)


def check_differential(redo: Redo, info: SetInfo) -> None:
    """Raises CommandError 3136."""
    description = info.header.description
    fits = description.differential_base_guid == redo.base_guid and (
        redo.base or (description.recovery_fork_guid == redo.fork and redo.lsn <= last_lsn_of(info))
    )
    if not fits:
        raise fail(3136)


def fork_at(description: SetDescription, lsn: int) -> UUID:
    """The recovery fork on which a log set's log lies at ``lsn``."""
    point = description.fork_point_lsn
    if point is not None and lsn <= point:
        return description.first_recovery_fork_guid
    return description.recovery_fork_guid


def check_log(redo: Redo, family: UUID, info: SetInfo) -> None:
    """Raises CommandError 4326, 4305, 4330."""
    description = info.header.description
    first, last = description.first_lsn, last_lsn_of(info)
    if description.family_guid != family:
        raise fail(4330)
    if redo.fork not in (fork_at(description, redo.lsn), description.first_recovery_fork_guid):
        raise fail(4330)
    if first > redo.lsn:
        raise fail(4305, first, redo.lsn)
    if last < redo.lsn or (last == redo.lsn and first < last and redo.rolled and not redo.unfinished):
        raise fail(4326, last, redo.lsn)
    if redo.fork != fork_at(description, redo.lsn):
        raise fail(4330)


def check_log_stop(redo: Redo, info: SetInfo, stop: StopPoint | None) -> None:
    """Raises CommandError 4335 when the content is already beyond the stop."""
    if stop is None:
        return
    if stop.time is not None and stop.time < redo.ns:
        raise fail(4335)
    if stop.lsn is not None and stop.lsn < redo.lsn:
        raise fail(4335)
