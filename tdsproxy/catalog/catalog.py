"""A store's catalog: master.db, msdb.db and model.db, made when they are missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import apsw

from tdsproxy.catalog import databases, logins, msdb_schema, names
from tdsproxy.catalog.agent_schema import AGENT_STATEMENTS, AGENT_TABLES
from tdsproxy.catalog.configurations import Configurations
from tdsproxy.catalog.databases import Databases, new_database
from tdsproxy.catalog.devices import BackupDevices
from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.history import History
from tdsproxy.catalog.keys import Keys
from tdsproxy.catalog.logins import Logins
from tdsproxy.catalog.msdb_metadata import describe_tables
from tdsproxy.catalog.operations import Operations
from tdsproxy.catalog.user_messages import UserMessages
from tdsproxy.store.file_keys import FileKeys

if TYPE_CHECKING:
    from tdsproxy.store.service_key import ServiceKey

MASTER: Final = "master.db"
MSDB: Final = "msdb.db"
MODEL: Final = "model.db"
BACKUP_DIRECTORY: Final = "backup"

_VERSION: Final = 7
_VERSION_SETTING: Final = "catalog version"

_CREATE_SETTINGS: Final = """
CREATE TABLE IF NOT EXISTS __tds_settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)
"""

_SYSTEM_FILES: Final[dict[str, dict[str, Any]]] = {
    "master": {
        "data_name": "master",
        "data_path": f"{names.SHOWN_DATA_DIRECTORY}/master.mdf",
        "log_name": "mastlog",
        "log_path": f"{names.SHOWN_DATA_DIRECTORY}/mastlog.ldf",
    },
    "tempdb": {
        "file": "",
        "data_name": "tempdev",
        "data_path": f"{names.SHOWN_DATA_DIRECTORY}/tempdb.mdf",
        "log_name": "templog",
        "log_path": f"{names.SHOWN_DATA_DIRECTORY}/templog.ldf",
    },
    "model": {
        "data_name": "modeldev",
        "data_path": f"{names.SHOWN_DATA_DIRECTORY}/model.mdf",
        "log_name": "modellog",
        "log_path": f"{names.SHOWN_DATA_DIRECTORY}/modellog.ldf",
        "recovery_model": databases.RecoveryModel.FULL,
    },
    "msdb": {
        "data_name": "MSDBData",
        "data_path": f"{names.SHOWN_DATA_DIRECTORY}/MSDBData.mdf",
        "log_name": "MSDBLog",
        "log_path": f"{names.SHOWN_DATA_DIRECTORY}/MSDBLog.ldf",
    },
}


class Catalog:
    """What a store remembers. Usable from any thread; several processes may hold one each."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._master = CatalogFile(store / MASTER)
        self._msdb = CatalogFile(store / MSDB)
        self.databases = Databases(self._master, store)
        self.logins = Logins(self._master)
        self.configurations = Configurations(self._master)
        self.devices = BackupDevices(self._master)
        self.messages = UserMessages(self._master)
        self.history = History(self._msdb)
        self.operations = Operations(self._msdb)
        self.keys = Keys(self._master)
        self.file_keys = FileKeys(store)

    @cached_property
    def service_key(self) -> ServiceKey:
        """What seals the master key and the secrets of credentials."""
        # Ciphers take their time to load, and few stores need them at their start.
        from tdsproxy.store.service_key import ServiceKey

        return ServiceKey(self.store)

    def version(self) -> int | None:
        """A number that changes with each change of master: of databases, logins, settings."""
        return self._master.version()

    def setting(self, name: str) -> str | None:
        """A server setting by its name."""
        rows = self._master.read("SELECT value FROM __tds_settings WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        with self._master.write():
            self._master.read("INSERT OR REPLACE INTO __tds_settings VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._master.close()
        self._msdb.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def initialise(store: Path) -> Catalog:
    """Opens the catalog of ``store`` and makes what is missing; a directory is private to its owner.

    Safe to call from several processes at once and again at any time. Raises OSError and apsw.Error when
    the store cannot be read or written.
    """
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    (store / BACKUP_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
    with CatalogFile(store / MASTER) as master:
        if not _is_current(store, master):
            with _alone(store):
                if not _is_current(store, master):
                    _create(store, master)
    return Catalog(store)


@contextlib.contextmanager
def _alone(store: Path) -> Iterator[None]:
    """One process at a time makes a catalog: changing the journal mode bears no company."""
    descriptor = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_current(store: Path, master: CatalogFile) -> bool:
    """Whether nothing is to be made: msdb may have been lost alone."""
    if not (store / MSDB).exists():
        return False
    if not master.read("SELECT 1 FROM sqlite_master WHERE name = '__tds_settings'"):
        return False
    rows = master.read("SELECT value FROM __tds_settings WHERE name = ?", (_VERSION_SETTING,))
    return bool(rows) and rows[0][0] == str(_VERSION)


def _create(store: Path, master: CatalogFile) -> None:
    """The version is noted last, so that an interrupted creation is done again."""
    master.use_wal()
    with CatalogFile(store / MSDB) as msdb:
        msdb.use_wal()
        with msdb.write():
            tables = (*msdb_schema.HISTORY_TABLES, *AGENT_TABLES)
            for table in tables:
                msdb.read(msdb_schema.create_table(table))
            for statement in (*msdb_schema.INDEXES, *AGENT_STATEMENTS):
                msdb.read(statement)
            describe_tables(msdb, tables)
    with CatalogFile(store / MODEL) as model:
        model.use_wal()
    with master.write():
        master.read(_CREATE_SETTINGS)
        master.read(databases.CREATE_TABLE)
        databases.add_columns(master)
        master.read(databases.CREATE_FORKS)
        master.read(logins.CREATE_TABLE)
        registered = Databases(master, store)
        for name, id_ in names.SYSTEM_DATABASES.items():
            if registered.find(name) is None:
                registered.add(new_database(name, id=id_, **_SYSTEM_FILES[name]))
        master.read("INSERT OR REPLACE INTO __tds_settings VALUES (?, ?)", (_VERSION_SETTING, str(_VERSION)))
    sync_directory(store)


def create_database_file(path: Path) -> None:
    """An empty SQLite file in WAL mode. Raises FileExistsError, OSError or apsw.Error and leaves nothing."""
    if path.exists():
        raise FileExistsError(str(path))
    remove_side_files(path)
    try:
        connection = apsw.Connection(str(path))
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        finally:
            connection.close()
        sync_directory(path.parent)
    except (apsw.Error, OSError):
        with contextlib.suppress(OSError):
            path.unlink()
        remove_side_files(path)
        raise


def remove_side_files(path: Path) -> None:
    """Deletes what SQLite keeps beside a database file that is not there any more: a new file of the same
    name must not find the old one's log."""
    for suffix in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def sync_directory(path: Path) -> None:
    """Makes new and removed names of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
