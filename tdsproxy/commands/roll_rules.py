"""Which backup set may be applied to a database in the middle of a restore, by SQL Server's rules."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final
from uuid import UUID

from tdsproxy.catalog.recovery import Fork, Redo
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


def check_differential(redo: Redo, info: SetInfo, forks: Iterable[Fork]) -> None:
    """The image must hold nothing but the base, or an earlier state on the way to that of the set; ``forks``
    are those of the database that was backed up. Raises CommandError 3136."""
    description = info.header.description
    lines = {fork.fork: fork for fork in forks}
    fits = description.differential_base_guid == redo.base_guid and (
        redo.base
        or (
            redo.lsn <= last_lsn_of(info)
            and leads_to(lines, description.recovery_fork_guid, redo.fork, redo.lsn)
            # What the log changed, and was changed back since, the hashes of pages do not tell.
            and not (redo.logged and description.is_by_hashes)
        )
    )
    if not fits:
        raise fail(3136)


def leads_to(forks: Mapping[UUID, Fork], current: UUID, fork: UUID, lsn: int) -> bool:
    """Whether the state at ``lsn`` on ``fork`` is one that whoever is on the fork ``current`` has passed."""
    until: int | None = None
    seen: set[UUID] = set()
    while current not in seen:
        if current == fork:
            return until is None or lsn <= until
        seen.add(current)
        line = forks.get(current)
        if line is None or line.parent is None:
            return False
        current, until = line.parent, line.point_lsn
    return False


def check_interrupted(redo: Redo, file: str, info: SetInfo, stop: StopPoint | None) -> None:
    """What was interrupted must be done again before anything else: its pages, newer than those of any other
    set, may be in the image. Raises CommandError 4319."""
    if not redo.unfinished:
        return
    same = redo.pending == info.header.description.set_guid
    if not (same and (stop is None or stop_text(stop) == redo.pending_stop)):
        raise fail(4319, file)


def stop_text(stop: StopPoint | None) -> str | None:
    """The same for stops that are the same."""
    return None if stop is None else repr(stop)


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


def check_log_stop(redo: Redo, stop: StopPoint | None) -> None:
    """Raises CommandError 4335 when the content is already beyond the stop."""
    if stop is None:
        return
    if stop.time is not None and stop.time < redo.ns:
        raise fail(4335)
    if stop.lsn is not None and stop.lsn < redo.lsn:
        raise fail(4335)
