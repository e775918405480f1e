"""The databases of a store, as sys.databases and the native statements need them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import apsw

from tdsproxy.catalog import names, recovery
from tdsproxy.catalog.file import CatalogFile, Memo, Row
from tdsproxy.catalog.placement import Placement
from tdsproxy.catalog.recovery import Fork, Kept, LogChain, PageRedo, Redo
from tdsproxy.store.errors import DatabaseUnreadable
from tdsproxy.store.file_keys import connect

COLLATION: Final = "SQL_Latin1_General_CP1_CI_AS"
COMPATIBILITY: Final = 160
_MAX_ID: Final = 32767


class DatabaseState(IntEnum):
    """``sys.databases.state``."""

    ONLINE = 0
    RESTORING = 1
    RECOVERING = 2
    RECOVERY_PENDING = 3
    SUSPECT = 4
    EMERGENCY = 5
    OFFLINE = 6


class UserAccess(IntEnum):
    """``sys.databases.user_access``."""

    MULTI_USER = 0
    SINGLE_USER = 1
    RESTRICTED_USER = 2


class RecoveryModel(IntEnum):
    """``sys.databases.recovery_model``; backup headers write BULK-LOGGED with a hyphen."""

    FULL = 1
    BULK_LOGGED = 2
    SIMPLE = 3


@dataclass(frozen=True, slots=True)
class Database:
    """One database.

    ``file`` is the SQLite file's name in the store, or an absolute path; empty for tempdb, which has none.
    ``created`` is local time. ``guid`` is SQL Server's database_guid, ``family`` stays the same through
    restores and under any name, ``fork`` changes with each restore. ``data_path`` and ``log_path`` are the
    physical names that are shown. ``holder`` is the session that has the seat of a SINGLE_USER database.
    ``options`` keeps the ALTER DATABASE SET options that change nothing here, in upper case. ``chain`` is
    what the next backup builds on, ``redo`` how far a restore has come that is not recovered yet,
    ``standby`` the undo file, as shown, of a database that is readable in between. ``source`` is the id of
    the database that this one is a snapshot of. ``pages`` are pages that are being restored while the rest
    is in use, ``kept`` is what the last restore in place replaced.
    """

    id: int
    name: str
    file: str
    created: dt.datetime
    guid: uuid.UUID
    family: uuid.UUID
    fork: uuid.UUID
    data_file_guid: uuid.UUID
    log_file_guid: uuid.UUID
    data_name: str
    data_path: str
    log_name: str
    log_path: str
    recovery_model: RecoveryModel = RecoveryModel.SIMPLE
    state: DatabaseState = DatabaseState.ONLINE
    user_access: UserAccess = UserAccess.MULTI_USER
    read_only: bool = False
    owner: str = "sa"
    collation: str = COLLATION
    compatibility: int = COMPATIBILITY
    holder: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    chain: LogChain = field(default_factory=LogChain)
    redo: Redo | None = None
    standby: str | None = None
    source: int | None = None
    pages: PageRedo | None = None
    kept: Kept | None = None

    @property
    def is_system(self) -> bool:
        return self.id < names.FIRST_USER_ID

    def path(self, store: Path) -> Path:
        """The SQLite file. Meaningless for tempdb."""
        return store / self.file


_FIELDS: Final = (
    "id",
    "name",
    "file",
    "created",
    "guid",
    "family",
    "fork",
    "data_file_guid",
    "log_file_guid",
    "data_name",
    "data_path",
    "log_name",
    "log_path",
    "recovery_model",
    "state",
    "user_access",
    "read_only",
    "owner",
    "collation",
    "compatibility",
    "holder",
    "options",
    "chain",
    "redo",
    "standby",
    "source",
    "pages",
    "kept",
)

CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS __tds_databases (
  id INTEGER PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  file TEXT NOT NULL,
  created TEXT NOT NULL,
  guid TEXT NOT NULL,
  family TEXT NOT NULL,
  fork TEXT NOT NULL,
  data_file_guid TEXT NOT NULL,
  log_file_guid TEXT NOT NULL,
  data_name TEXT NOT NULL,
  data_path TEXT NOT NULL,
  log_name TEXT NOT NULL,
  log_path TEXT NOT NULL,
  recovery_model INTEGER NOT NULL,
  state INTEGER NOT NULL,
  user_access INTEGER NOT NULL,
  read_only INTEGER NOT NULL,
  owner TEXT NOT NULL,
  collation TEXT NOT NULL,
  compatibility INTEGER NOT NULL,
  holder INTEGER,
  options TEXT NOT NULL,
  lsn INTEGER NOT NULL DEFAULT 0,
  chain TEXT,
  redo TEXT,
  standby TEXT,
  source TEXT,
  pages TEXT,
  kept TEXT
)
"""

CREATE_FORKS: Final = """
CREATE TABLE IF NOT EXISTS __tds_forks (
  database TEXT NOT NULL,
  fork TEXT NOT NULL,
  parent TEXT,
  point_lsn TEXT,
  start_lsn TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  through_ns INTEGER,
  PRIMARY KEY (database, fork)
)
"""

_LATER_COLUMNS: Final = ("chain", "redo", "standby", "source", "pages", "kept")


def add_columns(file: CatalogFile) -> None:
    """Gives the table of an older store the columns that it lacks; within a ``write`` block."""
    known = {row[0] for row in file.read("SELECT name FROM pragma_table_info('__tds_databases')")}
    for column in _LATER_COLUMNS:
        if column not in known:
            file.read(f"ALTER TABLE __tds_databases ADD COLUMN {column} TEXT")
    forks = {row[0] for row in file.read("SELECT name FROM pragma_table_info('__tds_forks')")}
    if forks and "through_ns" not in forks:
        file.read("ALTER TABLE __tds_forks ADD COLUMN through_ns INTEGER")


_SELECT: Final = f"SELECT {', '.join(_FIELDS)} FROM __tds_databases"

_TRANSITION: Final = "in transition: "
_LSN_FILE: Final = 39
_LSN_STEP: Final = 8


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value).upper()
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "milliseconds")
    if name == "options":
        return json.dumps(value, sort_keys=True)
    if isinstance(value, LogChain | Redo | PageRedo | Kept):
        return recovery.encode(value)
    return int(value) if isinstance(value, bool | IntEnum) else value


@lru_cache(maxsize=256)
def _database(row: Row) -> Database:
    """A row as record. Each statement asks for the databases that it names, so rows seen before are kept."""
    raw: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    for name in ("guid", "family", "fork", "data_file_guid", "log_file_guid"):
        raw[name] = uuid.UUID(raw[name])
    raw["created"] = dt.datetime.fromisoformat(raw["created"])
    raw["recovery_model"] = RecoveryModel(raw["recovery_model"])
    raw["state"] = DatabaseState(raw["state"])
    raw["user_access"] = UserAccess(raw["user_access"])
    raw["read_only"] = bool(raw["read_only"])
    raw["options"] = json.loads(raw["options"])
    raw["chain"] = recovery.decode_chain(raw["chain"])
    raw["redo"] = recovery.decode_redo(raw["redo"])
    raw["pages"] = recovery.decode_page_redo(raw["pages"])
    raw["kept"] = recovery.decode_kept(raw["kept"])
    raw["source"] = None if raw["source"] is None else int(raw["source"])
    return Database(**raw)


def new_database(name: str, *, file: str | None = None, owner: str = "sa", **changes: Any) -> Database:
    """A database that is nowhere yet (``id`` 0): fresh GUIDs, the file names that SQL Server would give."""
    fields: dict[str, Any] = {
        "id": 0,
        "name": name,
        "file": names.file_name(name) if file is None else file,
        "created": _now(),
        "guid": uuid.uuid4(),
        "family": uuid.uuid4(),
        "fork": uuid.uuid4(),
        "data_file_guid": uuid.uuid4(),
        "log_file_guid": uuid.uuid4(),
        "data_name": name,
        "data_path": f"{names.SHOWN_DATA_DIRECTORY}/{name}.mdf",
        "log_name": f"{name}_log",
        "log_path": f"{names.SHOWN_DATA_DIRECTORY}/{name}_log.ldf",
        "owner": owner,
    }
    return Database(**(fields | changes))


def _now() -> dt.datetime:
    now = dt.datetime.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Databases:
    """The table of databases in master.db. Names are compared without case."""

    def __init__(self, file: CatalogFile, store: Path) -> None:
        self._file = file
        self._store = store
        self._found: Memo[Database | None] = Memo(file)
        self.placement = Placement(file, store)

    def all(self) -> list[Database]:
        """In the order of their ids."""
        return [_database(row) for row in self._file.read(f"{_SELECT} ORDER BY id")]

    def find(self, name: str) -> Database | None:
        return self._found.get(name, lambda: self._read(name))

    def _read(self, name: str) -> Database | None:
        rows = self._file.read(f"{_SELECT} WHERE key = ?", (names.name_key(name),))
        if not rows:
            file = self.placement.file_of(name)
            rows = [] if file is None else self._file.read(f"{_SELECT} WHERE file = ?", (file,))
        return _database(rows[0]) if rows else None

    def by_id(self, id_: int) -> Database | None:
        rows = self._file.read(f"{_SELECT} WHERE id = ?", (id_,))
        return _database(rows[0]) if rows else None

    def snapshots_of(self, database: Database) -> list[Database]:
        """The snapshots of a database, in the order of their ids."""
        return [other for other in self.all() if other.source == database.id]

    def add(self, database: Database) -> Database:
        """Registers a new database and returns it with its id. Raises KeyError when the name is taken."""
        with self._file.write():
            if self.find(database.name) is not None:
                raise KeyError(database.name)
            row = {name: _stored(name, getattr(database, name)) for name in _FIELDS}
            row["id"] = database.id or self._free_id()
            row["key"] = names.name_key(database.name)
            marks = ", ".join("?" * len(row))
            self._file.read(
                f"INSERT INTO __tds_databases ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
        added = self.by_id(row["id"])
        if added is None:
            raise KeyError(database.name)
        return added

    def update(self, id_: int, **changes: Any) -> Database:
        """Changes fields by name; a new ``name`` must be free (KeyError). LookupError: no such id."""
        unknown = changes.keys() - set(_FIELDS)
        if unknown:
            raise TypeError(f"no such field: {', '.join(sorted(unknown))}")
        row = {name: _stored(name, value) for name, value in changes.items()}
        with self._file.write():
            if "name" in changes:
                row["key"] = names.name_key(changes["name"])
                other = self.find(changes["name"])
                if other is not None and other.id != id_:
                    raise KeyError(changes["name"])
            sets = ", ".join(f"{name} = ?" for name in row)
            self._file.read(f"UPDATE __tds_databases SET {sets} WHERE id = ?", (*row.values(), id_))
            changed = self.by_id(id_)
        if changed is None:
            raise LookupError(f"no database with id {id_}")
        return changed

    def remove(self, id_: int) -> None:
        with self._file.write():
            self._file.read("DELETE FROM __tds_databases WHERE id = ?", (id_,))

    def release_seat(self, spid: int | None = None) -> None:
        """Frees the single-user seats of a session that has gone, or all of them."""
        condition = "holder IS NOT NULL" if spid is None else "holder = ?"
        values = () if spid is None else (spid,)
        if self._file.read(f"SELECT 1 FROM __tds_databases WHERE {condition} LIMIT 1", values):
            with self._file.write():
                self._file.read(f"UPDATE __tds_databases SET holder = NULL WHERE {condition}", values)

    def set_transition(self, id_: int, *, moving: bool) -> None:
        """Notes that a database goes from one state to another: nobody may enter it until that is done."""
        name = f"{_TRANSITION}{id_}"
        with self._file.write():
            if moving:
                self._file.read("INSERT OR REPLACE INTO __tds_settings VALUES (?, '1')", (name,))
            else:
                self._file.read("DELETE FROM __tds_settings WHERE name = ?", (name,))

    def in_transition(self, id_: int) -> bool:
        rows = self._file.read("SELECT 1 FROM __tds_settings WHERE name = ?", (f"{_TRANSITION}{id_}",))
        return bool(rows)

    def end_transitions(self) -> None:
        """Nobody is left who would: the keeper that did has gone."""
        with self._file.write():
            self._file.read("DELETE FROM __tds_settings WHERE name GLOB ?", (f"{_TRANSITION}*",))

    def _free_id(self) -> int:
        """Ids are not used again soon: somebody may still know a dropped database by its id."""
        rows = self._file.read("SELECT value FROM __tds_settings WHERE name = 'last database id'")
        id_ = max(names.FIRST_USER_ID, int(rows[0][0] or 0) + 1) if rows else names.FIRST_USER_ID
        taken = {row[0] for row in self._file.read("SELECT id FROM __tds_databases")}
        while id_ in taken or id_ > _MAX_ID:
            id_ = id_ + 1 if id_ < _MAX_ID else names.FIRST_USER_ID
        self._file.read("INSERT OR REPLACE INTO __tds_settings VALUES ('last database id', ?)", (str(id_),))
        return id_

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done in the block, with files too, is done before anybody else changes the table."""
        with self._file.write():
            yield

    # ------------------------------------------------------------------ log sequence numbers

    def next_lsns(self, id_: int, count: int) -> list[Decimal]:
        """``count`` new log sequence numbers of a database, each above all that it has given before.

        A number has SQL Server's shape: a file number, ten digits of a block, five of a slot.
        """
        with self._file.write():
            rows = self._file.read("SELECT lsn FROM __tds_databases WHERE id = ?", (id_,))
            if not rows:
                raise LookupError(f"no database with id {id_}")
            last = int(rows[0][0] or 0)
            self._file.read("UPDATE __tds_databases SET lsn = ? WHERE id = ?", (last + count, id_))
        return [_lsn(last + step) for step in range(1, count + 1)]

    def advance_lsn(self, id_: int, lsn: Decimal) -> None:
        """Lets the next number of the database lie above ``lsn``, which came with a restored backup."""
        file, rest = divmod(int(lsn), 10**15)
        block = rest // 10**5
        least = (file - _LSN_FILE) * (10**10 // _LSN_STEP) + block // _LSN_STEP + 1
        with self._file.write():
            self._file.read("UPDATE __tds_databases SET lsn = max(lsn, ?) WHERE id = ?", (least, id_))

    # ------------------------------------------------------------------ recovery forks

    def add_fork(self, fork: Fork) -> None:
        """Notes where a recovery fork begins."""
        row = (
            str(fork.database),
            str(fork.fork),
            None if fork.parent is None else str(fork.parent),
            None if fork.point_lsn is None else str(fork.point_lsn),
            str(fork.start_lsn),
            fork.created_ns,
            fork.through_ns,
        )
        with self._file.write():
            self._file.read("INSERT OR REPLACE INTO __tds_forks VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def forks(self, database: uuid.UUID) -> list[Fork]:
        """The forks of a database, by its GUID, in the order in which they began."""
        rows = self._file.read(
            "SELECT fork, parent, point_lsn, start_lsn, created_ns, through_ns FROM __tds_forks"
            " WHERE database = ? ORDER BY created_ns, rowid",
            (str(database),),
        )
        return [
            Fork(
                database=database,
                fork=uuid.UUID(str(fork)),
                parent=None if parent is None else uuid.UUID(str(parent)),
                point_lsn=None if point is None else int(str(point)),
                start_lsn=int(str(start)),
                created_ns=int(str(created)),
                through_ns=None if through is None else int(str(through)),
            )
            for fork, parent, point, start, created, through in rows
        ]

    def end_fork(self, database: Database, through_ns: int | None) -> None:
        """Notes up to when the log of the database's fork holds all that was committed; None: it goes on."""
        with self._file.write():
            self._file.read(
                "UPDATE __tds_forks SET through_ns = ? WHERE database = ? AND fork = ?",
                (through_ns, str(database.guid), str(database.fork)),
            )

    def fork_end(self, database: uuid.UUID, fork: uuid.UUID) -> int | None:
        """What ``end_fork`` noted of a fork, by the database's GUID."""
        return next((line.through_ns for line in self.forks(database) if line.fork == fork), None)

    def forget_forks(self, database: uuid.UUID) -> None:
        with self._file.write():
            self._file.read("DELETE FROM __tds_forks WHERE database = ?", (str(database),))

    # ------------------------------------------------------------------ files that come and go

    def refresh(self) -> None:
        """Adopts SQLite files that were put into the store, or that the configuration names, and notes which
        files are missing.

        An adopted database is in recovery model SIMPLE. One whose file has gone is RECOVERY_PENDING until
        the file is there again.
        """
        found = {}
        with os.scandir(self._store) as entries:
            for entry in entries:
                name = names.database_name(entry.name)
                if name is not None and entry.is_file():
                    found[entry.name] = name
        for name, file in self.placement.files():
            if is_sqlite(self._store / file):
                self._adopt(name, file)
        known = self.all()
        files = {database.file for database in known}
        for file, name in sorted(found.items()):
            if file not in files and self.find(name) is None and is_sqlite(self._store / file):
                self._adopt(name, file)
        for database in known:
            # It may have been dropped in the meantime.
            with contextlib.suppress(LookupError):
                self._note_presence(database, database.file in found)

    def _adopt(self, name: str, file: str) -> None:
        """What was seen may be a file that a statement just creates, renames or deletes: they do it within a
        transaction, so the question is asked again in one."""
        with self.transaction():
            taken = any(database.file == file for database in self.all())
            if not taken and self.find(name) is None and (self._store / file).is_file():
                self.add(new_database(name, file=file))

    def _note_presence(self, database: Database, in_store: bool) -> None:
        if not database.file or database.is_system:
            return
        present = in_store or database.path(self._store).is_file()
        if not present and database.state is DatabaseState.ONLINE:
            self.update(database.id, state=DatabaseState.RECOVERY_PENDING)
        elif present and database.state is DatabaseState.RECOVERY_PENDING:
            self.update(database.id, state=DatabaseState.ONLINE)


def _lsn(counter: int) -> Decimal:
    file, block = divmod(counter * _LSN_STEP, 10**10)
    return Decimal((_LSN_FILE + file) * 10**15 + block * 10**5 + 1)


def is_sqlite(path: Path) -> bool:
    """Whether SQLite can read the file's header. Opened through SQLite itself: closing a plain descriptor
    would drop the locks that this process may hold on the file."""
    try:
        if path.stat().st_size < 512:
            return False
        connection = connect(path, apsw.SQLITE_OPEN_READONLY)
    except (OSError, apsw.Error, DatabaseUnreadable):
        return False
    try:
        connection.set_busy_timeout(1000)
        connection.execute("PRAGMA schema_version").fetchall()
    except (apsw.BusyError, apsw.ReadOnlyError):
        # Somebody writes without a pause, or died while writing and left a journal: SQLite both.
        return True
    except apsw.Error:
        return False
    finally:
        connection.close()
    return True
