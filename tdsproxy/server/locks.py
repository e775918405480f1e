"""Write locks on databases among the sessions of one process.

SQLite lets one connection write to a file at a time and makes others poll. Here the sessions of a process
stand in line: first come, first served, woken at once, and a session that would wait for itself through
others (two databases locked in opposite orders) is told so. Writers of other processes are still met at
SQLite's own lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto


class Wait(Enum):
    """How a wait for a lock has ended."""

    GRANTED = auto()
    TIMED_OUT = auto()
    CANCELLED = auto()
    DEADLOCK = auto()


@dataclass(eq=False, slots=True)
class Locker:
    """One who asks for locks. ``wake`` ends a wait early when ``cancelled`` says so."""

    cancelled: Callable[[], bool]
    wake: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Line:
    holder: Locker
    waiting: deque[Locker] = field(default_factory=deque)


class WriteLocks:
    """Who may write where. Usable from any thread; a locker waits in one thread at a time."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._lines: dict[Hashable, _Line] = {}
        self._wants: dict[Locker, Hashable] = {}

    def acquire(self, key: Hashable, locker: Locker, seconds: float | None) -> Wait:
        """Waits until ``locker`` may write to ``key``, at most ``seconds`` (None: without end)."""
        with self._mutex:
            line = self._lines.get(key)
            if line is None:
                self._lines[key] = _Line(locker)
                return Wait.GRANTED
            if line.holder is locker:
                return Wait.GRANTED
            if self._would_wait_for_itself(locker, line):
                return Wait.DEADLOCK
            locker.wake.clear()
            line.waiting.append(locker)
            self._wants[locker] = key
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            with self._mutex:
                if line.holder is locker:
                    return Wait.GRANTED
                locker.wake.clear()  # before the questions: what happens after them sets it again
                left = None if deadline is None else deadline - time.monotonic()
                ended = None
                if locker.cancelled():
                    ended = Wait.CANCELLED
                elif left is not None and left <= 0:
                    ended = Wait.TIMED_OUT
                if ended is not None:
                    line.waiting.remove(locker)
                    del self._wants[locker]
                    return ended
            locker.wake.wait(left)

    def release(self, key: Hashable, locker: Locker) -> None:
        """Hands ``key`` on to the next in line; nothing happens when ``locker`` doesn't hold it."""
        with self._mutex:
            line = self._lines.get(key)
            if line is None or line.holder is not locker:
                return
            if not line.waiting:
                del self._lines[key]
                return
            line.holder = line.waiting.popleft()
            del self._wants[line.holder]
            line.holder.wake.set()

    def _would_wait_for_itself(self, locker: Locker, line: _Line) -> bool:
        holder = line.holder
        while (wanted := self._wants.get(holder)) is not None:
            holder = self._lines[wanted].holder
            if holder is locker:
                return True
        return False
