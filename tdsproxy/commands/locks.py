"""Which databases an operation is running on, within one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tdsproxy.catalog.names import name_key


class DatabaseLocks:
    """One operation at a time on each database, by name. Asking never waits: SQL Server refuses, too."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, database: str) -> Iterator[bool]:
        """Yields whether the database was free; when it was, it is held until the block ends."""
        key = name_key(database)
        with self._guard:
            free = key not in self._held
            if free:
                self._held.add(key)
        try:
            yield free
        finally:
            if free:
                with self._guard:
                    self._held.discard(key)
