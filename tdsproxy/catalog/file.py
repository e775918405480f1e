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
    """A connection in WAL mode, guarded by a lock, so that any thread may use it.

    Writers of several processes wait for each other up to 15 seconds; then apsw.BusyError. What a
    finished ``write`` block changed is on the disk (synchronous FULL).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(_BUSY_MILLISECONDS)
        self._connection.execute("PRAGMA synchronous = FULL")

    def read(self, sql: str, values: Sequence[Stored] = ()) -> list[Row]:
        """The rows of one query, or of one statement outside a ``write`` block. Names come from outside:
        halves of UTF-16 pairs in them are no error, but U+FFFD."""
        bound = tuple(storable_text(value) if isinstance(value, str) else value for value in values)
        with self._lock:
            return [tuple(row) for row in self._connection.execute(sql, bound)]

    @contextmanager
    def write(self) -> Iterator[CatalogFile]:
        """A write transaction: taken at once, committed at the end, rolled back by an exception."""
        with self._lock:
            if self._connection.in_transaction:
                yield self
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def use_wal(self) -> None:
        """Makes WAL the file's journal mode; it stays so."""
        with self._lock:
            self._connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def last_row_id(self) -> int:
        """The row id of the last insert; meaningful within the ``write`` block that made it."""
        return self._connection.last_insert_rowid()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> CatalogFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
