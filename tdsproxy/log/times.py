"""When a transaction was committed: a WAL carries no clock.

A commit's time is the one that its own connection told. Of another's it is known that it was made after the
last look at the WAL index that didn't see it and before the first one that did. The WAL's last change, which
file systems stamp with a clock of some milliseconds, narrows that down from above and, when it is the commit
itself that was written last, from below, however late the look came. The interval's later end is taken for
the commit's time, and its length is noted with it.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_TRUSTED_NS = 2_000_000_000
# As exactly as a STOPAT can say a time.
_STOP_NS = 100
_MOST_NOTES = 100_000
_MOST_LOOKS = 10_000
# Kernels stamp files at their timer's ticks, of 1 to 10 ms. A busy virtual machine misses some.
_TICK_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class CommitTime:
    """``late_ns``: the commit may have been made up to so much earlier."""

    ns: int
    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Look:
    """The commits up to ``frame`` that the look before didn't see were made after ``after_ns`` and not after
    ``ns``, the last of them not before ``last_after_ns``."""

    frame: int
    after_ns: int
    last_after_ns: int
    ns: int


class CommitTimes:
    """``saw`` for each look at the WAL index, ``of`` per transaction found there. ``note`` from any thread;
    the rest for one thread at a time."""

    def __init__(
        self, clock_ns: Callable[[], int] | None = None, since_ns: int = 0, tick_ns: int = _TICK_NS
    ) -> None:
        """``since_ns``: whatever is seen first was committed after it. ``tick_ns``: by how much the stamps of
        files may be behind the clock."""
        self._tick_ns = tick_ns
        self.clock_ns = clock_ns or time.time_ns
        self.is_system_clock = clock_ns is None
        self._lock = threading.Lock()
        self._notes: dict[int, int] = {}
        self._salts: tuple[int, int] | None = None
        self._looks: list[_Look] = []
        self._frame = 0
        self._looked = since_ns
        self._now = self._promised = self._seen_until = since_ns

    def saw(
        self,
        salts: tuple[int, int],
        frame: int,
        before_ns: int,
        now_ns: int,
        written_ns: int | None = None,
        is_last: bool = False,
    ) -> None:
        """The WAL index was read between two moments and named this as its last frame.

        ``written_ns``: the stamp of the WAL's last change, asked after that; ``is_last``: that was the frame.
        """
        if salts != self._salts or frame < self._frame:
            self._salts, self._frame = salts, 0
            self._looks.clear()
        if frame > self._frame:
            after_ns = last_after_ns = min(self._looked, now_ns)
            ns = now_ns
            # The clock of another machine's file system gives a time outside of what is known for sure.
            if written_ns is not None and after_ns < written_ns <= now_ns:
                ns = min(now_ns, written_ns + self._tick_ns)
                last_after_ns = written_ns if is_last else after_ns
            self._looks.append(_Look(frame, after_ns, last_after_ns, ns))
            if len(self._looks) > _MOST_LOOKS:
                first, second = self._looks[:2]
                self._looks[:2] = [
                    _Look(second.frame, first.after_ns, second.last_after_ns, second.ns),
                ]
        self._frame = frame
        self._looked, self._now = before_ns, now_ns

    def seen(self, frame: int, before_ns: int) -> None:
        """All up to this frame has been captured, which is all that was committed before the moment."""
        self._seen_until = max(self._seen_until, before_ns)
        while self._looks and self._looks[0].frame <= frame:
            self._looks.pop(0)

    @property
    def seen_until_ns(self) -> int:
        """Everything committed up to this moment has been captured."""
        self._promised = max(self._promised, self._seen_until)
        return self._promised

    def is_before(self, last_ns: int) -> bool:
        """Whether the clock, at the last look, was behind the last transaction: it has been set back."""
        return self._now < last_ns

    def promise(self, last_ns: int) -> None:
        """Everything committed up to this moment has been captured; what comes is dated later, whatever the
        clock says."""
        self._promised = max(self._promised, -(-last_ns // _STOP_NS) * _STOP_NS)

    def note(self, frame: int, committed_ns: int) -> None:
        """A connection says when it made the commit that ends with this frame."""
        with self._lock:
            if len(self._notes) >= _MOST_NOTES:
                self._notes.clear()
            self._notes[frame] = committed_ns

    def of(self, frame: int) -> CommitTime:
        """The time of the commit that ends with this frame."""
        found = self._of(frame)
        if found.ns > self._promised:
            return found
        # The clock was set back: what has been promised to be complete stays so.
        return CommitTime(self._promised + 1)

    def _of(self, frame: int) -> CommitTime:
        noted = None
        if self._notes:
            with self._lock:
                noted = self._notes.pop(frame, None)
        look = self._look_at(frame)
        # The number of a frame comes again in each generation of the WAL: a note from before the look that
        # did not see this commit is another commit's. However late the look came, this one's stands.
        since_ns = look.after_ns if look is not None else self._now - _TRUSTED_NS
        if noted is not None and since_ns <= noted <= self._now:
            return CommitTime(noted)
        if look is None:
            return CommitTime(self._now, max(0, self._now - self._looked))
        after_ns = look.last_after_ns if look.frame == frame else look.after_ns
        return CommitTime(look.ns, look.ns - after_ns)

    def _look_at(self, frame: int) -> _Look | None:
        """The first look that saw this frame, if it is known."""
        at = 0
        if len(self._looks) > 1:
            at = bisect.bisect_left(self._looks, frame, key=lambda look: look.frame)
        if at == len(self._looks) or self._looks[at].frame < frame:
            return None
        return self._looks[at]

    def forget(self) -> None:
        """Frame numbers begin anew; what has been noted of the new ones is kept."""
        since_ns = self._looks[0].after_ns if self._looks else self._looked
        with self._lock:
            self._notes = {frame: at for frame, at in self._notes.items() if at >= since_ns}
