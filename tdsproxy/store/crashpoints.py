"""Named places at which tests kill the process, to prove that each durable step can be the last one.

``TDSPROXY_CRASH_AT=name`` kills the process with SIGKILL when it reaches the place ``name``; ``name:3`` at
the third time; ``name@FILE`` kills another process instead, whose id FILE holds once it is there. With
``TDSPROXY_SLOW_AT=name=0.5`` each pass of the place lasts half a second, and with
``TDSPROXY_HOLD_AT=name:3=FILE`` each from the third on waits until FILE is there, for tests of what happens
meanwhile. Without the variables a place costs three comparisons.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "TDSPROXY_CRASH_AT"
SLOW_VARIABLE = "TDSPROXY_SLOW_AT"
HOLD_VARIABLE = "TDSPROXY_HOLD_AT"
_HOLD_SECONDS = 120.0


class CrashPoint:
    """One armed place: counts how often it is reached, from any thread."""

    def __init__(self, specification: str) -> None:
        place, _, self._victim = specification.partition("@")
        self._name, _, count = place.partition(":")
        self._left = int(count or 1)
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Kill the process if ``name`` is the armed place and this is the armed time."""
        if name != self._name or (self._victim and not Path(self._victim).exists()):
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                pid = int(Path(self._victim).read_text()) if self._victim else os.getpid()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class SlowPoint:
    """One place that is slow."""

    def __init__(self, specification: str) -> None:
        self._name, _, seconds = specification.partition("=")
        self._seconds = float(seconds)

    def reach(self, name: str) -> None:
        """Wait if ``name`` is the place."""
        if name == self._name:
            time.sleep(self._seconds)


class HoldPoint:
    """One place that, from a certain time on, is not passed before a file is there; two minutes at most."""

    def __init__(self, specification: str) -> None:
        place, _, file = specification.partition("=")
        self._name, _, count = place.partition(":")
        self._free = int(count or 1) - 1
        self._file = Path(file)
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Wait if ``name`` is the place and its free passes are used up."""
        if name != self._name:
            return
        with self._lock:
            self._free -= 1
            if self._free >= 0:
                return
        deadline = time.monotonic() + _HOLD_SECONDS
        while not self._file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)


_ARMED = CrashPoint(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
_SLOW = SlowPoint(os.environ[SLOW_VARIABLE]) if os.environ.get(SLOW_VARIABLE) else None
_HOLD = HoldPoint(os.environ[HOLD_VARIABLE]) if os.environ.get(HOLD_VARIABLE) else None


def reach(name: str) -> None:
    """Mark that the place ``name`` has been reached."""
    if _ARMED is not None:
        _ARMED.reach(name)
    if _SLOW is not None:
        _SLOW.reach(name)
    if _HOLD is not None:
        _HOLD.reach(name)
