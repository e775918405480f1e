"""Holding the WAL of a database while it is captured: hand over hand, writing nothing into the database.

What SQLite guarantees (src/wal.c) and everything here rests on:

* A read transaction on a read mark > 0 keeps every other process from resetting the WAL, and checkpoints
  from copying frames beyond its mark.
* A read transaction on mark 0, which a reader gets when all frames have been copied into the main file,
  lets a writer reset the WAL, but keeps checkpoints from copying anything. So frames of the generation that
  follows can't be copied, and that generation can't be reset in turn.

The new transaction is always begun before the old one is ended, and only when all that the old one saw has
been captured. Hence, whatever others do: either the generation (salts) is the one that was captured so far,
and its further frames are all there; or it is another one, all of whose frames are there from the first,
and the former had nothing uncaptured when it was reset. The second is possible only when nothing was
uncaptured as the present transaction began (``reset_possible``).
"""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from tdsproxy.store import header as file_header
from tdsproxy.store import walindex
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, SnapshotBroken
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import open_database

_LOCKED = (apsw.BusyError, apsw.LockedError)
_READ_MILLISECONDS = 2000
_VIEW_SECONDS = 2.0
_REPAIR_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class WalState:
    """What the WAL index shows: the last committed frame (0: the WAL holds nothing), how many frames have
    been copied into the main file, and the generation."""

    salts: tuple[int, int]
    max_frame: int
    backfilled: int
    page_size: int
    page_count: int


class WalHold:
    """The connections that capture one database. For one thread at a time.

    Raises StoreError when the database can't be opened, is locked, or can't be put into WAL mode.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections: list[apsw.Connection] = []
        try:
            self._readers = [self._open(_READ_MILLISECONDS) for _ in range(2)]
            self._barrier = self._open(0)
            self._checkpointer = self._open(0)
            self._enter_wal_mode(self._readers[0])
            self._files: list[PageFile] = [PageFile(reader) for reader in self._readers]
            self._current = 0
            self.wal_path = Path(self._readers[0].filename_wal)
            self._begin(self._readers[0])
        except BaseException:
            self.close()
            raise

    def _open(self, busy_milliseconds: int) -> apsw.Connection:
        connection = open_database(self.path, busy_milliseconds)
        self._connections.append(connection)
        # The WAL is where the archive goes on after a restart, so closing it must not copy and delete it.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return connection

    def _enter_wal_mode(self, connection: apsw.Connection) -> None:
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchall()[0][0]
            if mode != "wal":
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchall()[0][0]
        except _LOCKED as error:
            raise DatabaseBusy(self.path, f"{self.path} is locked: {error}") from error
        except apsw.Error as error:
            raise DatabaseUnreadable(self.path, f"SQLite cannot read {self.path}: {error}") from error
        if mode != "wal":
            raise DatabaseUnreadable(self.path, f"{self.path} can't be put into WAL mode, it stays in {mode}")

    def _begin(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("BEGIN").fetchall()
            # BEGIN is lazy: the first read takes the snapshot. This one needs no sound schema.
            connection.execute("PRAGMA schema_version").fetchall()
        except apsw.Error as error:
            _end(connection)
            if isinstance(error, _LOCKED):
                raise DatabaseBusy(self.path, f"{self.path} is locked: {error}") from error
            raise DatabaseUnreadable(self.path, f"SQLite cannot read {self.path}: {error}") from error

    def state(self) -> WalState:
        """What the WAL index shows now, not what the held transaction sees. Raises SnapshotBroken."""
        file = self._files[self._current]
        deadline = 0.0
        while True:
            block = file.index_block(0)
            if block is None:
                raise SnapshotBroken(self.path, "SQLite holds no WAL index")
            head = walindex.read_header(block)
            if head is not None:
                done = walindex.backfilled(block)
                return WalState(head.salts, head.max_frame, done, head.page_size, head.page_count)
            # A writer is just changing it; of one that died in between, SQLite's next reader repairs it.
            now = time.monotonic()
            deadline = deadline or now + _VIEW_SECONDS
            if now > deadline:
                raise SnapshotBroken(self.path, "the WAL index does not come to rest")
            if now > deadline - _VIEW_SECONDS + _REPAIR_SECONDS:
                with contextlib.suppress(*_LOCKED):
                    self._checkpointer.execute("PRAGMA schema_version").fetchall()
            time.sleep(0)

    def pages_in_index(self, max_frame: int) -> Callable[[int], int]:
        """A function from frames to the numbers of their pages, as the WAL index has them. Read when first
        asked; SnapshotBroken then."""
        known: array[int] | None = None

        def page(frame: int) -> int:
            nonlocal known
            if known is None:
                known = walindex.frame_pages(self._files[self._current].index_block, max_frame)
            if known is None:
                raise SnapshotBroken(self.path, "the WAL index is not complete")
            return known[frame - 1]

        return page

    def page_size(self) -> int:
        """From the main file's header; the WAL index has none before the first frame."""
        head = bytearray(file_header.SIZE)
        self._files[self._current].read_into(memoryview(head), 0)
        parsed = file_header.parse(bytes(head))
        return parsed.page_size if parsed is not None else 0

    def hand_over(self) -> None:
        """Begin a transaction at the present state, then end the one held so far."""
        following = 1 - self._current
        self._begin(self._readers[following])
        former, self._current = self._current, following
        _end(self._readers[former])

    @contextlib.contextmanager
    def barrier(self, seconds: float, poll_seconds: float) -> Iterator[bool]:
        """Keep writers out for the time of the block; the value says whether that was possible.

        The lock is tried for without waiting in line, often, because a busy writer leaves only short gaps.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._barrier.execute("BEGIN IMMEDIATE").fetchall()
                break
            except _LOCKED:
                _end(self._barrier)
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(poll_seconds)
        try:
            yield True
        finally:
            _end(self._barrier)

    def checkpoint(self) -> bool:
        """Copy what no reader forbids into the main file; false when another process is doing it just now."""
        try:
            # A connection that has never read does nothing when told to checkpoint.
            self._checkpointer.execute("PRAGMA schema_version").fetchall()
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except _LOCKED:
            return False
        return True

    def empty_wal(self) -> None:
        """Make the WAL empty if nobody uses it. Only for a hold on mark 0: what has been committed since
        can't be copied into the main file then, so this fails, without harm, rather than losing it."""
        with contextlib.suppress(*_LOCKED):
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def inode(self) -> int:
        """Of the file that is at the path now; 0 when there is none."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def close(self) -> None:
        """End the transaction and close all connections. May be called twice."""
        for connection in self._connections:
            _end(connection)
            connection.close()
        self._connections = []


def _end(connection: apsw.Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(apsw.Error):
            connection.execute("ROLLBACK").fetchall()
