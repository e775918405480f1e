"""Application locks (sp_getapplock): exclusive, owned by sessions, within this server process."""

from __future__ import annotations

import threading
import time


class ApplicationLocks:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, tuple[int, int]] = {}

    def acquire(self, resource: str, spid: int, timeout: float | None) -> int:
        """0 granted at once, 1 granted after waiting, -1 timed out. ``timeout`` None waits without end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        waited = False
        with self._changed:
            while True:
                owner, count = self._held.get(resource, (spid, 0))
                if owner == spid:
                    self._held[resource] = (spid, count + 1)
                    return int(waited)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return -1
                waited = True
                self._changed.wait(left)

    def release(self, resource: str, spid: int) -> bool:
        """False when the session does not hold the lock."""
        with self._changed:
            owner, count = self._held.get(resource, (-1, 0))
            if owner != spid:
                return False
            if count > 1:
                self._held[resource] = (spid, count - 1)
            else:
                del self._held[resource]
                self._changed.notify_all()
            return True

    def release_all(self, spid: int) -> None:
        """A session has ended."""
        with self._changed:
            for resource in [name for name, (owner, _) in self._held.items() if owner == spid]:
                del self._held[resource]
            self._changed.notify_all()
