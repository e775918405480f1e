"""The master keys that sessions have opened."""

from __future__ import annotations

import threading
from uuid import UUID


class OpenMasterKeys:
    """The master keys that sessions have opened by a password, until they close them or end. For any thread.

    They are remembered by session and login, so that a later session of the same number gets none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, UUID, bytes]] = {}

    def open(self, spid: int, login: str, guid: UUID, key: bytes) -> None:
        with self._lock:
            self._open[spid] = (login, guid, key)

    def find(self, spid: int, login: str, guid: UUID) -> bytes | None:
        """The key that this session has opened, if it is the one of this id."""
        with self._lock:
            found = self._open.get(spid)
        return found[2] if found is not None and found[:2] == (login, guid) else None

    def close(self, spid: int) -> bool:
        """Whether there was one."""
        with self._lock:
            return self._open.pop(spid, None) is not None
