"""Waiting until a WAL is written to, by whatever process: inotify where there is one, else by polling."""

from __future__ import annotations

import ctypes
import os
import select
import threading
from pathlib import Path

_IN_MODIFY = 0x2
_EVENT_BYTES = 1 << 16


class Watch:
    """Waits for writes to one file, and for ``wake``. For one waiting thread."""

    def __init__(self) -> None:
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._inotify = _open_inotify()
        self._mark = -1
        self._closing = threading.Lock()
        self._all = select.poll()
        self._all.register(self._wakeup, select.POLLIN)
        self._only_wakeup = select.poll()
        self._only_wakeup.register(self._wakeup, select.POLLIN)
        if self._inotify >= 0:
            self._all.register(self._inotify, select.POLLIN)

    def follow(self, path: Path) -> bool:
        """Watch this file from now on; false when writes to it will not be noticed."""
        if self._inotify < 0:
            return False
        libc = _libc()
        mark = libc.inotify_add_watch(self._inotify, os.fsencode(path), _IN_MODIFY)
        if self._mark >= 0 and mark != self._mark:
            libc.inotify_rm_watch(self._inotify, self._mark)
        self._mark = mark
        return bool(mark >= 0)

    def wait(self, seconds: float, *, writes: bool = True) -> bool:
        """True when something happened within the time. Without ``writes`` only ``wake`` ends the wait, but
        writes meanwhile are reported, too."""
        poll = self._all if writes else self._only_wakeup
        poll.poll(max(0.0, seconds) * 1000)
        happened = self._drain(self._wakeup, 8)
        if self._inotify >= 0:
            happened = self._drain(self._inotify, _EVENT_BYTES) or happened
        return happened

    @staticmethod
    def _drain(descriptor: int, size: int) -> bool:
        try:
            return bool(os.read(descriptor, size))
        except BlockingIOError:
            return False

    def wake(self) -> None:
        """End the wait; from any thread."""
        with self._closing:
            # Once it is closed nobody waits any more.
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    def close(self) -> None:
        """No thread may be waiting any more. May be called twice."""
        with self._closing:
            for descriptor in (self._wakeup, self._inotify):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wakeup = self._inotify = -1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _open_inotify() -> int:
    try:
        return int(_libc().inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    except AttributeError:
        return -1
