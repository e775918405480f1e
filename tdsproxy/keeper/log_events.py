"""What sessions tell of their commits: times for the log, and marks for the log and msdb's logmarkhistory."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.commands.stop_points import local_time
from tdsproxy.log.records import LogError, Transaction
from tdsproxy.log.service import LogService

_DURABLE_WORKERS = 8
_log = logging.getLogger(__name__)


class LogEvents:
    """Usable from any thread; ``note_commit`` and ``make_durable`` return at once, the others after the log
    has been read."""

    def __init__(self, logs: LogService, catalog: Catalog) -> None:
        self._logs = logs
        self._catalog = catalog
        self._announced: dict[UUID, int] = {}
        self._durable = ThreadPoolExecutor(_DURABLE_WORKERS, "log-durable")

    def note_commit(self, database: UUID, frame: int, committed_ns: int) -> None:
        self._logs.note_commit(database, frame, committed_ns)

    def make_durable(self, database: UUID) -> Future[None]:
        """Done when all that has been committed is in the archive for good; CaptureStopped when that can't be
        had at present. Those who ask at the same time share the disk's work."""
        return self._durable.submit(self._make_durable, database)

    def _make_durable(self, database: UUID) -> None:
        if self._logs.is_kept(database):
            self._logs.capture_now(database)

    def close(self) -> None:
        """What has been asked for is done first."""
        self._durable.shutdown()

    def announce(self, database: UUID, name: str | None, description: str) -> None:
        """A transaction that holds the database's write lock is about to commit with this mark; None: it did
        not. A database whose log is not kept has no marks."""
        self._announced.pop(database, None)
        if not self._logs.is_kept(database):
            return
        try:
            self._logs.announce_mark(database, name, description)
            if name is not None:
                self._announced[database] = self._logs.capture_now(database)
        except LogError as error:
            _log.warning("the mark %r is not in the log: %s", name, error)

    def record(self, database: UUID, name: str, description: str, login: str) -> None:
        """The marked transaction has been committed."""
        first = self._announced.pop(database, None)
        if first is None:
            return
        try:
            last = self._logs.capture_now(database)
            found = self._find(database, name, first, last)
        except LogError as error:
            _log.warning("the mark %r is not in the log: %s", name, error)
            return
        entry = next((d for d in self._catalog.databases.all() if d.guid == database), None)
        if found is not None and entry is not None:
            self._catalog.history.record_mark(
                {
                    "database_name": entry.name,
                    "mark_name": name,
                    "description": description or None,
                    "user_name": login,
                    "lsn": Decimal(found.lsn),
                    "mark_time": local_time(found.committed_ns),
                }
            )

    def _find(self, database: UUID, name: str, first: int, last: int) -> Transaction | None:
        archive = self._logs.archive(database)
        return next((t for t in archive.read(first, last) if t.mark == name), None)
