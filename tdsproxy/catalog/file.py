"""One of the catalog's SQLite files: short transactions from many threads and several processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import apsw

from tdsproxy.store.encoding import Stored, storable_text

Row = tuple[Stored, ...]

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

    @contextmanager
    def write(self) -> Iterator[CatalogFile]:
        """A write transaction: taken at once, committed at the end, rolled back by an exception."""
        with self._writing:
            if self._writer.in_transaction:
                yield self
                return
            self._writer.execute("BEGIN IMMEDIATE")
            self._owner = threading.get_ident()
            try:
                yield self
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            finally:
                self._owner = None
            self._writer.execute("COMMIT")

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


def _connected(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.execute("PRAGMA synchronous = FULL")
    return connection
