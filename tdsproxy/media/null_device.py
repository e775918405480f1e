"""``DISK = 'NUL'``: a backup to it is read, packed and recorded as any other, and kept nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tdsproxy.media.device import LockedMedium, Part, ReadHandle, WriteHandle

NAMES: Final = frozenset({"nul", "nul:", "/dev/null"})


def is_null(name: str) -> bool:
    """Whether a device of type DISK has this meaning."""
    return name.strip().lower() in NAMES


class NullDevice:
    """Takes everything; always empty."""

    def __init__(self, name: str = "NUL") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> str | None:
        return None

    def open_read(self) -> ReadHandle:
        return _NullReader(self._name)

    @contextmanager
    def lock(self, cancelled: Callable[[], bool]) -> Iterator[LockedMedium]:
        del cancelled
        yield _NullMedium()


class _NullReader:
    is_whole = False

    def __init__(self, name: str) -> None:
        self.name = name

    def size(self) -> int:
        return 0

    def read_at(self, offset: int, length: int) -> bytes:
        del offset, length
        return b""

    def close(self) -> None:
        return


class _NullMedium:
    def reader(self) -> ReadHandle | None:
        return None

    def append(self, offset: int) -> WriteHandle:
        return _NullWriter(offset)

    def replace(self) -> WriteHandle:
        return _NullWriter(0)


class _NullWriter:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    @property
    def offset(self) -> int:
        return self._offset

    def append(self, parts: Sequence[Part]) -> None:
        self._offset += sum(len(part) for part in parts)

    def patch(self, offset: int, data: bytes) -> None:
        del offset, data

    def sync(self) -> None:
        return

    def publish(self) -> None:
        return

    def discard(self) -> None:
        return
