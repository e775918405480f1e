"""The pages of one committed state of a database, while others go on writing.

WAL mode: a held read transaction keeps checkpoints from copying frames newer than its mark into the main
file. With C the last commit that the WAL index shows *after* the hold began, the state at C is: for each
page its last frame up to C, else the main file. Why this is stable until the transaction ends:

* The hold is on a read mark > 0: the WAL cannot be reset, so frames up to C stay; checkpoints stop at the
  mark, which is not beyond C.
* The hold is on mark 0 (everything was in the main file): no checkpoint can write to the main file. A
  writer may reset the WAL once and append; frames of that new generation cannot be backfilled, hence not
  be reset again. If the index showed nothing beyond what was backfilled, the main file alone is the state,
  and frames are not read at all.

Each frame that is read is checked against the index (page number, salts of the generation), and the salts
once more at the end. Nothing is written, and no lock is taken that a writer waits for.

Rollback-journal mode: a held SHARED lock keeps writers from committing, so the pages are first copied, at
the speed of the disk, into an unlinked temporary file, and the lock is let go before anything else is done
with them.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import apsw

from tdsproxy.store import header as file_header
from tdsproxy.store import walindex
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing, DatabaseUnreadable, SnapshotBroken
from tdsproxy.store.file_keys import connect
from tdsproxy.store.pagefile import PageFile

RUN_BYTES = 1 << 20
BUSY_MILLISECONDS = 10_000
_INDEX_ATTEMPTS = 10_000
_WAL_HEADER = 32
_FRAME_HEADER = 24
_LOCK_POLL_SECONDS = 0.002
_IOVECS = 512
_DEFAULT_PAGE_SIZE = 4096


def _never() -> bool:
    return False


def open_database(
    path: Path, busy_milliseconds: int, cancelled: Callable[[], bool] = _never
) -> apsw.Connection:
    """A connection whose pages can be read raw; it waits for locks so long, and no longer once ``cancelled``.

    Raises DatabaseMissing, DatabaseUnreadable.
    """
    if not path.exists():
        raise DatabaseMissing(path, f"there is no database file {path}")
    connection = connect(path)
    pause = threading.Event()
    deadline = 0.0

    def wait(attempt: int) -> bool:
        nonlocal deadline
        now = time.monotonic()
        if attempt == 0:
            deadline = now + busy_milliseconds / 1000
        if cancelled() or now >= deadline:
            return False
        # Short: a busy writer leaves only short gaps.
        pause.wait(_LOCK_POLL_SECONDS)
        return True

    connection.set_busy_handler(wait)
    return connection


def page_runs(page_size: int, page_count: int, run_bytes: int = RUN_BYTES) -> Iterator[tuple[int, int]]:
    """Ascending runs (first page, pages) that cover 1..``page_count`` but the lock-byte page.

    Runs start at multiples of ``run_bytes``, so that the same page lies in the same run in every backup.
    """
    per_run = max(1, run_bytes // page_size)
    lock = file_header.lock_page(page_size)
    first = 1
    while first <= page_count:
        last = min(page_count, (first - 1) // per_run * per_run + per_run)
        if first <= lock <= last:
            if lock > first:
                yield first, lock - first
            first = lock + 1
            if first > last:
                continue
        yield first, last - first + 1
        first = last + 1


class PageView:
    """The committed state under a transaction that the caller holds open on ``connection``.

    ``page_count`` is that state's, never derived from the file's size while a WAL exists. Reading is for
    one thread at a time. Raises SnapshotBroken, OSError.
    """

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self.path = path
        self._file = PageFile(connection)
        self._pages: array[int] = array("I")
        self._frames: array[int] = array("I")
        self._salts: tuple[int, int] | None = None
        self._wal_descriptor = -1
        self._main_size = self._file.size()
        head = bytearray(file_header.SIZE)
        self._file.read_into(memoryview(head), 0)
        parsed = file_header.parse(bytes(head))
        # Nobody can change the journal mode while a transaction is open.
        self.wal = parsed is not None and parsed.wal
        self.page_size = parsed.page_size if parsed else _DEFAULT_PAGE_SIZE
        self.page_count = self._main_size // self.page_size
        # The commit counter of the WAL index: which state this is, as long as the index lives.
        self.commit: tuple[int, int, tuple[int, int]] | None = None
        if not self.wal:
            if parsed is not None and parsed.page_count is not None:
                self.page_count = parsed.page_count
            return
        self._map_wal()
        if len(self._pages):
            # A plain descriptor is harmless here: SQLite takes no locks on the WAL itself.
            self._wal_descriptor = os.open(connection.filename_wal, os.O_RDONLY | os.O_CLOEXEC)

    def _map_wal(self) -> None:
        for _ in range(_INDEX_ATTEMPTS):
            block = self._file.index_block(0)
            if block is None:
                raise SnapshotBroken(self.path, "SQLite holds no WAL index")
            head = walindex.read_header(block)
            if head is None:
                continue
            if head.page_size:
                self.page_size = head.page_size
            self.commit = (head.change, head.max_frame, head.salts)
            done = walindex.backfilled(block)
            self._main_size = self._file.size()
            count = head.page_count or self._main_size // self.page_size
            if done >= head.max_frame:
                if self._salts_now() not in (None, head.salts):
                    continue
                self.page_count = count
                return
            pages = walindex.frame_pages(self._file.index_block, head.max_frame)
            if pages is None or self._salts_now() != head.salts:
                continue
            self._pages, self._frames = walindex.newest_frames(pages, count)
            self.page_count = count
            self._salts = head.salts
            return
        raise SnapshotBroken(self.path, "the WAL index does not come to rest")

    def is_newest(self) -> bool:
        """Whether nobody has committed since; false where that cannot be told."""
        block = self._file.index_block(0) if self.wal else None
        head = walindex.read_header(block) if block is not None else None
        return head is not None and (head.change, head.max_frame, head.salts) == self.commit

    def _salts_now(self) -> tuple[int, int] | None:
        block = self._file.index_block(0)
        head = walindex.read_header(block) if block is not None else None
        return head.salts if head is not None else None

    def read_run(self, first_page: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the pages from ``first_page`` on; its length is a multiple of a page's."""
        size = self.page_size
        count = len(buffer) // size
        start = bisect.bisect_left(self._pages, first_page)
        end = bisect.bisect_left(self._pages, first_page + count, start)
        if end - start < count:
            self._read_main(first_page, buffer)
        index = start
        while index < end:
            stop = index + 1
            while (
                stop < end
                and stop - index < _IOVECS
                and self._pages[stop] == self._pages[stop - 1] + 1
                and self._frames[stop] == self._frames[stop - 1] + 1
            ):
                stop += 1
            at = (self._pages[index] - first_page) * size
            self._read_frames(index, stop, buffer[at : at + (stop - index) * size])
            index = stop

    def _read_main(self, first_page: int, buffer: memoryview) -> None:
        size = self.page_size
        last = first_page + len(buffer) // size - 1
        in_main = self._main_size // size
        if last > in_main and self._uncovered(max(first_page, in_main + 1), last):
            raise SnapshotBroken(
                self.path, f"page {last} lies beyond the file's {in_main} and not in the WAL"
            )
        self._file.read_into(buffer, (first_page - 1) * size)

    def _uncovered(self, first: int, last: int) -> bool:
        start = bisect.bisect_left(self._pages, first)
        end = bisect.bisect_left(self._pages, last + 1, start)
        return end - start < last - first + 1

    def _read_frames(self, index: int, stop: int, buffer: memoryview) -> None:
        size = self.page_size
        count = stop - index
        heads = memoryview(bytearray(_FRAME_HEADER * count))
        vectors: list[memoryview] = []
        for number in range(count):
            vectors.append(heads[number * _FRAME_HEADER : (number + 1) * _FRAME_HEADER])
            vectors.append(buffer[number * size : (number + 1) * size])
        offset = _WAL_HEADER + (self._frames[index] - 1) * (_FRAME_HEADER + size)
        got = os.preadv(self._wal_descriptor, vectors, offset)
        if got != count * (_FRAME_HEADER + size):
            raise SnapshotBroken(self.path, f"the WAL ends inside frame {self._frames[stop - 1]}")
        for number in range(count):
            at = number * _FRAME_HEADER
            page = int.from_bytes(heads[at : at + 4], "big")
            salts = (
                int.from_bytes(heads[at + 8 : at + 12], "big"),
                int.from_bytes(heads[at + 12 : at + 16], "big"),
            )
            # Older libraries leave salts and checksum of some frames zero, when a transaction rewrote others
            # and rolled back to a savepoint; such a frame counts for every reader, by its page in the index.
            sealed = any(heads[at + 8 : at + _FRAME_HEADER])
            if page != self._pages[index + number] or (sealed and salts != self._salts):
                raise SnapshotBroken(self.path, f"frame {self._frames[index + number]} is another one's")

    def check(self) -> None:
        """Raise SnapshotBroken if the WAL was reset under the frames that were read."""
        if self._salts is not None and self._salts_now() not in (None, self._salts):
            raise SnapshotBroken(self.path, "the WAL was reset under the snapshot")

    def close(self) -> None:
        """Let go of the WAL's descriptor; the transaction stays the caller's."""
        if self._wal_descriptor >= 0:
            os.close(self._wal_descriptor)
            self._wal_descriptor = -1


class Snapshot:
    """One committed state of the database at ``path``, held until ``close``.

    ``spool_directory`` is where the copy of a rollback-journal database lies (default: beside it). Waiting
    for a lock ends early, as DatabaseBusy, when ``cancelled`` says so. Raises DatabaseMissing, DatabaseBusy,
    DatabaseUnreadable, SnapshotBroken, OSError (spool).
    """

    def __init__(
        self,
        path: Path,
        spool_directory: Path | None = None,
        *,
        busy_milliseconds: int = BUSY_MILLISECONDS,
        cancelled: Callable[[], bool] = _never,
    ) -> None:
        self.path = path
        self._view: PageView | None = None
        self._spool = -1
        self._connection: apsw.Connection | None = open_database(path, busy_milliseconds, cancelled)
        try:
            self._begin(self._connection)
            self._view = PageView(self._connection, path)
            self.wal = self._view.wal
            self.page_size = self._view.page_size
            self.page_count = self._view.page_count
            if not self.wal:
                self._copy_aside(spool_directory or path.parent)
        except BaseException:
            self.close()
            raise

    def _begin(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("BEGIN").fetchall()
            # BEGIN is lazy: the first read takes the snapshot. This one needs no sound schema.
            connection.execute("PRAGMA schema_version").fetchall()
        except (apsw.BusyError, apsw.LockedError) as error:
            raise DatabaseBusy(self.path, f"{self.path} is locked: {error}") from error
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.IOError) as error:
            raise DatabaseUnreadable(self.path, f"SQLite cannot read {self.path}: {error}") from error

    def _copy_aside(self, directory: Path) -> None:
        assert self._view is not None
        with tempfile.TemporaryFile(dir=directory) as spool:
            buffer = memoryview(bytearray(RUN_BYTES))
            for first, count in page_runs(self.page_size, self.page_count):
                part = buffer[: count * self.page_size]
                self._view.read_run(first, part)
                spool.seek((first - 1) * self.page_size)
                spool.write(part)
            spool.flush()
            self._spool = os.dup(spool.fileno())
        self._release()

    def is_newest(self) -> bool:
        """Whether nobody has committed since it was taken; false where that cannot be told."""
        return self._view is not None and self._view.is_newest()

    @property
    def size(self) -> int:
        """Bytes of the database in this state."""
        return self.page_size * self.page_count

    def runs(self, run_bytes: int = RUN_BYTES) -> Iterator[tuple[int, int]]:
        """The runs of pages to read; see ``page_runs``."""
        return page_runs(self.page_size, self.page_count, run_bytes)

    def read_run(self, first_page: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with whole pages from ``first_page`` on. One thread at a time."""
        if self._view is not None:
            self._view.read_run(first_page, buffer)
            return
        if self._spool < 0:
            raise SnapshotBroken(self.path, "the snapshot is closed")
        offset = (first_page - 1) * self.page_size
        while buffer:
            got = os.preadv(self._spool, [buffer], offset)
            if not got:
                raise SnapshotBroken(self.path, "the copied pages end too early")
            buffer = buffer[got:]
            offset += got

    def stream(self, run_bytes: int = RUN_BYTES) -> Iterator[tuple[int, memoryview]]:
        """All pages as (first page, bytes of the run); a run's memory is reused for the next."""
        buffer = memoryview(bytearray(max(run_bytes, self.page_size)))
        for first, count in self.runs(run_bytes):
            part = buffer[: count * self.page_size]
            self.read_run(first, part)
            yield first, part
        self.check()

    def check(self) -> None:
        """To be called after the last page: raises SnapshotBroken if the state did not stand still."""
        if self._view is not None:
            self._view.check()

    def _release(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._connection is not None:
            # A transaction that failed to begin has nothing to roll back.
            with contextlib.suppress(apsw.SQLError):
                self._connection.execute("ROLLBACK").fetchall()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the transaction and free everything. May be called twice."""
        self._release()
        if self._spool >= 0:
            os.close(self._spool)
            self._spool = -1

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def copy_pages(
    page_size: int,
    page_count: int,
    read: Callable[[int, memoryview], None],
    path: Path,
    *,
    durable: bool = True,
) -> None:
    """Write pages 1..``page_count`` as a new SQLite file at ``path``; synced, if ``durable``. Raises
    OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        buffer = memoryview(bytearray(max(RUN_BYTES, page_size)))
        for first, count in page_runs(page_size, page_count):
            part = buffer[: count * page_size]
            read(first, part)
            offset = (first - 1) * page_size
            while part:
                written = os.pwrite(descriptor, part, offset)
                part = part[written:]
                offset += written
            # The kernel begins to write these pages out, so that the sync at the end is short.
            os.posix_fadvise(descriptor, (first - 1) * page_size, count * page_size, os.POSIX_FADV_DONTNEED)
        os.ftruncate(descriptor, page_size * page_count)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
