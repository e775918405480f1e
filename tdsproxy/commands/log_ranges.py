"""The log that goes into data backups: its LSNs, and the pages that it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tdsproxy.backup.operations import LogTail
from tdsproxy.catalog.databases import Database
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.set_description import LogRange
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import CaptureStopped
from tdsproxy.log.service import LogService


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

    @classmethod
    def begin(cls, env: CommandEnvironment, database: Database) -> DataLog:
        previous = database.chain.base_lsn or 0
        logs = env.logs
        if logs is not None and logs.is_kept(database.guid):
            try:
                first = logs.capture_now(database.guid)
            except CaptureStopped:
                logs = None
            else:
                return cls(database, previous, first, first, first, logs)
        first, checkpoint, last = (int(lsn) for lsn in env.catalog.databases.next_lsns(database.id, 3))
        return cls(database, previous, first, checkpoint, last)

    @property
    def kept(self) -> bool:
        return self.logs is not None

    def range(self) -> LogRange:
        return LogRange(self.first, self.checkpoint, self.last, self.previous)

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
        """The pages changed since then, to be asked for after ``tail``; None when the log does not tell."""
        if self.logs is None:
            return None
        archive = self.logs.archive(self.database.guid)
        if base_lsn < archive.unbroken_since():
            return None
        return _pages(archive, base_lsn)


def _pages(archive: Archive, base_lsn: int) -> Iterator[int]:
    yield from archive.changed_pages(base_lsn)
