"""The SQLite side of one session: a connection to which database files are attached as they are named.

The main schema is an empty in-memory database; database number N is attached as schema ``dN``; ``tempdb``
is SQLite's temp schema. One thread uses a workspace at a time; ``interrupt`` may be called from any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

import apsw

from tdsproxy.server.locks import Locker, Wait, WriteLocks
from tdsproxy.store.errors import DatabaseUnreadable
from tdsproxy.store.file_keys import attach_parameters, find_key
from tdsproxy.tsql.collation import key
from tdsproxy.tsql.errors import BatchAborted, SqlError

_RETRY_SECONDS: Final = 0.002
_RETRY_LIMIT_SECONDS: Final = 0.05
_CHECKPOINT_FRAMES: Final = 1000
TEMP: Final = "temp"
GLOBAL: Final = "dg"
"""The SQLite schema of ##tables: an in-memory database that all sessions of a store share."""


def is_temporary(schema: str) -> bool:
    """Whether a SQLite schema is part of tempdb."""
    return schema in (TEMP, GLOBAL)


Bound = Sequence[object] | Mapping[str, object]
"""Values of the parameters of a SQLite statement, by position or by name."""


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """Where a database lies. ``name`` keeps the spelling of its creation. ``log_id`` is the database's GUID
    when its log is kept (recovery models FULL and BULK_LOGGED): then only the keeper checkpoints it."""

    database_id: int
    name: str
    path: Path | None
    read_only: bool = False
    log_id: UUID | None = None


CommitNote = Callable[[DatabaseFile, int, int], None]
"""Told of each commit to a database whose log is kept: the database, the number of frames in its WAL, the
time in ns since 1970."""
Resolver = Callable[[str], "DatabaseFile | None"]
"""Name (any case) to file; None when there is no such database. May raise SqlError when the database exists
and can't be used (offline, restoring)."""


def quoted(name: str) -> str:
    """``name`` as a quoted SQLite identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """``text`` as a SQLite string literal; it must not hold NUL."""
    return "'" + text.replace("'", "''") + "'"


class Deadlock(Exception):
    """Two sessions would wait for each other for ever."""


class LockTimeout(Exception):
    """A lock was not given up within the time that LOCK_TIMEOUT allows."""


class StaleSnapshot(Exception):
    """The transaction has read ``database``, which others have changed since: it can't write any more."""

    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.database = database


class Workspace:
    """One SQLite connection with its attached databases, functions and transaction.

    ``compare`` orders two strings by the server's collation; it becomes the SQLite collation ``ts_ci``.
    ``locks`` is shared by the sessions that write to the same files.
    """

    def __init__(
        self, resolve: Resolver, compare: Callable[[str, str], int], locks: WriteLocks | None = None
    ) -> None:
        self._resolve = resolve
        self._locks = locks or WriteLocks()
        self._held: dict[Path, float] = {}
        self._shield = threading.Lock()
        self._shielded = False
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        self.connection: apsw.Connection = apsw.Connection(":memory:", flags=flags, statementcachesize=256)
        self.connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        self.connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        self.connection.create_collation("ts_ci", compare)
        self.connection.collation_needed(self._add_collation)
        self.connection.set_busy_handler(self._wait_for_lock)
        self.lock_timeout_ms: int = -1
        self.spid: int = 0
        self._attached: dict[int, DatabaseFile] = {}
        self._cancelled = threading.Event()
        self._locker = Locker(self._cancelled.is_set)
        self._waiting_since = 0.0
        self._savepoints = 0
        self._global_attached = False
        self.connection.set_wal_hook(self._committed)
        self.on_commit: CommitNote | None = None
        self.on_write: Callable[[DatabaseFile], None] | None = None
        """Called after each commit that has written to a database."""
        self.on_attach: list[Callable[[DatabaseFile, str], None]] = []
        self.on_close: list[Callable[[], None]] = []
        self.on_rollback: list[Callable[[], Callable[[], None]]] = []

    @staticmethod
    def _add_collation(connection: apsw.Connection, name: str) -> None:
        """Collations other than the default one are called ``ts:`` and their T-SQL name."""
        prefix, _, collation = name.partition(":")
        if prefix != "ts":
            return

        def compare(left: str, right: str) -> int:
            a, b = key(left, collation), key(right, collation)
            return (a > b) - (a < b)

        connection.create_collation(name, compare)

    # ------------------------------------------------------------------ databases

    def database(self, name: str) -> DatabaseFile:
        """The database called ``name``. Raises SqlError 911 when there is none."""
        found = self._resolve(name)
        if found is None:
            raise BatchAborted.of(
                911,
                16,
                1,
                f"Database '{name}' does not exist. Make sure that the name is entered correctly.",
            )
        return found

    def find_database(self, name: str) -> DatabaseFile | None:
        return self._resolve(name)

    def schema_of(self, name: str) -> str:
        """The SQLite schema of a database, which is attached when it isn't yet."""
        return self.attach(self.database(name))

    def attach(self, database: DatabaseFile) -> str:
        """Attaches a database file that must exist; returns its SQLite schema."""
        if database.path is None:
            return TEMP
        schema = f"d{database.database_id}"
        known = self._attached.get(database.database_id)
        if known is not None:
            if known.path == database.path:
                self._attached[database.database_id] = database
                return schema
            self._detach(known)
        uri = "file:" + quote(str(database.path)) + "?mode=rw"
        try:
            key = find_key(database.path)
            if key is not None:
                uri += "&" + attach_parameters(key)
            self.connection.execute(f"ATTACH ? AS {schema}", (uri,))
        except (apsw.Error, DatabaseUnreadable) as error:
            raise BatchAborted.of(
                945,
                14,
                2,
                f"Database '{database.name}' cannot be opened due to inaccessible files or insufficient"
                " memory or disk space. See the SQL Server errorlog for details.",
            ) from error
        if not self.connection.in_transaction:
            # An acknowledged commit survives a power failure. It is the default, too; inside a transaction,
            # where it can't be set, that must do.
            self.connection.execute(f"PRAGMA {schema}.synchronous=FULL")
        self._attached[database.database_id] = database
        for note in self.on_attach:
            note(database, schema)
        return schema

    def global_temp(self) -> str:
        """The SQLite schema of ##tables, attached when it is first asked for."""
        if not self._global_attached:
            master = self._resolve("master")
            where = (
                str(master.path.parent) if master is not None and master.path is not None else str(id(self))
            )
            name = quote(f"tds-{where}", safe="")
            self.connection.execute(f"ATTACH ? AS {GLOBAL}", (f"file:/{name}?vfs=memdb",))
            self._global_attached = True
        return GLOBAL

    def attached(self) -> tuple[DatabaseFile, ...]:
        return tuple(self._attached.values())

    def detach(self, name: str) -> bool:
        """Lets go of a database's file; False when it wasn't attached. Raises SqlError 3702 in use."""
        for database in self._attached.values():
            if database.name.lower() == name.lower():
                self._detach(database)
                return True
        return False

    def _committed(self, connection: apsw.Connection, schema: str, frames: int) -> int:
        """SQLite's WAL hook. It stands in for the automatic checkpoint, which would let a WAL begin anew that
        no keeper has read."""
        database = self._attached.get(int(schema[1:])) if schema[1:].isdecimal() else None
        if database is not None and self.on_write is not None:
            self.on_write(database)
        if database is not None and database.log_id is not None and self.on_commit is not None:
            self.on_commit(database, frames, time.time_ns())
        elif frames >= _CHECKPOINT_FRAMES:
            # Somebody who checkpoints at this moment does the same work.
            with suppress(apsw.BusyError, apsw.LockedError):
                connection.wal_checkpoint(schema, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK

    def written(self) -> list[DatabaseFile]:
        """The databases that the open transaction has written to, as far as their logs are kept."""
        return [
            database
            for number, database in self._attached.items()
            if database.log_id is not None
            and self.connection.txn_state(f"d{number}") == apsw.SQLITE_TXN_WRITE
        ]

    def locked(self) -> dict[int, float]:
        """The ids of the databases whose write locks are held, and since when (seconds since 1970). May be
        asked from any thread."""
        held, attached = self._held.copy(), self._attached.copy()
        return {
            number: held[database.path]
            for number, database in attached.items()
            if database.path is not None and database.path in held
        }

    def _keep_log(self, databases: Iterable[DatabaseFile]) -> None:
        """The last connection to a file checkpoints it when it is closed, unless it is told not to."""
        kept = any(database.log_id is not None for database in databases)
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(kept))

    def _detach(self, database: DatabaseFile) -> None:
        self._keep_log([database])
        try:
            self.connection.execute(f"DETACH d{database.database_id}")
        except apsw.SQLError as error:
            raise SqlError.of(
                3702, 16, 4, f'Cannot drop database "{database.name}" because it is currently in use.'
            ) from error
        del self._attached[database.database_id]

    def close(self) -> None:
        """Undoes an open transaction and lets go of everything."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            for leave in self.on_close:
                leave()
        finally:
            self._keep_log(self._attached.values())
            self.connection.close(True)
            self._give_up_locks()

    # ------------------------------------------------------------------ running

    def run(self, sql: str, bindings: Bound = ()) -> list[tuple[object, ...]]:
        """One SQL statement to its end."""
        cursor = self.connection.cursor()
        try:
            return list(cursor.execute(sql, bindings))
        finally:
            # A cursor that is just dropped while there are others leaves a trace in its connection.
            cursor.close()

    def value(self, sql: str, bindings: Bound = ()) -> object:
        """The first column of the first row, None when there is none."""
        cursor = self.connection.cursor()
        try:
            for row in cursor.execute(sql, bindings):
                return row[0]
            return None
        finally:
            cursor.close()

    def interrupt(self) -> None:
        """Stops what runs now, also a wait for a lock; from any thread.

        SQLite answers the interruption of a write with a rollback of the whole transaction. A write within a
        transaction of T-SQL is shielded from it, and stops between two rows (``stop_if_cancelled``)."""
        self._cancelled.set()
        self._locker.wake.set()
        with self._shield:
            if not self._shielded:
                self.connection.interrupt()

    def stop_if_cancelled(self) -> None:
        """Raises apsw.InterruptError when the request has been interrupted."""
        if self._cancelled.is_set():
            raise apsw.InterruptError("interrupted")

    @contextmanager
    def _interruptible(self, allowed: bool) -> Iterator[None]:
        before = self._shielded
        with self._shield:
            self._shielded = not allowed
        try:
            yield
        finally:
            with self._shield:
                self._shielded = before

    @contextmanager
    def reads_only(self) -> Iterator[None]:
        """Within a statement that writes: what runs here only reads, and may be interrupted at any time."""
        self.stop_if_cancelled()
        with self._interruptible(True):
            yield

    def arm(self) -> None:
        """Forgets an earlier interrupt; called when a request begins."""
        if self._cancelled.is_set():
            self._cancelled.clear()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def _wait_for_lock(self, attempt: int) -> bool:
        now = time.monotonic()
        if attempt == 0:
            self._waiting_since = now
        self.stop_if_cancelled()
        if self.lock_timeout_ms >= 0 and (now - self._waiting_since) * 1000 >= self.lock_timeout_ms:
            return False
        self._cancelled.wait(min(_RETRY_LIMIT_SECONDS, _RETRY_SECONDS * (attempt + 1)))
        return True

    # ------------------------------------------------------------------ transactions

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite has a transaction open (T-SQL's may exist without one until the first write)."""
        return self.connection.in_transaction

    def begin(self) -> None:
        self.connection.execute("BEGIN")

    def commit(self) -> None:
        with self._interruptible(False):
            self.connection.execute("COMMIT")
        self._give_up_locks()

    def rollback(self) -> None:
        """Undoes the transaction; what must survive (table variables) is put back by ``on_rollback``: each
        entry is called before and returns what is called after."""
        with self._interruptible(False):
            restore = [prepare() for prepare in self.on_rollback]
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self._give_up_locks()
            for put_back in restore:
                put_back()

    def rollback_to(self, savepoint: str) -> None:
        """Undoes the transaction back to a savepoint (a quoted name), which stays."""
        with self._interruptible(False):
            restore = [prepare() for prepare in self.on_rollback]
            self.connection.execute(f"ROLLBACK TO {savepoint}")
            for put_back in restore:
                put_back()

    # ------------------------------------------------------------------ locks

    def writes(self, schema: str) -> bool:
        """Whether the open transaction holds the write lock of a database."""
        return self.connection.txn_state(schema) == apsw.SQLITE_TXN_WRITE

    def lock(self, schema: str) -> None:
        """Takes a database's write lock for the open transaction; from then on it sees the newest state, and
        no other writer can come between. Raises Deadlock, LockTimeout, StaleSnapshot, apsw.InterruptError."""
        if schema == TEMP or self.writes(schema):
            return
        database = self._attached.get(int(schema[1:])) if schema[1:].isdecimal() else None
        try:
            if database is not None and database.path is not None:
                self._stand_in_line(database.path)
            self._lock_file(schema, database.name if database is not None else "tempdb")
        except BaseException:
            if database is not None and database.path is not None:
                self._leave_line(database.path)
            raise

    def _stand_in_line(self, path: Path) -> None:
        seconds = None if self.lock_timeout_ms < 0 else self.lock_timeout_ms / 1000
        match self._locks.acquire(path, self._locker, seconds):
            case Wait.GRANTED:
                self._held[path] = time.time()
            case Wait.CANCELLED:
                raise apsw.InterruptError("interrupted")
            case Wait.DEADLOCK:
                raise Deadlock
            case Wait.TIMED_OUT:
                raise LockTimeout

    def _leave_line(self, path: Path) -> None:
        if path in self._held:
            del self._held[path]
            self._locks.release(path, self._locker)

    def _lock_file(self, schema: str, database: str) -> None:
        attempt = 0
        while True:
            try:
                # Takes the write lock without a table to name; in a file that doesn't shrink by itself it
                # does nothing else.
                self.connection.execute(f"PRAGMA {schema}.incremental_vacuum(1)").fetchall()
                return
            except apsw.BusyError as error:
                if getattr(error, "extendedresult", 0) == apsw.SQLITE_BUSY_SNAPSHOT:
                    raise StaleSnapshot(database) from error
                # Once the transaction has read, SQLite asks no busy handler.
                if self.connection.txn_state(schema) == apsw.SQLITE_TXN_NONE or not self._wait_for_lock(
                    attempt
                ):
                    raise LockTimeout from error
                attempt += 1

    def _give_up_locks(self) -> None:
        """Hands on the locks of a transaction that has ended."""
        for path in tuple(self._held):
            self._leave_line(path)

    # ------------------------------------------------------------------ statements

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A scope in which everything that is read is of one moment."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                # Nothing but temporary tables (those of table variables) was written: they stay.
                try:
                    self.connection.execute("COMMIT")
                except apsw.Error:
                    # Of a damaged database SQLite has rolled back by itself.
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            self._give_up_locks()

    @contextmanager
    def statement(self, locked: str = TEMP) -> Iterator[None]:
        """A scope that SQLite undoes as a whole when it is left by an exception; the database ``locked`` is
        locked for writing before anything else is done. Raises as ``lock``.

        Outside of a transaction it is one, committed at the end. Foreign keys are checked by the caller
        through ``foreign_keys_hold`` before the end: within, they are deferred, as T-SQL checks them per
        statement and SQLite per row.
        """
        outer = self.connection.in_transaction
        if not outer:
            self.connection.execute("BEGIN")
        self._savepoints += 1
        name = f"s{self._savepoints}"
        saved = False
        try:
            self.lock(locked)
            with self._interruptible(not outer):
                self.connection.execute(f"SAVEPOINT {name}")
                saved = True
                self.connection.execute("PRAGMA defer_foreign_keys=ON")
                yield
                self.connection.execute(f"RELEASE {name}")
            if not outer:
                self.connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself (disk full, interrupt): then there is nothing to undo.
            with self._interruptible(False):
                if self.connection.in_transaction:
                    if not outer:
                        self.connection.execute("ROLLBACK")
                    elif saved:
                        self.connection.execute(f"ROLLBACK TO {name}")
                        self.connection.execute(f"RELEASE {name}")
            raise
        finally:
            self._savepoints -= 1
            if not self.connection.in_transaction:
                self._give_up_locks()

    def foreign_keys_hold(self) -> bool:
        """Whether no foreign key is violated at this point of the transaction."""
        return self.connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0] == 0
