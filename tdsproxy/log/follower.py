"""Following one WAL into the archive: what has been captured, what may be lost, when to checkpoint.

No threads and no clock of its own: ``capture.py`` drives it. The frames up to the WAL index's last one are
complete and committed (``wal.py`` says why), and stay where they are as long as the hold lasts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.hold import WalHold, WalState
from tdsproxy.log.records import LogError, Transaction, WalPosition
from tdsproxy.log.times import CommitTime, CommitTimes
from tdsproxy.log.unlogged import record_break
from tdsproxy.log.wal import (
    FRAME_HEADER_SIZE,
    Commit,
    FrameHeader,
    Splitter,
    StrangeFrame,
    frame_offset,
    parse_frame,
)
from tdsproxy.store import crashpoints

READ_BYTES = 1 << 20
PART_BYTES = 4 << 20
_BATCH_BYTES = 1 << 20
# Older than the clock tick with which file systems stamp changes, so that a later change gets another stamp.
_STAMP_NS = 20_000_000
# In the index over an empty WAL, of whatever generation it had been.
_NO_SALTS = (0, 0)


class ChainBroken(LogError):
    """Commits may have been made that can't be captured any more; the text says why."""


class Follower:
    """Captures from one hold. For one thread at a time.

    Starts at ``position`` if the WAL proves to continue it, and raises ChainBroken if it doesn't; None
    starts at the WAL's present end: what was committed before is not in the log.
    """

    def __init__(
        self, hold: WalHold, archive: Archive, times: CommitTimes, position: WalPosition | None
    ) -> None:
        self._hold = hold
        self._archive = archive
        self._times = times
        self._wal = -1
        self._wal_inode = 0
        self._part_bytes = 0
        self._anchored = False
        self._looked_at: tuple[tuple[int, int], int] | None = None
        self.mark: tuple[str, str | None] | None = None
        try:
            self._inode = hold.inode()
            state = hold.state()
            self._page_size = state.page_size or hold.page_size()
            self._at = self._present(state) if position is None else self._continue(position, state)
            if position is None:
                # What was committed up to now is not in the log and needs no time.
                times.seen(self._at.frame, self._look()[1])
        except BaseException:
            self.close()
            raise
        self._reset_possible = state.max_frame == self._at.frame
        self.may_be_on_zero = True
        # The held transaction sees no frame behind the first; up to the second the archive is durable.
        self._held_frame = state.max_frame
        self._durable_frame = 0

    # ------------------------------------------------------------------ where to begin

    def _present(self, state: WalState) -> WalPosition:
        return WalPosition(state.salts, state.max_frame, self._checksum(state, state.max_frame), self._inode)

    def _continue(self, position: WalPosition, state: WalState) -> WalPosition:
        if position.inode != self._inode:
            raise ChainBroken("the database file was replaced by another one")
        if position.salts == state.salts != _NO_SALTS:
            if state.max_frame < position.frame:
                raise ChainBroken(
                    "the database is behind its log: commits that had been captured were lost in a crash"
                )
            if self._checksum(state, position.frame) != position.checksum:
                raise ChainBroken("the WAL holds other commits than those that were captured")
            return replace(position, main=None)
        unchanged = position.main is not None and position.main == main_stamp(self._hold.path)
        if not unchanged and not self._was_reset_once(position, state):
            raise ChainBroken("the WAL was emptied while nobody captured it")
        return WalPosition(state.salts, 0, (0, 0), self._inode)

    def _was_reset_once(self, position: WalPosition, state: WalState) -> bool:
        """Whether the present generation follows at once on the captured one, all of which was captured.

        A reset adds one to the first salt. The former generation's frames stay in the file until they are
        overwritten: its last captured frame must still be there, and no commit of its own behind it. (Frames
        without one were rolled back.)
        """
        following = ((position.salts[0] + 1) & 0xFFFFFFFF) == state.salts[0]
        if not following or not position.frame or state.max_frame >= position.frame:
            return False
        self._open_wal()
        head = self._frame_header(position.frame)
        if head is None or (head.salts, head.checksum) != (position.salts, position.checksum):
            return False
        frame = position.frame
        while True:
            frame += 1
            head = self._frame_header(frame)
            if head is None:
                # A limit of the WAL's size (journal_size_limit) cuts a commit off, in the middle of a frame.
                return self._ends_with(frame - 1)
            if head.salts not in (position.salts, (0, 0)):
                return True
            if head.page_count:
                return False

    def _ends_with(self, frame: int) -> bool:
        """Whether the file ends where this frame does."""
        return os.fstat(self._wal).st_size == frame_offset(frame + 1, self._page_size)

    def _frame_header(self, frame: int) -> FrameHeader | None:
        data = os.pread(self._wal, FRAME_HEADER_SIZE, frame_offset(frame, self._page_size))
        return parse_frame(data) if len(data) == FRAME_HEADER_SIZE else None

    def _checksum(self, state: WalState, frame: int) -> tuple[int, int]:
        if not frame:
            return (0, 0)
        self._open_wal()
        head = self._frame_header(frame)
        if head is None or head.salts not in (state.salts, (0, 0)):
            raise ChainBroken("the WAL index does not belong to the WAL")
        return head.checksum

    def _open_wal(self) -> None:
        """A plain descriptor is harmless here: SQLite takes no locks on the WAL itself."""
        try:
            inode = self._hold.wal_path.stat().st_ino
            if self._wal >= 0 and inode == self._wal_inode:
                return
            self._close_wal()
            self._wal = os.open(self._hold.wal_path, os.O_RDONLY | os.O_CLOEXEC)
            self._wal_inode = os.fstat(self._wal).st_ino
        except FileNotFoundError as error:
            raise ChainBroken("the WAL was deleted") from error

    # ------------------------------------------------------------------ what has been captured

    @property
    def position(self) -> WalPosition:
        """Up to where the WAL is in the archive."""
        return self._at

    def capture(self) -> bool:
        """Append what has been committed since the last time; true if there was something.

        Raises ChainBroken, OSError (the archive's disk; what was not appended is tried again next time),
        SnapshotBroken.
        """
        record_break(self._archive)
        state, before_ns = self._look()
        if self._hold.inode() != self._inode:
            raise ChainBroken("the database file was moved away or replaced by another one")
        if state.salts != self._at.salts:
            self._next_generation(state)
        if state.max_frame < self._at.frame:
            raise ChainBroken("the WAL became shorter than what was captured")
        if state.max_frame == self._at.frame:
            self._times.seen(state.max_frame, before_ns)
            return False
        # Frames behind the captured ones can't be copied or vanish while the hold lasts.
        self._reset_possible = False
        if state.page_size != self._page_size:
            if self._at.frame:
                raise ChainBroken("the page size changed")
            self._page_size = state.page_size
        self._anchored = False
        self._open_wal()
        try:
            self._read(state)
        except BaseException:
            # Of whatever cause: a transaction of which parts are there is captured anew.
            self._archive.drop_parts()
            raise
        self._times.seen(state.max_frame, before_ns)
        crashpoints.reach("log.captured")
        if self.may_be_on_zero:
            # A hold on mark 0 makes every checkpoint of others sort the whole WAL in vain, at each commit.
            self.hand_over()
        return True

    def _look(self) -> tuple[WalState, int]:
        """The state of the WAL, and a moment before it was read. The times of new commits are noted."""
        clock_ns = self._times.clock_ns
        before_ns = clock_ns()
        state = self._hold.state()
        now_ns = clock_ns()
        written_ns, is_last = None, False
        new = (state.salts, state.max_frame) != self._looked_at
        if new and state.max_frame and state.page_size and self._times.is_system_clock:
            self._open_wal()
            written_ns = os.fstat(self._wal).st_mtime_ns
            # Behind the last commit there are a running transaction's frames, or of one that was rolled back.
            offset = frame_offset(state.max_frame + 1, state.page_size)
            beyond = os.pread(self._wal, FRAME_HEADER_SIZE, offset)
            is_last = len(beyond) < FRAME_HEADER_SIZE or parse_frame(beyond).salts not in (
                state.salts,
                (0, 0),
            )
        self._looked_at = state.salts, state.max_frame
        self._times.saw(state.salts, state.max_frame, before_ns, now_ns, written_ns, is_last)
        return state, before_ns

    def _next_generation(self, state: WalState) -> None:
        if not self._reset_possible:
            raise ChainBroken("the WAL was emptied in spite of the lock that forbids it")
        self._at = WalPosition(state.salts, 0, (0, 0), self._inode)
        self._held_frame = self._durable_frame = 0
        self._times.forget()

    def _read(self, state: WalState) -> None:
        step = FRAME_HEADER_SIZE + self._page_size
        per_read = max(1, READ_BYTES // step)
        splitter = Splitter(
            self._page_size,
            state.salts,
            self._at.frame,
            PART_BYTES,
            self._hold.pages_in_index(state.max_frame),
        )
        frame = self._at.frame
        batch: list[Commit] = []
        size = 0
        self._part_bytes = 0
        start = self._at
        while frame < state.max_frame:
            count = min(per_read, state.max_frame - frame)
            data = os.pread(self._wal, count * step, frame_offset(frame + 1, self._page_size))
            if len(data) != count * step:
                raise ChainBroken("the WAL ends before the frames that its index names")
            # A hold on mark 0 that began before everything was captured does not forbid a reset, and a reset
            # may overwrite frames while they are read. What has been committed meanwhile is dated now.
            if self._look()[0].salts != state.salts:
                self._archive.drop_parts()
                raise ChainBroken("the WAL was emptied while it was read")
            frame += count
            try:
                for commit in splitter.feed(data):
                    batch.append(commit)
                    size += len(commit.pages) * self._page_size
                    if size >= _BATCH_BYTES or not commit.page_count:
                        self._store(batch, start)
                        batch, size = [], 0
            except StrangeFrame as error:
                self._archive.drop_parts()
                raise ChainBroken(str(error)) from error
        self._store(batch, start)
        if self._at.frame != state.max_frame:
            self._archive.drop_parts()
            raise ChainBroken("the WAL does not end with a commit where its index says so")

    def _store(self, batch: list[Commit], start: WalPosition) -> None:
        """Append whole transactions, or go on with one that comes in parts."""
        mark = self.mark
        try:
            whole: list[Commit] = []
            for commit in batch:
                if self._part_bytes or not commit.page_count:
                    self._store_whole(whole)
                    whole = []
                    self._store_part(commit)
                else:
                    whole.append(commit)
            self._store_whole(whole)
        except BaseException:
            # Of whatever cause: what the archive does not have was not captured.
            self._archive.drop_parts()
            self._part_bytes = 0
            stored = self._archive.position()
            same = stored is not None and stored.salts == start.salts and stored.frame >= start.frame
            self._at = stored if stored is not None and same else start
            self.mark = mark
            raise

    def _store_whole(self, commits: list[Commit]) -> None:
        if not commits:
            return
        lsn = self._archive.last_lsn()
        last_ns = self._archive.last_committed_ns()
        transactions: list[Transaction] = []
        positions: list[WalPosition] = []
        for commit in commits:
            at = WalPosition(self._at.salts, commit.frame, commit.checksum, self._inode)
            self._at = at
            if not commit.pages:
                continue
            time = self._time(commit, last_ns)
            last_ns = time.ns
            following = lsns.advance(lsn, len(commit.pages) * self._page_size)
            transactions.append(self._transaction(commit, lsn, following, time))
            positions.append(at)
            lsn = following
        self._archive.append(transactions, positions)

    def _store_part(self, commit: Commit) -> None:
        if not self._part_bytes:
            # Of an attempt before, if they could not be dropped then.
            self._archive.drop_parts()
        lsn = self._archive.last_lsn()
        time = self._time(commit, self._archive.last_committed_ns())
        self._part_bytes += len(commit.pages) * self._page_size
        if not commit.page_count:
            self._archive.append_part(self._transaction(commit, lsn, lsn, time))
            return
        at = WalPosition(self._at.salts, commit.frame, commit.checksum, self._inode)
        following = lsns.advance(lsn, self._part_bytes)
        self._archive.append_last_part(self._transaction(commit, lsn, following, time), at)
        self._at = at
        self._part_bytes = 0

    def _time(self, commit: Commit, last_ns: int) -> CommitTime:
        """The commit's time; never before the one that precedes it."""
        time = self._times.of(commit.frame)
        return time if time.ns >= last_ns else CommitTime(last_ns, max(0, time.late_ns - time.ns + last_ns))

    def _transaction(self, commit: Commit, lsn: int, next_lsn: int, time: CommitTime) -> Transaction:
        name, description = None, None
        if self.mark is not None and commit.page_count:
            (name, description), self.mark = self.mark, None
        return Transaction(
            lsn,
            next_lsn,
            time.ns,
            self._page_size,
            commit.page_count,
            commit.pages,
            name,
            description,
            time.late_ns,
        )

    # ------------------------------------------------------------------ letting go of old frames

    def hand_over(self) -> None:
        """Hold the present state instead of an older one. Everything seen must have been captured.

        The new transaction can be on mark 0, and frames be destroyed, only when no frame lies behind those
        that the present one sees: these are made durable first. Raises as ``capture``.
        """
        if not self.is_durable:
            self.sync()
        self._hold.hand_over()
        state = self._hold.state()
        if state.salts != self._at.salts:
            self._next_generation(state)
        self._reset_possible = state.max_frame == self._at.frame
        self.may_be_on_zero = self._reset_possible and state.backfilled >= state.max_frame
        self._held_frame = state.max_frame

    @property
    def is_durable(self) -> bool:
        """Whether ``hand_over`` needs no sync first."""
        return self._durable_frame >= min(self._held_frame, self._at.frame)

    def sync(self) -> None:
        """Make durable what has been captured. Raises OSError."""
        self.synced(self._at, self._archive.sync)

    def synced(self, at: WalPosition, sync: Callable[[], object]) -> None:
        """``sync`` makes durable, or waits until it is, what had been captured at ``at``."""
        sync()
        if at.salts == self._at.salts:
            self._durable_frame = max(self._durable_frame, at.frame)

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame."""
        return FRAME_HEADER_SIZE + self._page_size

    def anchor(self) -> bool:
        """If all is captured and in the main file, and the hold keeps it so, note by what the next start can
        see that nothing was committed meanwhile. False when that is not the case, or too early to tell.
        """
        if self._anchored or not self.may_be_on_zero:
            return self._anchored
        stamp = main_stamp(self._hold.path)
        state = self._hold.state()
        if (state.salts, state.max_frame) != (self._at.salts, self._at.frame) or stamp is None:
            return False
        if state.backfilled < state.max_frame or abs(time.time_ns() - stamp[2]) < _STAMP_NS:
            return False
        self._archive.note_position(replace(self._at, main=stamp))
        self._anchored = True
        return True

    def _close_wal(self) -> None:
        if self._wal >= 0:
            os.close(self._wal)
            self._wal = -1

    def close(self) -> None:
        """Let go of the WAL and of the hold. May be called twice."""
        self._close_wal()
        self._hold.close()


def main_stamp(path: Path) -> tuple[int, int, int] | None:
    """(inode, size, change time in ns) of a main file: any write to it changes the last, and no program can
    set that back."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
