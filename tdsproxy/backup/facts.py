"""What is seen of a database while its pages are backed up: the objects of its schema, the rows of its
tables.

The rows are counted on a connection of its own, beside the reading of the pages, in exactly the state that
the snapshot holds. It costs a backup nothing but processor time: what is not counted when the pages are
written is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import apsw

from tdsproxy.media.documents import ContentFacts
from tdsproxy.store.snapshot import Snapshot, open_database

_ATTEMPTS: Final = 12
_SMALL_BYTES: Final = 16 << 20
_PATIENCE_SECONDS: Final = 60.0
"""How long the counting of a small database is waited for; it takes milliseconds."""
_GRACE: Final = 0.05
"""Of the time that the pages took, the part for which that of any other is."""
_MOST_OBJECTS: Final = 5000
_BUSY_MILLISECONDS: Final = 1000
_DIGEST: Final = 16


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]


def schema_objects(connection: apsw.Connection) -> dict[str, str]:
    """Everything in the schema as "type name", with a digest of its definition."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema LIMIT ?", (_MOST_OBJECTS + 1,)
    )
    found = {f"{kind} {name}": _digest(f"{table}\n{sql}") for kind, name, table, sql in rows}
    return found if len(found) <= _MOST_OBJECTS else {}


def countable_tables(connection: apsw.Connection) -> list[str]:
    """The tables that hold rows themselves, also those behind virtual tables."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name"
    )
    return [str(row[0]) for row in rows]


def row_count(connection: apsw.Connection, table: str) -> int:
    """Raises apsw.Error for a table that SQLite cannot read by itself."""
    return int(str(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchall()[0][0]))


def hidden_name(set_guid: UUID, name: str) -> str:
    """What stands for a name in an encrypted set."""
    return _digest(f"{set_guid} {name}")


class FactCounter:
    """Counts in a thread, from ``begin`` to ``end``, on the state that its connection holds."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError, apsw.Error."""
        self._connection = open_database(path, _BUSY_MILLISECONDS)
        self._objects: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._begun = 0.0
        self._over = threading.Event()
        try:
            self._connection.execute("BEGIN").fetchall()
            self._connection.execute("PRAGMA schema_version").fetchall()
        except BaseException:
            self._connection.close()
            raise

    def begin(self) -> None:
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._count, name="facts", daemon=True)
        self._thread.start()

    def _count(self) -> None:
        # A schema that SQLite cannot read, or whose text is not UTF-8, or an end that came too early: what is
        # known then is all.
        with contextlib.suppress(apsw.Error, UnicodeDecodeError):
            self._objects = schema_objects(self._connection)
            for table in countable_tables(self._connection):
                if self._over.is_set():
                    return
                try:
                    self._rows[table] = row_count(self._connection, table)
                except apsw.InterruptError:
                    return
                except apsw.Error:
                    continue

    def end(self, hide: Callable[[str], str] | None, size: int = 0) -> ContentFacts | None:
        """The pages, ``size`` bytes, are written: what has been counted, names as ``hide`` makes them."""
        thread = self._thread
        if thread is not None:
            took = time.monotonic() - self._begun
            thread.join(_PATIENCE_SECONDS if size <= _SMALL_BYTES else took * _GRACE)
            self._over.set()
            while thread.is_alive():
                self._connection.interrupt()
                thread.join(0.05)
        self.close()
        if not self._objects:
            return None
        if hide is None:
            return ContentFacts(objects=self._objects, rows=self._rows)
        return ContentFacts(
            objects={hide(name): value for name, value in self._objects.items()},
            rows={hide(name): count for name, count in self._rows.items()},
            hidden=True,
        )

    def close(self) -> None:
        """May be called twice, also in the middle."""
        self._over.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._connection.interrupt()
                self._thread.join(0.05)
        self._connection.close()


@contextlib.contextmanager
def snapshot_with_facts(
    source: Path, cancelled: Callable[[], bool]
) -> Iterator[tuple[Snapshot, FactCounter | None]]:
    """A snapshot, and a counter that sees the same state; None where that cannot be had: writers without a
    pause, or a database without a WAL. Raises as ``Snapshot``."""
    for attempt in range(_ATTEMPTS):
        with contextlib.ExitStack() as held:
            snapshot = held.enter_context(Snapshot(source, cancelled=cancelled))
            counter: FactCounter | None = None
            if snapshot.wal:
                with contextlib.suppress(apsw.Error):
                    counter = FactCounter(source)
                    held.callback(counter.close)
            same = counter is not None and snapshot.is_newest()
            if same or not snapshot.wal or attempt == _ATTEMPTS - 1:
                yield snapshot, counter if same else None
                return
