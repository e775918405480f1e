"""One of the catalog's SQLite files: short transactions from many threads and several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, TypeVar

import apsw

from tdsproxy.store.encoding import Stored, storable_text

Row = tuple[Stored, ...]

T = TypeVar("T")

_MOST_KNOWN: Final = 1000
_BUSY_MILLISECONDS: Final = 15_000


class CatalogFile:
    """Two connections, one that reads and one that writes, so that any thread may use the file.

    Writers, also of other processes, wait for each other up to 15 seconds; then apsw.BusyError. Who reads
    waits for no writer. What a finished ``write`` block changed is on the disk (synchronous FULL).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.RLock()
        self._reading = threading.Lock()
        self._writer = _connected(path)
        self._reader = _connected(path)
        self._owner: int | None = None

    def read(self, sql: str, values: Sequence[Stored] = ()) -> list[Row]:
        """The rows of one query, or of one statement outside a ``write`` block. Names come from outside:
        halves of UTF-16 pairs in them are no error, but U+FFFD."""
        bound = tuple(storable_text(value) if isinstance(value, str) else value for value in values)
        if not self._within_write() and sql.lstrip()[:6].upper() == "SELECT":
            with self._reading:
                return [tuple(row) for row in self._reader.execute(sql, bound)]
        with self._writing:
            return [tuple(row) for row in self._writer.execute(sql, bound)]

    def version(self) -> int | None:
        """A number that changes with each commit to the file, by whomever; None within a ``write`` block of
        this thread, whose changes it does not count."""
        if self._within_write():
            return None
        with self._reading:
            # The connection that reads never writes: all changes are others' to it.
            for (number,) in self._reader.execute("PRAGMA data_version"):
                return int(str(number))
        return None

    @contextmanager
    def write(self) -> Iterator[CatalogFile]:
        """A write transaction: taken at once, committed at the end, rolled back by an exception."""
        with self._writing:
            if self._within_write():
                yield self
                return
            self._writer.execute("BEGIN IMMEDIATE")
            self._owner = threading.get_ident()
            try:
                yield self
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where a disk failed, or not.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            finally:
                self._owner = None

    def _within_write(self) -> bool:
        """Whether this thread is in a ``write`` block, whose changes it must see."""
        return self._owner == threading.get_ident()

    def use_wal(self) -> None:
        """Makes WAL the file's journal mode; it stays so."""
        with self._writing:
            self._writer.execute("PRAGMA journal_mode = WAL").fetchall()

    def last_row_id(self) -> int:
        """The row id of the last insert; meaningful within the ``write`` block that made it."""
        return self._writer.last_insert_rowid()

    def close(self) -> None:
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def __enter__(self) -> CatalogFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Memo(Generic[T]):
    """What has been read of a file, as long as nobody changes it. From any thread."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file
        self._known: tuple[int, dict[str, T]] = (-1, {})

    def get(self, key: str, read: Callable[[], T]) -> T:
        """What ``read`` gives, or gave at the file's present version."""
        version = self._file.version()
        if version is None:
            return read()
        known = self._known
        if known[0] != version or len(known[1]) >= _MOST_KNOWN:
            # What is read from now on is of this version, or newer.
            known = self._known = (version, {})
        if key not in known[1]:
            known[1][key] = read()
        return known[1][key]


def _connected(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.execute("PRAGMA synchronous = FULL")
    return connection
