"""When a transaction was committed: a WAL carries no clock.

A commit's time is the one that its own connection told, else the moment at which it was first looked for
and seen. Both lie between the commit becoming visible and, at the latest, the next look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_TRUSTED_NS = 2_000_000_000
_MOST_NOTES = 100_000


class CommitTimes:
    """``look`` before the WAL index is read, ``of`` per transaction found there. ``note`` from any thread."""

    def __init__(self, clock_ns: Callable[[], int] | None = None) -> None:
        self._clock = clock_ns or time.time_ns
        self._lock = threading.Lock()
        self._notes: dict[int, int] = {}
        self._now = self._clock()
        self._seen_until = self._now

    def look(self) -> None:
        """The WAL index is about to be read."""
        self._now = self._clock()

    def seen(self) -> None:
        """All that was committed before the last ``look`` has been captured."""
        self._seen_until = max(self._seen_until, self._now)

    @property
    def seen_until_ns(self) -> int:
        """Everything committed before this moment has been captured."""
        return self._seen_until

    def note(self, frame: int, committed_ns: int) -> None:
        """A connection says when it made the commit that ends with this frame."""
        with self._lock:
            if len(self._notes) >= _MOST_NOTES:
                self._notes.clear()
            self._notes[frame] = committed_ns

    def of(self, frame: int) -> int:
        """The time of the commit that ends with this frame."""
        if not self._notes:
            return self._now
        with self._lock:
            noted = self._notes.pop(frame, None)
        # The number of a frame comes again in each generation of the WAL: an old note is another commit's.
        if noted is None or not 0 <= self._now - noted < _TRUSTED_NS:
            return self._now
        return noted

    def forget(self) -> None:
        """Frame numbers begin anew."""
        with self._lock:
            newest = self._now - _TRUSTED_NS
            self._notes = {frame: at for frame, at in self._notes.items() if at >= newest}
