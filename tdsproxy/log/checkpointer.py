"""Keeping the WAL short: everything captured is copied into the main file, and the next writer begins anew.

The long part, copying most of the WAL and syncing, is done in a second thread while writers write and the
capture goes on. Then writers are kept out for the moment that the rest takes: the last commits are captured
and copied, and the hold moves to mark 0. Frames vanish only when a writer comes after that, so within the
barrier the archive may become durable while the copying goes on.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from tdsproxy.log.archive import Archive
from tdsproxy.log.follower import Follower
from tdsproxy.log.hold import WalHold, WalState
from tdsproxy.log.records import WalPosition
from tdsproxy.store import crashpoints

# Beyond this many times the threshold writers are kept out until all is captured and copied.
_HURRY = 8
_BARRIER_SECONDS = 0.2
_BARRIER_POLL_SECONDS = 0.0005
_HURRIED_BARRIER_SECONDS = 2.0
_HURRIED_POLL_SECONDS = 0.0001
_PASSES = 4
_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_SYNC_SECONDS = 10.0
_ANCHOR_SECONDS = 2.0
_ANCHOR_POLL_SECONDS = 0.005


class Checkpointer:
    """Driven by the capture's thread: ``step`` after each look at the WAL."""

    def __init__(self, hold: WalHold, follower: Follower, archive: Archive, threshold_bytes: int) -> None:
        self._hold = hold
        self._follower = follower
        self._archive = archive
        self._threshold = threshold_bytes
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="log-checkpoint")
        self._running: Future[bool] | None = None
        self._running_at: WalPosition | None = None
        self._copies = False
        self._begins = False
        self._passes = 0
        self._left_before = 0
        self._pause = 0.0
        self._not_before = 0.0
        self._synced_at = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether the second thread is at work."""
        return self._running is not None and not self._running.done()

    def step(self) -> None:
        """Begin, go on or end a checkpoint if it is time. All has just been captured.

        Raises ChainBroken, OSError, StoreError.
        """
        now = time.monotonic()
        large = self._wal_bytes() > self._threshold and now >= self._not_before
        if large and self._wal_bytes() > _HURRY * self._threshold:
            self._finish(_HURRIED_BARRIER_SECONDS, _HURRIED_POLL_SECONDS)
        elif self._running is not None:
            if self._running.done():
                self._end_of_pass()
        elif large:
            self._passes = 0
            self._left_before = self._wal_bytes()
            self._begin_pass()
        elif self._archive.unsynced and now - self._synced_at >= _SYNC_SECONDS:
            self._submit(copy=False)

    def _wal_bytes(self) -> int:
        return self._follower.position.frame * self._follower.frame_bytes

    def _begin_pass(self) -> None:
        if not self._follower.is_durable:
            # The disk may take long: commits are looked for meanwhile.
            self._submit(copy=False)
            self._begins = True
            return
        self._passes += 1
        self._follower.hand_over()
        self._submit(copy=True)

    def _submit(self, *, copy: bool) -> None:
        self._synced_at = time.monotonic()
        self._running_at = self._follower.position
        self._copies = copy
        self._running = self._helper.submit(self._work, copy)

    def _work(self, copy: bool) -> bool:
        self._archive.sync()
        return self._hold.checkpoint() if copy else True

    def _await_helper(self) -> WalPosition | None:
        """The end of the work in the second thread; up to where it was to copy, None if it copied nothing."""
        running, at = self._running, self._running_at
        self._running = self._running_at = None
        self._begins = False
        if running is None or at is None:
            return None
        self._follower.synced(at, running.result)
        crashpoints.reach("log.copied")
        return at if self._copies else None

    def _end_of_pass(self) -> None:
        begins = self._begins
        at = self._await_helper()
        if begins:
            self._begin_pass()
        if at is None:
            return
        self._follower.capture()
        state = self._hold.state()
        left = self._left(state)
        if not left:
            self._follower.hand_over()
            if self._follower.may_be_on_zero:
                self._pause = 0.0
                return
        blocked = state.salts == at.salts and state.backfilled < at.frame
        shrinking = self._threshold // 4 < left < self._left_before * 3 // 4
        self._left_before = left
        if (blocked or shrinking) and self._passes < _PASSES:
            # Another process is checkpointing, or much has been written meanwhile.
            self._begin_pass()
        elif blocked:
            # Somebody reads an old state: writers would be kept out in vain.
            self._put_off()
        else:
            self._finish(_BARRIER_SECONDS, _BARRIER_POLL_SECONDS)

    def _left(self, state: WalState) -> int:
        """Bytes of frames that are not in the main file yet."""
        return (state.max_frame - state.backfilled) * self._follower.frame_bytes

    def _finish(self, seconds: float, poll_seconds: float) -> None:
        """The rest, with writers kept out."""
        follower = self._follower
        with self._hold.barrier(seconds, poll_seconds) as alone:
            crashpoints.reach("log.barrier")
            if alone:
                follower.capture()
                self._await_helper()
                follower.hand_over()
                durable = self._helper.submit(self._archive.sync)
                self._hold.checkpoint()
                follower.synced(follower.position, durable.result)
                follower.hand_over()
        crashpoints.reach("log.checkpointed")
        if follower.may_be_on_zero:
            self._pause = 0.0
        elif alone:
            self._put_off()
        else:
            # A writer had the lock all the time. The WAL must not grow on for long.
            self._not_before = time.monotonic() + _SHORTEST_PAUSE

    def _put_off(self) -> None:
        """Somebody else's transaction stands in the way."""
        self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, self._pause * 2))
        self._not_before = time.monotonic() + self._pause

    def settle(self) -> None:
        """At the end: copy what can be copied without keeping anybody out, and note by what the next start
        can see that nothing was committed meanwhile.

        Of an empty WAL nothing is copied into the main file by whoever opens the database next. It is emptied
        only when the archive says that it was: else nothing would show any more that it had been captured.
        """
        follower = self._follower
        if self._running is not None:
            self._running.exception()
            self._running = self._running_at = None
        follower.capture()
        follower.hand_over()
        follower.sync()
        self._hold.checkpoint()
        follower.capture()
        follower.hand_over()
        deadline = time.monotonic() + _ANCHOR_SECONDS
        while follower.may_be_on_zero and time.monotonic() < deadline:
            if follower.anchor():
                follower.sync()
                self._hold.empty_wal()
                follower.capture()
                break
            if follower.capture():
                # Somebody goes on writing: the WAL goes on, too, and the next start finds its place in it.
                break
            time.sleep(_ANCHOR_POLL_SECONDS)
        follower.sync()

    def close(self) -> None:
        """Wait for the second thread. May be called twice."""
        self._helper.shutdown(wait=True)
