"""Capturing the commits of one database, whoever makes them."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.checkpointer import Checkpointer
from tdsproxy.log.follower import ChainBroken, Follower
from tdsproxy.log.hold import WalHold
from tdsproxy.log.records import CaptureStopped, Gap, WalPosition
from tdsproxy.log.times import CommitTimes
from tdsproxy.log.unlogged import break_behind
from tdsproxy.log.watch import Watch
from tdsproxy.store.errors import DatabaseBusy, StoreError
from tdsproxy.store.threads import lasting_thread

CHECKPOINT_BYTES = 16 << 20
WAL_BYTES = 192 << 20

# While commits come: they are captured some at a time, and a commit's time is this exact.
_BUSY_SECONDS = 0.005
# After a write without a commit yet: the commit enters the WAL index without a further write to the file.
_EAGER_SECONDS = 0.001
_EAGER_FOR_SECONDS = 0.05
_ALERT_SECONDS = 0.005
_ALERT_FOR_SECONDS = 10.0
# Without inotify this is how long a first commit can stay unseen.
_BLIND_SECONDS = 0.005
_IDLE_SECONDS = 0.25
_RETRY_SECONDS = 1.0
_GAP_BYTES = 512
_NICENESS = -10
_FULL = (errno.ENOSPC, errno.EDQUOT)

_FAILURES = (StoreError, OSError, apsw.Error)


class Capturer:
    """Follows the WAL of ``path`` into ``archive``, with a thread of its own, until ``close``."""

    def __init__(
        self,
        path: Path,
        archive: Archive,
        *,
        report: Callable[[str], None] = lambda message: None,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
        wal_bytes: int = WAL_BYTES,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        """Opens the database, makes it a WAL one if it isn't, continues where the archive ends and starts.

        If it can't be shown that nothing was committed unseen since, a Gap is recorded. ``report`` is told,
        in one sentence each, what an operator must know. From ``checkpoint_bytes`` on the WAL is
        checkpointed; when the archive can't be written, it may grow up to ``wal_bytes`` until the capture
        gives up and the log gets a gap. Raises StoreError, OSError.
        """
        self.path = path
        self.archive = archive
        self._report = report
        self._checkpoint_bytes = checkpoint_bytes
        self._wal_bytes = wal_bytes
        self._times = CommitTimes(clock_ns, archive.last_committed_ns())
        self._clock_ns = clock_ns or time.time_ns
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watch = Watch()
        self._hold: WalHold | None = None
        self._follower: Follower | None = None
        self._checkpointer: Checkpointer | None = None
        self._stopped: str | None = None
        self._retry_at = 0.0
        self._active_at = 0.0
        self._sees_writes = False
        try:
            self._attach()
        except BaseException:
            self._detach()
            self._watch.close()
            raise
        self._thread = self._started_thread()

    # ------------------------------------------------------------------ taking hold, letting go

    def _attach(self, broken: str | None = None) -> None:
        """Take hold of the database and go on where the archive ends, or, with a gap, at the present end."""
        known = self.archive.position()
        self._hold = hold = WalHold(self.path)
        if known is not None and broken is None:
            try:
                self._follow(hold, known)
            except ChainBroken as error:
                broken = str(error)
                self._detach()
                self._hold = hold = WalHold(self.path)
        if self._follower is None:
            follower = self._follow(hold, None)
            if known is None:
                self.archive.note_position(follower.position)
                self.archive.sync()
            else:
                self._record_gap(broken or "the capture was interrupted", follower.position)
        self._sees_writes = self._watch.follow(hold.wal_path)

    def _follow(self, hold: WalHold, position: WalPosition | None) -> Follower:
        self._follower = follower = Follower(hold, self.archive, self._times, position)
        self._checkpointer = Checkpointer(hold, follower, self.archive, self._checkpoint_bytes)
        return follower

    def _record_gap(self, reason: str, position: WalPosition) -> None:
        lsn = self.archive.last_lsn()
        gap = Gap(lsn, lsns.advance(lsn, _GAP_BYTES), self._clock_ns(), reason)
        self.archive.append_gap(gap, position)
        self._report(f"the log of {self.path} is broken at {lsn}: {reason}")

    def _detach(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        if self._follower is not None:
            self._follower.close()
        if self._hold is not None:
            self._hold.close()
        self._checkpointer = self._follower = self._hold = None

    # ------------------------------------------------------------------ the thread

    def _started_thread(self) -> threading.Thread:
        """It begins again when an error has ended it that nobody expected."""
        name = f"log-capture {self.path.name}"
        thread = lasting_thread(self._run, name, self._closing, _RETRY_SECONDS)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self._follow_wal()
        except BaseException as error:
            # The hold stays, so that nothing is lost until the thread begins again.
            with self._lock:
                self._note_stop(f"{type(error).__name__}: {error}")
            raise

    def _follow_wal(self) -> None:
        # Where that is allowed: a commit's time is as exact as this thread is prompt.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._closing.is_set():
            self._wait()
            if self._closing.is_set():
                return
            with self._lock:
                self._step()

    def _wait(self) -> None:
        since = time.monotonic() - self._active_at
        if self._stopped is not None:
            self._watch.wait(_IDLE_SECONDS, writes=False)
        elif since < _BUSY_SECONDS * 4:
            # More is coming: some at a time is cheaper than one by one.
            self._watch.wait(_BUSY_SECONDS, writes=False)
        else:
            blind = not self._sees_writes or (self._checkpointer is not None and self._checkpointer.busy)
            if self._watch.wait(_BLIND_SECONDS if blind else _IDLE_SECONDS):
                self._await_commit()

    def _await_commit(self) -> None:
        """Somebody writes: look often until the commit is there."""
        begun = time.monotonic()
        while not self._closing.is_set():
            with self._lock:
                if self._stopped is not None or self._step():
                    return
            since = time.monotonic() - begun
            if since > _ALERT_FOR_SECONDS:
                return
            eager = since < _EAGER_FOR_SECONDS
            if self._watch.wait(_EAGER_SECONDS if eager else _ALERT_SECONDS, writes=False):
                begun = max(begun, time.monotonic() - _EAGER_FOR_SECONDS)
            elif not eager and not self._writes_pending():
                return

    def _writes_pending(self) -> bool:
        """Whether the WAL has grown behind its last commit."""
        follower, hold = self._follower, self._hold
        if follower is None or hold is None:
            return False
        try:
            return hold.wal_path.stat().st_size > follower.position.frame * follower.frame_bytes + 32
        except OSError:
            return False

    def _step(self) -> bool:
        """Capture what there is; true if there was something."""
        if self._stopped is not None:
            if time.monotonic() >= self._retry_at:
                self._retry()
            return False
        try:
            return self._capture()
        except ChainBroken as error:
            self._begin_anew(str(error))
        except DatabaseBusy:
            # Somebody holds a lock for long; nothing is lost as long as the hold lasts.
            return False
        except _FAILURES as error:
            self._stop(error)
        return False

    def _capture(self) -> bool:
        follower, checkpointer, hold = self._follower, self._checkpointer, self._hold
        if follower is None or checkpointer is None or hold is None:
            return False
        found = follower.capture()
        if found:
            self._active_at = time.monotonic()
            if not self._sees_writes:
                self._sees_writes = self._watch.follow(hold.wal_path)
        elif not checkpointer.busy:
            follower.anchor()
        checkpointer.step()
        return found

    def _begin_anew(self, reason: str) -> None:
        """The chain is broken: a gap, and on from the present end."""
        self._detach()
        try:
            self._attach(reason)
        except (ChainBroken, *_FAILURES) as error:
            self._detach()
            self._note_stop(f"{reason}; {error}")

    def _stop(self, error: BaseException) -> None:
        """Capturing failed. The hold stays as long as the WAL is not too large, so that nothing is lost."""
        self._note_stop(_words(error))

    def _note_stop(self, reason: str) -> None:
        if self._stopped is None:
            self._report(f"the log of {self.path} is not captured at present: {reason}")
        self._stopped = reason
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _retry(self) -> None:
        """Try whether it goes on; give up the hold when the WAL has become too large meanwhile."""
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        try:
            if self._follower is None:
                # The archive knows how far it came: if the WAL still continues that, there is no gap.
                self._attach()
            self._capture()
        except ChainBroken as error:
            self._begin_anew(str(error))
            if self._follower is None:
                return
        except _FAILURES as error:
            self._stopped = _words(error)
            if self._follower is not None and self._too_large():
                self._detach()
                self._report(f"the WAL of {self.path} is let go: its log will have a gap")
            return
        self._stopped = None
        self._report(f"the log of {self.path} is captured again")

    def _too_large(self) -> bool:
        try:
            state = self._hold.state() if self._hold is not None else None
        except StoreError:
            return True
        size = self._follower.frame_bytes if self._follower is not None else 0
        return state is not None and state.max_frame * size > self._wal_bytes

    # ------------------------------------------------------------------ for others

    def capture_now(self) -> int:
        """Everything committed before the call is in the archive, durable, when it returns.

        Returns the end (exclusive) of the log. Raises CaptureStopped.
        """
        with self._lock:
            follower = self._capture_for_caller()
            at, end = follower.position, self.archive.last_lsn()
        try:
            # Not under the lock: the disk may take long, and the next commits are to be seen in time.
            self.archive.sync()
        except OSError as error:
            with self._lock:
                self._stop(error)
            raise CaptureStopped(f"the log of {self.path} can't be written: {error}") from error
        with self._lock:
            follower.synced(at, lambda: None)
        self._watch.wake()
        return end

    def capture_or_break(self, give: Callable[[int], int]) -> int | None:
        """As ``capture_now``; None when nothing can be captured: then ``give`` was called with the end of the
        log, to number a backup, and the log gets a gap behind the LSN that it returned: nobody can tell
        which of the commits that are captured later the backup holds already."""
        with self._lock:
            try:
                return self.capture_now()
            except CaptureStopped:
                break_behind(self.archive, give(self.archive.last_lsn()))
                return None

    def _capture_for_caller(self) -> Follower:
        if self._closing.is_set():
            raise CaptureStopped(f"the log of {self.path} is not captured any more")
        if self._stopped is not None:
            self._retry()
        elif self._follower is not None:
            try:
                self._follower.capture()
            except ChainBroken as error:
                self._begin_anew(str(error))
            except DatabaseBusy as error:
                raise CaptureStopped(str(error)) from error
            except _FAILURES as error:
                self._stop(error)
        if self._stopped is not None or self._follower is None:
            raise CaptureStopped(f"the log of {self.path} is not captured: {self._stopped}")
        return self._follower

    def captured_until_ns(self) -> int:
        """A time up to which all commits are in the archive (as of the last look at the WAL)."""
        if self._times.is_before(self.archive.last_committed_ns()):
            # Nothing is being appended while its time is promised.
            with self._lock:
                self._times.promise(self.archive.last_committed_ns())
        return self._times.seen_until_ns

    def wake(self) -> None:
        """Something may have been committed; returns at once."""
        self._watch.wake()

    def note_commit(self, frame: int, committed_ns: int) -> None:
        """A commit of ours, as SQLite's WAL hook told: ``frame`` is its count of pages in the WAL.

        To be called before the commit is acknowledged: then its time in the log is not after that.
        """
        self._times.note(frame, committed_ns)
        self.wake()

    def announce_mark(self, name: str | None, description: str | None = None) -> None:
        """The next commit carries this mark (None: it doesn't after all).

        The caller holds the database's write lock (BEGIN IMMEDIATE) until that commit. Raises CaptureStopped.
        """
        with self._lock:
            self.capture_now()
            if self._follower is not None:
                self._follower.mark = (name, description) if name is not None else None

    @property
    def stopped(self) -> str | None:
        """Why nothing is captured at present; None while all is well."""
        return self._stopped

    def close(self, final: bool = True) -> None:
        """Ends the thread; with ``final`` captures what there is first. May be called twice."""
        self._closing.set()
        self._watch.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        with self._lock:
            if final and self._checkpointer is not None and self._stopped is None:
                self._settle(self._checkpointer)
            self._detach()
            self._watch.close()

    def _settle(self, checkpointer: Checkpointer) -> None:
        try:
            checkpointer.settle()
        except (ChainBroken, *_FAILURES) as error:
            self._report(f"the log of {self.path} was not captured to its end: {error}")


def _words(error: BaseException) -> str:
    full = isinstance(error, OSError) and error.errno in _FULL
    return f"the archive's disk is full: {error}" if full else str(error)
