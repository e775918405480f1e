"""When somebody is to be told: what must not be, found in how the store stands. Pure.

A condition is told when it begins, again after a while as long as it lasts, and when it is over. An event (a
backup that failed) is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

LATE: Final = "late backup"
BROKEN: Final = "broken chain"
DISK: Final = "disk space"
QUOTA: Final = "quota"
BEHIND: Final = "capture lag"
UNPROVEN: Final = "no proven restore"
FAILED_BACKUP: Final = "failed backup"
FAILED_RESTORE: Final = "failed restore"
FAILED_VERIFY: Final = "failed verify"
FAILED_JOB: Final = "failed job"
FAILED_RETENTION: Final = "failed retention"

RAISED: Final = "raised"
RESOLVED: Final = "resolved"
EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong as long as it lasts; ``kind`` and ``subject`` (a database, a directory) tell
    one from another."""

    kind: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told. ``state`` is raised, resolved, or event."""

    kind: str
    subject: str
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class Objectives:
    """What must hold; None: that is not looked at. A full backup is not older than ``full_hours``, a full or
    differential one not older than ``any_hours``, a log backup (where a log is kept) not older than
    ``log_minutes``, a trial restore not older than ``proven_hours``, and the capture is not more than
    ``lag_seconds`` behind."""

    full_hours: float | None = None
    any_hours: float | None = None
    log_minutes: float | None = None
    proven_hours: float | None = None
    lag_seconds: float | None = None
    disk_free_percent: float | None = 10.0
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database: seconds since its last good backup of each type, and since it was made (what has no backup
    yet is as old as that); ``chain`` None unless it is broken, then why."""

    name: str
    age: float
    backups: Mapping[str, float]
    logged: bool
    chain_broken: str | None
    lag: float | None
    proven: float | None


@dataclass(frozen=True, slots=True)
class Facts:
    """How the store stands. ``free``: free and all bytes by directory; ``backup_bytes``: of all backups."""

    databases: tuple[DatabaseFacts, ...]
    free: Mapping[str, tuple[int, int]]
    backup_bytes: int = 0


def conditions(facts: Facts, objectives: Objectives) -> list[Condition]:
    """What is wrong now."""
    found: list[Condition] = []
    for item in facts.databases:
        found += _late(item, objectives)
        if item.chain_broken is not None:
            text = f"The log chain of database '{item.name}' is broken: {item.chain_broken}."
            found.append(Condition(BROKEN, item.name, text))
        limit = objectives.lag_seconds
        if limit is not None and item.lag is not None and item.lag > limit:
            text = f"The capture of the log of '{item.name}' is {item.lag:.0f} seconds behind."
            found.append(Condition(BEHIND, item.name, text))
        limit = objectives.proven_hours
        if limit is not None and (item.age if item.proven is None else item.proven) > limit * 3600:
            text = f"No trial restore of database '{item.name}' has succeeded within {limit:g} hours."
            found.append(Condition(UNPROVEN, item.name, text))
    return [*found, *_space(facts, objectives)]


def _late(item: DatabaseFacts, objectives: Objectives) -> Iterable[Condition]:
    data = [age for kind, age in item.backups.items() if kind in ("full", "differential")]
    rules = (
        ("full", objectives.full_hours, 3600, item.backups.get("full")),
        ("full or differential", objectives.any_hours, 3600, min(data, default=None)),
        ("log", objectives.log_minutes if item.logged else None, 60, item.backups.get("log")),
    )
    for kind, limit, unit, age in rules:
        if limit is None or (item.age if age is None else age) <= limit * unit:
            continue
        name = "hours" if unit == 3600 else "minutes"
        text = f"There is no good {kind} backup of database '{item.name}' within {limit:g} {name}."
        yield Condition(LATE, f"{item.name} ({kind})", text)


def _space(facts: Facts, objectives: Objectives) -> Iterable[Condition]:
    percent = objectives.disk_free_percent
    for directory, (free, total) in facts.free.items():
        if percent is not None and total and free * 100 < percent * total:
            text = f"Only {free >> 20:,} MB ({free * 100 / total:.1f} %) are free at {directory}."
            yield Condition(DISK, directory, text)
    quota = objectives.quota_bytes
    if quota is not None and facts.backup_bytes > quota * 0.9:
        text = f"Backups take {facts.backup_bytes >> 20:,} MB of {quota >> 20:,} MB."
        yield Condition(QUOTA, "backups", text)


class Watch:
    """Remembers which conditions were told. Times are seconds of any clock that goes on."""

    def __init__(self, repeat_seconds: float) -> None:
        self._repeat = repeat_seconds
        self._told: dict[tuple[str, str], tuple[float, Condition]] = {}

    def look(self, found: Iterable[Condition], now: float) -> list[Notice]:
        """The notices that are due."""
        notices: list[Notice] = []
        present: set[tuple[str, str]] = set()
        for item in found:
            key = (item.kind, item.subject)
            present.add(key)
            told = self._told.get(key)
            if told is None or now - told[0] >= self._repeat:
                self._told[key] = (now, item)
                notices.append(Notice(item.kind, item.subject, item.text, RAISED))
        for key in [key for key in self._told if key not in present]:
            _, item = self._told.pop(key)
            notices.append(Notice(item.kind, item.subject, f"No longer: {item.text}", RESOLVED))
        return notices

    @property
    def present(self) -> list[Condition]:
        """What was wrong at the last look."""
        return [item for _, item in self._told.values()]
