"""The log that goes into data backups: its LSNs, and the pages that it changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from tdsproxy.backup.operations import LogTail
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.recovery import Fork
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.log_chain import wants_log
from tdsproxy.commands.set_description import LogRange
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import LogError
from tdsproxy.log.service import LogService

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataLog:
    """The log of a database while a full or differential backup of it runs.

    ``first`` was captured before the snapshot is taken. ``logs`` is None when the database's log is not kept
    or cannot be captured at present: then LSNs only number the backups.
    """

    database: Database
    previous: int
    first: int
    checkpoint: int
    last: int
    logs: LogService | None = None
    forks: tuple[Fork, ...] = ()

    @classmethod
    def begin(cls, env: CommandEnvironment, database: Database) -> DataLog:
        previous = database.chain.base_lsn or 0
        logs = env.logs
        if logs is not None and logs.is_kept(database.guid):
            given: list[tuple[int, int, int]] = []

            def give(end: int) -> int:
                given.append(_numbers(env, database, end))
                _note_unlogged(env, database, given[-1][-1])
                return given[-1][-1]

            captured = logs.capture_or_break(database.guid, give)
            if captured is None:
                return cls(database, previous, *given[-1])
            forks = tuple(env.catalog.databases.forks(database.guid))
            return cls(database, previous, captured, captured, captured, logs, forks)
        if not wants_log(database):
            return cls(database, previous, *_numbers(env, database, 0))
        # It could not be started: what is captured once it can be is of before and after this backup.
        numbers = _numbers(env, database, _archived(env, database))
        _note_unlogged(env, database, numbers[-1])
        return cls(database, previous, *numbers)

    @property
    def kept(self) -> bool:
        return self.logs is not None

    def range(self) -> LogRange:
        return LogRange(self.first, self.checkpoint, self.last, self.previous)

    def retained(self) -> AbstractContextManager[None]:
        """While this is entered, no log backup lets go of what the backup reads."""
        if self.logs is None:
            return nullcontext()
        return self.logs.retained(self.database.guid, min(self.first, self.previous or self.first))

    def tail(self) -> LogTail:
        """Called when the snapshot is held: the log up to now. Raises LogError."""
        assert self.logs is not None
        guid = self.database.guid
        last = self.logs.capture_now(guid)
        archive = self.logs.archive(guid)
        return LogTail(
            last,
            archive.read(self.first, last),
            archive.last_committed_ns() or None,
            self.logs.captured_until_ns(guid),
        )

    def pages_since(self, base_lsn: int) -> Iterable[int] | None:
        """The pages changed since then, to be asked for after ``tail``, also on the forks that the database
        came from; None when the log does not tell. Raises LogError, OSError while it is iterated."""
        if self.logs is None:
            return None
        archives = {archive.fork: archive for archive in self.logs.archives(self.database.guid)}
        forks = {fork.fork: fork for fork in self.forks}
        ranges: list[tuple[Archive, int, int | None]] = []
        current, end = self.database.fork, None
        while True:
            archive, line = archives.get(current), forks.get(current)
            if archive is None:
                return None
            came_from = None if line is None else line.parent
            begins_here = line is None or came_from is None or base_lsn >= line.start_lsn
            first = base_lsn if begins_here else archive.first_lsn()
            if first < archive.unbroken_since() or (end is not None and end > archive.last_lsn()):
                return None
            ranges.append((archive, first, end))
            if begins_here or line is None or came_from is None:
                return _pages(ranges, self.database.name)
            current, end = came_from, line.point_lsn


def _archived(env: CommandEnvironment, database: Database) -> int:
    """Where the log of a database that is not captured ends, as far as it can be read."""
    if env.logs is None:
        return 0
    try:
        return max((archive.last_lsn() for archive in env.logs.archives(database.guid)), default=0)
    except (LogError, OSError) as error:
        _log.error("the log of %s cannot be read: %s", database.name, error)
        return 0


def _numbers(env: CommandEnvironment, database: Database, end: int) -> tuple[int, int, int]:
    """LSNs of a backup that are above all of the log, which ends at ``end``."""
    env.catalog.databases.advance_lsn(database.id, Decimal(end))
    first, checkpoint, last = (int(lsn) for lsn in env.catalog.databases.next_lsns(database.id, 3))
    return first, checkpoint, last


def _note_unlogged(env: CommandEnvironment, database: Database, lsn: int) -> None:
    """Durable before the snapshot: also a keeper that starts anew is to leave a gap there."""
    current = env.catalog.databases.by_id(database.id) or database
    chain = msgspec.structs.replace(current.chain, unlogged_lsn=lsn)
    env.catalog.databases.update(database.id, chain=chain)


def _pages(ranges: list[tuple[Archive, int, int | None]], name: str) -> Iterator[int]:
    # A restore in place writes the first page's counters anew.
    yield 1
    for archive, first, end in ranges:
        if end is not None and first >= end:
            continue
        try:
            yield from archive.changed_pages(first, end)
        except (LogError, OSError) as error:
            _log.error("the log of %s does not tell what changed since the last full backup: %s", name, error)
            raise
