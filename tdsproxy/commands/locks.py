"""Which databases an operation is running on, within one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Flag, auto

from tdsproxy.catalog.names import name_key


class Part(Flag):
    """What of a database an operation needs for itself. A log backup runs beside a data backup."""

    DATA = auto()
    LOG = auto()
    ALL = DATA | LOG


class DatabaseLocks:
    """One operation at a time on each part of a database, by name. Asking never waits: SQL Server refuses,
    too."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, Part] = {}

    @contextmanager
    def hold(self, database: str, part: Part = Part.ALL) -> Iterator[bool]:
        """Yields whether that was free; when it was, it is held until the block ends."""
        key = name_key(database)
        with self._guard:
            held = self._held.get(key, Part(0))
            free = not held & part
            if free:
                self._held[key] = held | part
        try:
            yield free
        finally:
            if free:
                with self._guard:
                    left = self._held[key] & ~part
                    if left:
                        self._held[key] = left
                    else:
                        del self._held[key]
