"""The logs of a store: a capturer and an archive for each database whose log is kept."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer
from tdsproxy.log.chain_note import Chain, read_chain, write_chain
from tdsproxy.log.records import ArchiveDamaged, CaptureStopped
from tdsproxy.store.files import fsync_directory

LOG_DIRECTORY = "log"
_CHAIN_FILE = "chain.json"
# How many segments a slowly growing log has at least within the time for which it is kept.
_SEGMENTS_IN_TIME = 8


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
    """What the service must know of a database. ``next_lsn``: no LSN below it may be given any more.
    ``promised_lsn``: backups have been made of the log up to there."""

    name: str
    path: Path
    guid: uuid.UUID
    fork: uuid.UUID
    next_lsn: int
    promised_lsn: int = 0


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


@dataclass(slots=True)
class _Kept:
    """A database whose log is kept now."""

    database: LoggedDatabase
    archive: Archive
    capturer: Capturer


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
        keep_seconds: float | None = None,
    ) -> None:
        """What is already in log backups stays for STOPAT as long as the archives of a database are not
        larger than ``keep_bytes`` and it is not older than ``keep_seconds`` (None: whatever its age). What is
        in no log backup yet stays in any case; ``report`` is told when that exceeds the budget."""
        self._root = store / LOG_DIRECTORY
        self._report = report
        self._keep_bytes = keep_bytes
        self._keep_ns = None if keep_seconds is None else int(keep_seconds * 1e9)
        self._retained: dict[uuid.UUID, list[int]] = {}
        # The next size of what is in no log backup at which the operator is told again.
        self._warn_at: dict[uuid.UUID, int] = {}
        # Whose note of the chain is known to be damaged.
        self._damaged: set[uuid.UUID] = set()
        self._lock = threading.RLock()
        self._kept: dict[uuid.UUID, _Kept] = {}
        # Archives of databases that are not captured at present, opened for reading.
        self._idle: dict[tuple[uuid.UUID, uuid.UUID], Archive] = {}

    # ------------------------------------------------------------------ what is remembered

    def _directory(self, guid: uuid.UUID) -> Path:
        return self._root / str(guid).upper()

    def _read_chain(self, guid: uuid.UUID) -> Chain | None:
        """Raises ArchiveDamaged, OSError."""
        return read_chain(self._directory(guid) / _CHAIN_FILE, guid)

    def _look(self, guid: uuid.UUID) -> tuple[Chain | None, str | None]:
        """The note of the chain, or what is wrong with it, told once: a full backup writes it anew. It is
        read once: a disk may give another answer to the same question. Raises OSError."""
        try:
            chain = self._read_chain(guid)
        except ArchiveDamaged as error:
            if guid not in self._damaged:
                self._damaged.add(guid)
                self._report(f"the log chain is broken until the next full backup: {error}")
            return None, str(error)
        self._damaged.discard(guid)
        return chain, None

    def _write_chain(self, guid: uuid.UUID, chain: Chain) -> None:
        write_chain(self._directory(guid) / _CHAIN_FILE, guid, chain)

    def _open_archive(self, guid: uuid.UUID, fork: uuid.UUID, base_lsn: int, promised_lsn: int) -> Archive:
        idle = self._idle.pop((guid, fork), None)
        if idle is not None:
            idle.close()
            base_lsn = max(base_lsn, idle.last_lsn())
        directory = self._directory(guid) / str(fork).upper()
        return Archive(directory, guid, fork, base_lsn, promised_lsn=promised_lsn)

    # ------------------------------------------------------------------ beginning and ending

    def start(self, database: LoggedDatabase) -> None:
        """Capture the database from now on, or go on where its archive ends. Again: nothing.

        Raises StoreError, LogError, OSError.
        """
        with self._lock:
            if database.guid in self._kept:
                return
            chain, damaged = self._look(database.guid)
            promised = database.promised_lsn
            if chain is not None and chain.fork == database.fork:
                promised = max(promised, chain.log_start or 0)
            archive = self._open_archive(database.guid, database.fork, database.next_lsn, promised)
            try:
                if not damaged and (chain is None or chain.fork != database.fork):
                    self._write_chain(database.guid, Chain(database.fork))
                capturer = Capturer(database.path, archive, report=self._report)
            except BaseException:
                archive.close()
                raise
            self._kept[database.guid] = _Kept(database, archive, capturer)

    def stop(self, guid: uuid.UUID) -> None:
        """Capture what there is, then no more (SET RECOVERY SIMPLE, detach, a restore in place). The archive
        stays; whether a later ``start`` finds a gap depends on what happens to the database meanwhile."""
        self._stop(guid, final=True)

    def _stop(self, guid: uuid.UUID, *, final: bool) -> None:
        with self._lock:
            kept = self._kept.pop(guid, None)
            if kept is None:
                return
            kept.capturer.close(final)
            kept.archive.close()

    def restart_chain(self, database: LoggedDatabase) -> None:
        """The database has a new content and a new ``fork`` (RESTORE): the log begins anew, at what the file
        holds now, with an LSN not below any before; pseudo-simple until ``chain_begun``. Archives of earlier
        forks stay. Raises as ``start``."""
        with self._lock:
            self.stop(database.guid)
            last = max((archive.last_lsn() for archive in self.archives(database.guid)), default=0)
            self._directory(database.guid).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write_chain(database.guid, Chain(database.fork))
            self.start(
                LoggedDatabase(
                    database.name,
                    database.path,
                    database.guid,
                    database.fork,
                    max(last, database.next_lsn),
                    database.promised_lsn,
                )
            )

    def end_chain(self, guid: uuid.UUID, fork: uuid.UUID) -> None:
        """The log chain of the database, which is on ``fork``, ends (SET RECOVERY SIMPLE): pseudo-simple when
        it is started again."""
        with self._lock:
            if self._look(guid) != (None, None):
                self._write_chain(guid, Chain(fork))

    def drop(self, guid: uuid.UUID) -> None:
        """The database is dropped: stop without capturing more and remove its archives."""
        with self._lock:
            self._stop(guid, final=False)
            for key in [key for key in self._idle if key[0] == guid]:
                self._idle.pop(key).close()
            directory = self._directory(guid)
            if directory.exists():
                shutil.rmtree(directory)
                fsync_directory(self._root)

    def close(self) -> None:
        """Capture the last commits of all databases and stop."""
        with self._lock:
            for guid in list(self._kept):
                self.stop(guid)
            for archive in self._idle.values():
                archive.close()
            self._idle.clear()

    # ------------------------------------------------------------------ how it stands

    def is_kept(self, guid: uuid.UUID) -> bool:
        """Whether ``start`` has been called for it."""
        with self._lock:
            return guid in self._kept

    def _capturer(self, guid: uuid.UUID) -> Capturer:
        with self._lock:
            kept = self._kept.get(guid)
        if kept is None:
            raise CaptureStopped("the log of the database is not kept")
        return kept.capturer

    def status(self, guid: uuid.UUID) -> ChainStatus:
        """How the chain is now."""
        with self._lock:
            kept = self._kept.get(guid)
            if kept is None:
                return ChainStatus(ChainState.NOT_KEPT)
            chain, damage = self._look(guid)
        archive = kept.archive
        start = chain.log_start if chain is not None else None
        reason = kept.capturer.stopped
        state = ChainState.UNBROKEN
        if damage is not None:
            state, reason = ChainState.BROKEN, damage
        elif start is None:
            state = ChainState.PSEUDO_SIMPLE
        elif start < archive.unbroken_since():
            state = ChainState.BROKEN
            reason = reason or why_broken(archive)
        return ChainStatus(
            state,
            start if state is ChainState.UNBROKEN else None,
            archive.last_lsn(),
            archive.last_committed_ns() or None,
            reason,
            archive.size(),
        )

    def capture_now(self, guid: uuid.UUID) -> int:
        """See ``Capturer.capture_now``."""
        return self._capturer(guid).capture_now()

    def capture_or_break(self, guid: uuid.UUID, give: Callable[[int], int]) -> int | None:
        """See ``Capturer.capture_or_break``. Raises CaptureStopped when the log is not kept."""
        return self._capturer(guid).capture_or_break(give)

    def captured_until_ns(self, guid: uuid.UUID) -> int:
        """See ``Capturer.captured_until_ns``."""
        return self._capturer(guid).captured_until_ns()

    def archive(self, guid: uuid.UUID) -> Archive:
        """The archive of the current fork, also of a stopped database. Raises KeyError."""
        with self._lock:
            kept = self._kept.get(guid)
            if kept is not None:
                return kept.archive
            chain = self._read_chain(guid)
            if chain is None:
                raise KeyError(guid)
            return self._idle_archive(guid, chain.fork)

    def _idle_archive(self, guid: uuid.UUID, fork: uuid.UUID) -> Archive:
        key = (guid, fork)
        if key not in self._idle:
            self._idle[key] = Archive(self._directory(guid) / str(fork).upper(), guid, fork, 0)
        return self._idle[key]

    def archives(self, guid: uuid.UUID) -> list[Archive]:
        """The archives of all forks of the database that are still there, the current one last."""
        found: list[Archive] = []
        with self._lock, contextlib.suppress(FileNotFoundError):
            kept = self._kept.get(guid)
            for path in self._directory(guid).iterdir():
                fork = _fork_of(path)
                if fork is not None and (kept is None or kept.archive.fork != fork):
                    found.append(self._idle_archive(guid, fork))
            found.sort(key=lambda archive: archive.last_lsn())
            if kept is not None:
                found.append(kept.archive)
        return found

    def reopen(self, guid: uuid.UUID) -> None:
        """The archives of a database that is not captured here are looked at anew: somebody else appends to
        them."""
        with self._lock:
            for key in [key for key in self._idle if key[0] == guid]:
                self._idle.pop(key).close()

    # ------------------------------------------------------------------ what backups change

    def chain_begun(self, guid: uuid.UUID, first_lsn: int) -> None:
        """A full backup, or a differential one over a break, is complete: if the chain is not unbroken, it
        begins at ``first_lsn``, the backup's FirstLSN."""
        with self._lock:
            chain, damage = self._look(guid)
            kept = self._kept.get(guid)
            if kept is not None and damage is not None:
                self._write_chain(guid, Chain(kept.database.fork, first_lsn))
                return
            if chain is None:
                raise CaptureStopped("the log of the database is not kept")
            if self.status(guid).state is not ChainState.UNBROKEN:
                self._write_chain(guid, Chain(chain.fork, first_lsn))

    def log_backed_up(self, guid: uuid.UUID, last_lsn: int) -> None:
        """A log backup (not COPY_ONLY) that ends at ``last_lsn`` is complete: the next one begins there, and
        the archive may give up what lies before. A note that was damaged meanwhile is written anew: the
        backup holds all that it stood for."""
        with self._lock:
            chain, damage = self._look(guid)
            kept = self._kept.get(guid)
            if chain is not None:
                fork = chain.fork
            elif damage is not None and kept is not None:
                fork = kept.database.fork
            else:
                raise CaptureStopped("the log of the database is not kept")
            self._write_chain(guid, Chain(fork, last_lsn))
        self.tidy(guid)

    def tidy(self, guid: uuid.UUID) -> None:
        """Gives up what exceeds the budget: first archives of forks that were left, oldest first, then what
        the current one has before the point where the next log backup begins. Says what it can't give up."""
        since_ns = 0 if self._keep_ns is None else time.time_ns() - self._keep_ns
        with self._lock:
            chain, _ = self._look(guid)
            if chain is None:
                # When the note is damaged nobody knows what may go.
                return
            archives = self.archives(guid)
            total = sum(archive.size() for archive in archives)
            for archive in archives:
                if archive.fork == chain.fork:
                    self._tidy_current(guid, archive, chain, since_ns)
                    break
                read = bool(self._retained.get(guid))
                if (not read and total > self._keep_bytes) or archive.last_committed_ns() < since_ns:
                    total -= archive.size()
                    self._give_up(guid, archive)

    def _tidy_current(self, guid: uuid.UUID, archive: Archive, chain: Chain, since_ns: int) -> None:
        # Before the first full backup no log backup needs any of it.
        start = archive.last_lsn() if chain.log_start is None else chain.log_start
        start = min([start, *self._retained.get(guid, ())])
        archive.trim(start, self._keep_bytes, since_ns)
        if self._keep_ns is not None:
            archive.begin_segment_soon(time.time_ns() - self._keep_ns // _SEGMENTS_IN_TIME)
        needed = archive.size()
        if chain.log_start is None or needed <= self._keep_bytes:
            self._warn_at.pop(guid, None)
        elif needed >= self._warn_at.get(guid, 0):
            self._warn_at[guid] = needed * 2
            self._report(
                f"the log of {self._name(guid)} takes {needed >> 20} MiB, more than the"
                f" {self._keep_bytes >> 20} MiB that it may: it can't be given up before BACKUP LOG"
            )

    def _give_up(self, guid: uuid.UUID, archive: Archive) -> None:
        """A whole archive of a fork that was left."""
        self._report(
            f"the log of {self._name(guid)} from {archive.first_lsn()} to {archive.last_lsn()} is given up: a"
            " restore has left it, and it exceeds what may be kept"
        )
        self._idle.pop((guid, archive.fork), None)
        archive.close()
        shutil.rmtree(archive.directory)
        fsync_directory(self._directory(guid))

    def _name(self, guid: uuid.UUID) -> str:
        kept = self._kept.get(guid)
        return str(guid) if kept is None else kept.database.name

    @contextlib.contextmanager
    def retained(self, guid: uuid.UUID, from_lsn: int) -> Iterator[None]:
        """What lies at or behind the LSN is not given up during the block: somebody is reading it."""
        with self._lock:
            self._retained.setdefault(guid, []).append(from_lsn)
        try:
            yield
        finally:
            with self._lock:
                self._retained[guid].remove(from_lsn)

    def tidy_all(self) -> None:
        """``tidy`` for every database whose log is kept. Raises OSError."""
        with self._lock:
            guids = list(self._kept)
        for guid in guids:
            self.tidy(guid)

    # ------------------------------------------------------------------ what the server tells

    def note_commit(self, guid: uuid.UUID, frame: int, committed_ns: int) -> None:
        """See ``Capturer.note_commit``; ignored when the database is not captured."""
        with contextlib.suppress(CaptureStopped):
            self._capturer(guid).note_commit(frame, committed_ns)

    def wake(self, guid: uuid.UUID) -> None:
        """See ``Capturer.wake``; ignored when the database is not captured."""
        with contextlib.suppress(CaptureStopped):
            self._capturer(guid).wake()

    def announce_mark(self, guid: uuid.UUID, name: str | None, description: str | None = None) -> None:
        """See ``Capturer.announce_mark``."""
        self._capturer(guid).announce_mark(name, description)


def why_broken(archive: Archive) -> str:
    """What the last gap was noted for. Raises nothing: a full backup, which mends the chain, asks, too."""
    try:
        gaps = archive.gaps()
    except (ArchiveDamaged, OSError) as error:
        return str(error)
    return gaps[-1].reason if gaps else "the archive does not reach back far enough"


def _fork_of(path: Path) -> uuid.UUID | None:
    """Whose archive lies there; None for what is not one."""
    with contextlib.suppress(ValueError):
        return uuid.UUID(path.name) if path.is_dir() else None
    return None
