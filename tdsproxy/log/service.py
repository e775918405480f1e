"""The logs of a store: a capturer and an archive for each database whose log is kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tdsproxy.log.archive import Archive


class ChainState(Enum):
    """Whether BACKUP LOG is possible."""

    NOT_KEPT = "not kept"
    """The database's log is not captured (SIMPLE, or ``start`` has not been called)."""
    PSEUDO_SIMPLE = "pseudo-simple"
    """Captured, but no full backup yet begins a chain (4214)."""
    UNBROKEN = "unbroken"
    BROKEN = "broken"
    """Commits may be missing since the last log backup: a full or differential backup begins anew (4214)."""


@dataclass(frozen=True, slots=True)
class LoggedDatabase:
    """What the service must know of a database. ``next_lsn``: no LSN below it may be given any more."""

    name: str
    path: Path
    guid: uuid.UUID
    fork: uuid.UUID
    next_lsn: int


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """``log_start``: where the next log backup begins (None unless UNBROKEN). ``last_lsn``: end (exclusive)
    of what has been captured. ``reason``: why the chain is broken or the capture stopped."""

    state: ChainState
    log_start: int | None = None
    last_lsn: int | None = None
    last_committed_ns: int | None = None
    reason: str | None = None
    archive_bytes: int = 0


class LogService:
    """All methods may be called from any thread; a database is named by its database_guid.

    Methods that need a capture raise CaptureStopped when there is none or it has stopped.
    """

    def __init__(
        self,
        store: Path,
        *,
        report: Callable[[str], None] = lambda message: None,
        keep_bytes: int = 1 << 30,
    ) -> None:
        """``keep_bytes``: how much of what is already in log backups stays in an archive for STOPAT."""
        raise NotImplementedError

    def start(self, database: LoggedDatabase) -> None:
        """Capture the database from now on, or go on where its archive ends. Again: nothing.

        Raises StoreError, LogError, OSError.
        """
        raise NotImplementedError

    def stop(self, guid: uuid.UUID) -> None:
        """Capture what there is, then no more (SET RECOVERY SIMPLE, detach, a restore in place). The archive
        stays; whether a later ``start`` finds a gap depends on what happens to the database meanwhile."""
        raise NotImplementedError

    def restart_chain(self, database: LoggedDatabase) -> None:
        """The database has a new content and a new ``fork`` (RESTORE): the log begins anew, at what the file
        holds now, with an LSN not below any before; pseudo-simple until ``chain_begun``. Archives of earlier forks stay."""
        raise NotImplementedError

    def end_chain(self, guid: uuid.UUID) -> None:
        """The log chain ends (SET RECOVERY SIMPLE): pseudo-simple when it is started again."""
        raise NotImplementedError

    def drop(self, guid: uuid.UUID) -> None:
        """The database is dropped: stop without capturing more and remove its archives."""
        raise NotImplementedError

    def is_kept(self, guid: uuid.UUID) -> bool:
        """Whether ``start`` has been called for it."""
        raise NotImplementedError

    def status(self, guid: uuid.UUID) -> ChainStatus:
        """How the chain is now."""
        raise NotImplementedError

    def capture_now(self, guid: uuid.UUID) -> int:
        """See ``Capturer.capture_now``."""
        raise NotImplementedError

    def captured_until_ns(self, guid: uuid.UUID) -> int:
        """See ``Capturer.captured_until_ns``."""
        raise NotImplementedError

    def archive(self, guid: uuid.UUID) -> Archive:
        """The archive of the current fork, also of a stopped database. Raises KeyError."""
        raise NotImplementedError

    def archives(self, guid: uuid.UUID) -> list[Archive]:
        """The archives of all forks of the database that are still there, the current one last."""
        raise NotImplementedError

    def chain_begun(self, guid: uuid.UUID, first_lsn: int) -> None:
        """A full backup, or a differential one over a break, is complete: if the chain is not unbroken, it
        begins at ``first_lsn``, the backup's FirstLSN."""
        raise NotImplementedError

    def log_backed_up(self, guid: uuid.UUID, last_lsn: int) -> None:
        """A log backup (not COPY_ONLY) that ends at ``last_lsn`` is complete: the next one begins there, and
        the archive may give up what lies before."""
        raise NotImplementedError

    def note_commit(self, guid: uuid.UUID, frame: int, committed_ns: int) -> None:
        """See ``Capturer.note_commit``; ignored when the database is not captured."""
        raise NotImplementedError

    def wake(self, guid: uuid.UUID) -> None:
        """See ``Capturer.wake``; ignored when the database is not captured."""
        raise NotImplementedError

    def announce_mark(self, guid: uuid.UUID, name: str | None, description: str | None = None) -> None:
        """See ``Capturer.announce_mark``."""
        raise NotImplementedError

    def close(self) -> None:
        """Capture the last commits of all databases and stop."""
        raise NotImplementedError
