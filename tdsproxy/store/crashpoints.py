"""Named places at which tests kill the process, to prove that each durable step can be the last one.

``TDSPROXY_CRASH_AT=name`` kills the process with SIGKILL when it reaches the place ``name``;
``name:3`` at the third time. Without the variable a place costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "TDSPROXY_CRASH_AT"


class CrashPoint:
    """One armed place: counts how often it is reached, from any thread."""

    def __init__(self, specification: str) -> None:
        self._name, _, count = specification.partition(":")
        self._left = int(count or 1)
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Kill the process if ``name`` is the armed place and this is the armed time."""
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_ARMED = CrashPoint(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(name: str) -> None:
    """Mark that the place ``name`` has been reached."""
    if _ARMED is not None:
        _ARMED.reach(name)
