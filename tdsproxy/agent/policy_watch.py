"""Backups because much has changed: what each database's log has grown by since its last one."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from tdsproxy.agent.policies import AfterChange, Policy
from tdsproxy.agent.policy_book import CHANGE, job_id
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.listing import ListedSet
from tdsproxy.log.lsn import bytes_between
from tdsproxy.log.records import LogError
from tdsproxy.log.service import LogService
from tdsproxy.tsql.errors import SqlError

_LOOK: Final = dt.timedelta(seconds=1)
_RETRY_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 6


class Changes(Protocol):
    """What has been written to a database."""

    def position(self, database: Database) -> tuple[int, bool]:
        """A number that grows with each change, and whether it is a position in a log."""
        ...

    def backed_up(self, database: Database, kind: str) -> int | None:
        """The position in the log up to where the newest backup reaches from which ``kind`` goes on: for
        ``log`` one of any kind, else a full one. None without one."""
        ...

    def bytes_between(self, first: int, last: int) -> int:
        """Of the log between two positions."""
        ...

    def commits_between(self, database: Database, first: int, last: int) -> int:
        """Of the log between two positions."""
        ...


@dataclass(slots=True)
class _Seen:
    """A database as one policy sees it."""

    base: int
    """Where the log was when the last backup began; without one, when the watch did."""
    position: int
    changed: dt.datetime | None = None
    commits: int = 0
    backed_up: dt.datetime | None = None
    rebase: bool = False
    """What was seen while the backup ran may be its own doing."""
    waiting: int | None = None
    """The base from before the backup that is due."""
    running: int | None = None
    """That from before the one that runs."""
    failed: bool = False
    """It has ended, and has failed."""
    failures: int = 0
    """How many have, one after the other; the last one at ``failed_at``."""
    failed_at: dt.datetime | None = None


class PolicyWatch:
    """Implements ``service.Extra``. ``start`` starts a job and raises SqlError when it refuses."""

    def __init__(
        self,
        policies: Callable[[], list[tuple[str, Policy]]],
        databases: Callable[[], Iterable[Database]],
        changes: Changes,
        start: Callable[[UUID], None],
    ) -> None:
        self._policies = policies
        self._databases = databases
        self._changes = changes
        self._start = start
        self._guard = threading.Lock()
        self._seen: dict[tuple[UUID, UUID], _Seen] = {}
        self._due: dict[UUID, dict[str, _Seen]] = {}

    def take(self, job: UUID) -> set[str]:
        """The databases for which a job was started; they wait no longer."""
        with self._guard:
            taken = self._due.pop(job, {})
            for seen in taken.values():
                seen.running, seen.waiting = seen.waiting, None
        return set(taken)

    def finished(self, job: UUID, *, failed: bool = False) -> None:
        """A job has ended. What a backup that ``failed`` was to hold still waits for one."""
        with self._guard:
            for (watched, _), seen in list(self._seen.items()):
                if watched != job:
                    continue
                seen.rebase = True
                if seen.running is not None:
                    seen.failed = failed
                    if not failed:
                        seen.running, seen.failures = None, 0

    def tick(self, now: dt.datetime) -> dt.datetime | None:
        watched = [(s, p, p.after_change) for s, p in self._policies() if p.after_change is not None]
        for source, policy, change in watched:
            job = job_id(source, policy.name, CHANGE)
            ready = [
                database
                for database in self._databases()
                if policy.covers(database.name) and self._look(job, database, change, now)
            ]
            if ready:
                self._begin(job, ready)
        return now + _LOOK if watched else None

    def _begin(self, job: UUID, ready: Iterable[Database]) -> None:
        with self._guard:
            due = self._due.setdefault(job, {})
            due.update((database.name, self._seen[job, database.guid]) for database in ready)
        try:
            self._start(job)
        except SqlError:
            return  # it still runs: what it does not take is started when it has ended

    def _look(self, job: UUID, database: Database, change: AfterChange, now: dt.datetime) -> bool:
        """Whether the database has changed enough."""
        position, is_log = self._changes.position(database)
        seen = self._seen.get((job, database.guid))
        if seen is None or position < seen.base:
            base = self._base(database, change, position, is_log=is_log) if seen is None else position
            seen = self._seen[job, database.guid] = _Seen(base, base)
            if base == position:
                return False
        if seen.failed:
            self._take_back(seen, database, change, now, position, is_log=is_log)
        elif seen.rebase and not is_log:
            seen.base = seen.position = position
            seen.changed = None
        seen.rebase = False
        # A clock that was put back: nothing waits until time comes there once more.
        seen.changed = None if seen.changed is None else min(seen.changed, now)
        seen.backed_up = None if seen.backed_up is None else min(seen.backed_up, now)
        if position > seen.position:
            if is_log and change.commits is not None:
                seen.commits += self._changes.commits_between(database, seen.position, position)
            seen.position, seen.changed = position, now
        if seen.position == seen.base or seen.changed is None:
            return database.name in self._due.get(job, ())
        enough = (
            (
                change.quiet_seconds is not None
                and (now - seen.changed).total_seconds() >= change.quiet_seconds
            )
            or (is_log and change.commits is not None and seen.commits >= change.commits)
            or (
                is_log
                and change.log_bytes is not None
                and self._changes.bytes_between(seen.base, seen.position) >= change.log_bytes
            )
        )
        if seen.failures and seen.failed_at is not None:
            seen.failed_at = min(seen.failed_at, now)
            pause = _RETRY_SECONDS * 2 ** min(seen.failures - 1, _MOST_DOUBLINGS)
            enough = enough and (now - seen.failed_at).total_seconds() >= pause
        if seen.backed_up is not None:
            enough = enough and (now - seen.backed_up).total_seconds() >= change.at_most_every
        if enough:
            with self._guard:
                seen.waiting = seen.base if seen.waiting is None else seen.waiting
            seen.base, seen.commits, seen.backed_up = seen.position, 0, now
        return enough

    def _take_back(
        self,
        seen: _Seen,
        database: Database,
        change: AfterChange,
        now: dt.datetime,
        position: int,
        *,
        is_log: bool,
    ) -> None:
        """The backup has failed, unless it was that of another database in the same job."""
        with self._guard:
            assert seen.running is not None
            seen.base, seen.running, seen.failed = seen.running, None, False
        last = self._changes.backed_up(database, change.kind) if is_log else None
        if last is not None and last > seen.base:
            seen.base = self._base(database, change, position, is_log=is_log)
            seen.failures = 0
        else:
            seen.failures, seen.failed_at = seen.failures + 1, now
        seen.position = max(seen.position, seen.base)
        seen.changed = seen.changed or now
        if is_log and change.commits is not None:
            seen.commits = self._changes.commits_between(database, seen.base, seen.position)

    def _base(self, database: Database, change: AfterChange, position: int, *, is_log: bool) -> int:
        """What was committed since the last backup counts, also what came before the watch."""
        last = self._changes.backed_up(database, change.kind) if is_log else None
        if last is None or last >= position or not self._changes.commits_between(database, last, position):
            return position
        return last


class StoreChanges:
    """Implements ``Changes``: by the log where it is kept, else by the files' times. ``sets`` are a
    database's backup sets, oldest first."""

    def __init__(
        self, store: Path, logs: LogService | None, sets: Callable[[str], Sequence[ListedSet]]
    ) -> None:
        self._store = store
        self._logs = logs
        self._sets = sets

    def position(self, database: Database) -> tuple[int, bool]:
        if self._logs is not None and self._logs.is_kept(database.guid):
            return self._logs.status(database.guid).last_lsn or 0, True
        newest = 0
        path = database.path(self._store)
        for file in (path, path.with_name(f"{path.name}-wal")):
            try:
                newest = max(newest, file.stat().st_mtime_ns)
            except OSError:
                continue
        return newest, False

    def backed_up(self, database: Database, kind: str) -> int | None:
        wanted = "LD" if kind == "log" else "D"
        ends = [
            found.last_lsn
            for found in self._sets(database.name)
            if found.type in wanted and not found.copy_only
        ]
        return max(ends, default=None)

    def bytes_between(self, first: int, last: int) -> int:
        return bytes_between(first, last)

    def commits_between(self, database: Database, first: int, last: int) -> int:
        if self._logs is None:
            return 0
        try:
            return sum(1 for _ in self._logs.archive(database.guid).read(first, last))
        except LogError:
            return 0
